"""The image store: folders below WALT_IMAGES_DIR, and for each the kernel and initrd that boot it.

The platform's images are named by its operator, those of users by `library.py`. An image is known by its full name
(`names.py`); a node that runs one keeps to its folder, whatever the name comes to mean meanwhile. What is derived from
an image (size, initrd) is cached by the name of its folder, which never changes its content.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from services.bootserver import initrd, kernels, modules, names, rooted
from services.bootserver.bootplan import Files
from services.bootserver.library import Library
from services.contracts.bootserver import DEFAULT_IMAGE, MODEL, ImageView
from services.contracts.errors import Failed, InvalidRequest, NotFound
from services.kit.commands import run
from services.kit.files import write_atomically

BUSYBOX = Path("/bin/busybox")  # Debian: busybox-static
WALT_INIT = Path(__file__).parent / "guest" / "walt-init"
REMOVE_LIMIT_S = 600
BROKEN = "none (walt doctor)"  # kernel of an image that is damaged


def parse_platform_images(text: str) -> dict[str, str]:
    """'default=debian-1f2e,small=small-3d4c' -> {'default': 'debian-1f2e', …}. Pure."""
    images: dict[str, str] = {}
    for item in filter(None, text.split(",")):
        name, equals, folder = item.partition("=")
        if not name or not equals or not folder or "/" in folder or folder.startswith("."):
            raise InvalidRequest(f"WALT_PLATFORM_IMAGES: '{item}' is not NAME=FOLDER, with a folder of WALT_IMAGES_DIR")
        images[str(names.parse(name))] = folder
    return images


@dataclass(frozen=True)
class Image:
    name: str
    folder: str
    tree: Path
    kernel: Path
    version: str

    @property
    def has_script(self) -> bool:
        """Whether it boots by a script of its own."""
        return rooted.find_file(self.tree, f"boot/{MODEL}/start.ipxe") is not None

    @property
    def is_kernel_lent(self) -> bool:
        return self.version in kernels.lent_and_unusable(self.tree)[:1]


class ImageStore:
    """The images, and the files that boot them. `cache` may be lost at any time."""

    def __init__(self, folder: Path, platform: Mapping[str, str], library: Library, cache: Path) -> None:
        self.folder = folder
        self.library = library
        self._platform = platform
        self._cache = cache
        self._files: dict[str, Path] = {}  # by digest: what HTTP serves
        self._ready: dict[str, Files] = {}  # by image folder

    def names(self) -> list[str]:
        return [*sorted(self._platform), *(str(record.title) for record in self.library.all())]

    def platform_names(self) -> list[str]:
        """The usual one first."""
        return sorted(self._platform, key=lambda name: (name != DEFAULT_IMAGE, name))

    def names_of(self, user: str) -> list[str]:
        """What this user may boot."""
        return [*sorted(self._platform), *(str(one.title) for one in self.library.all() if one.owner == user)]

    def find(self, name: str) -> Image:
        """By its full name. NotFound when no image has it, Failed when its folder is gone or holds no kernel."""
        record = self.library.find(names.parse(name))
        if record is None and name not in self._platform:
            raise NotFound(f"there is no image '{name}'; there are: {', '.join(self.names_of('')) or 'none'}")
        return self.at(self._platform[name] if record is None else record.folder, name)

    def meant(self, text: str, user: str) -> Image:
        """What this user means by that name."""
        for title in names.meant(text, user):
            if str(title) in self._platform or self.library.find(title):
                return self.find(str(title))
        raise NotFound(f"there is no image '{text}'; there are: {', '.join(self.names_of(user)) or 'none'}")

    def at(self, folder: str, name: str) -> Image:
        tree = self.folder / folder
        kernel = kernels.find(tree)
        if kernel is None:
            raise Failed(f"image '{name}': {tree} is missing or holds no boot/vmlinuz* with its modules")
        return Image(name, folder, tree, kernel.file, kernel.version)

    def views(self, named: Iterable[str]) -> list[ImageView]:
        """Of an image that cannot boot too: its user has to know of it."""
        return [self._view_of(name) for name in named]

    def _view_of(self, name: str) -> ImageView:
        try:
            return self.view(self.find(name))
        except Failed:
            title = names.parse(name)
            record = self.library.find(title)
            return ImageView(name, title.owner, record.created if record else 0.0, 0, BROKEN)

    def view(self, image: Image) -> ImageView:
        title = names.parse(image.name)
        record = self.library.find(title)
        created = image.tree.stat().st_mtime if record is None else record.created
        kernel = image.version + (" (platform's)" if image.is_kernel_lent else "")
        return ImageView(image.name, title.owner, created, self.size_bytes(image), kernel)

    def files(self, image: Image) -> Files:
        """Kernel and initrd of the image, ready to be served. The first call for an image takes a second."""
        if image.folder not in self._ready:
            packed = self._initrd(image)
            files = Files(_digest(image.kernel), _digest(packed))
            self._files.update({files.kernel: image.kernel, files.initrd: packed})
            self._ready[image.folder] = files
        return self._ready[image.folder]

    def served(self, digest: str) -> Path:
        """The file of that content; NotFound. After a restart the plans of before still name it."""
        if digest not in self._files:
            for folder in (*self._platform.values(), *self.user_folders()):
                with contextlib.suppress(Failed):  # another image may do
                    self.files(self.at(folder, folder))
        if digest not in self._files:
            raise NotFound(f"no kernel or initrd has the content {digest}")
        return self._files[digest]

    def user_folders(self) -> list[str]:
        """Whether an image has them or not."""
        return [f"{self.library.home}/{path.name}" for path in (self.folder / self.library.home).glob("[0-9a-f]*")]

    def forget(self, folder: str) -> None:
        """The folder of a user's image, and what is derived from it."""
        self._ready.clear()
        self._files.clear()  # another image may have the same kernel
        run(["rm", "-rf", "--one-file-system", str(self.folder / folder)], timeout=REMOVE_LIMIT_S)
        for derived in self._cache.glob(f"{folder}*"):
            derived.unlink()

    def size_bytes(self, image: Image) -> int:
        known = self._cache / f"{image.folder}.json"
        if not known.exists():
            size = int(run(["du", "--summarize", "--bytes", str(image.tree)]).split()[0])
            write_atomically(known, json.dumps({"size_bytes": size}))
        return int(json.loads(known.read_text())["size_bytes"])

    def _initrd(self, image: Image) -> Path:
        parts = (_bytes(BUSYBOX), _bytes(WALT_INIT), Path(initrd.__file__).read_bytes())
        recipe = hashlib.sha256(b"\0".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()[:12]
        packed = self._cache / f"{image.folder}-{recipe}.cpio"
        if not packed.exists():
            write_atomically(packed, _pack(image))
        return packed


def _pack(image: Image) -> bytes:
    try:
        wanted, files = modules.read(image.tree, image.version, initrd.MODULES)
    except (OSError, LookupError) as error:
        raise Failed(f"image '{image.name}': no initrd for kernel {image.version}: {error}") from None
    return initrd.archive(initrd.contents(image.version, wanted, files, _bytes(BUSYBOX), _bytes(WALT_INIT)))


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise Failed(f"the initrd needs {path} ({error.strerror}); Debian: busybox-static") from None


def _digest(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
