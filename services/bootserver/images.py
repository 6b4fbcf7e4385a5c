"""The image store: folders below WALT_IMAGES_DIR, and for each the kernel and initrd that boot it.

What is derived from an image (size, initrd) is cached by the name of its folder, which never changes its content.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from services.bootserver import initrd
from services.bootserver.bootplan import Files
from services.contracts.bootserver import ImageView
from services.contracts.errors import Failed, InvalidRequest, NotFound
from services.kit.commands import run
from services.kit.files import write_atomically

BUSYBOX = Path("/bin/busybox")  # Debian: busybox-static
WALT_INIT = Path(__file__).parent / "guest" / "walt-init"


def parse_platform_images(text: str) -> dict[str, str]:
    """'default=debian-1f2e,small=small-3d4c' -> {'default': 'debian-1f2e', …}. Pure."""
    images: dict[str, str] = {}
    for item in filter(None, text.split(",")):
        name, equals, folder = item.partition("=")
        if not name or not equals or not folder or "/" in folder or folder.startswith("."):
            raise InvalidRequest(f"WALT_PLATFORM_IMAGES: '{item}' is not NAME=FOLDER, with a folder of WALT_IMAGES_DIR")
        images[name] = folder
    return images


@dataclass(frozen=True)
class Image:
    name: str
    folder: str
    tree: Path
    kernel: Path
    version: str


class ImageStore:
    """The images of the platform, and the files that boot them. `cache` may be lost at any time."""

    def __init__(self, folder: Path, platform: Mapping[str, str], cache: Path) -> None:
        self.folder = folder
        self._platform = platform
        self._cache = cache
        self._files: dict[str, Path] = {}  # by digest: what HTTP serves
        self._ready: dict[str, Files] = {}  # by image folder

    def names(self) -> list[str]:
        return sorted(self._platform)

    def find(self, name: str) -> Image:
        """NotFound when no image has this name, Failed when its folder is gone or holds no kernel."""
        if name not in self._platform:
            raise NotFound(f"there is no image '{name}'; there are: {', '.join(self.names()) or 'none'}")
        tree = self.folder / self._platform[name]
        kernels = sorted(tree.glob("boot/vmlinuz-*"))
        if not kernels:
            raise Failed(f"image '{name}': {tree} is missing or holds no boot/vmlinuz-*")
        return Image(name, tree.name, tree, kernels[-1], kernels[-1].name.removeprefix("vmlinuz-"))

    def view(self, name: str) -> ImageView:
        image = self.find(name)
        return ImageView(name, "", image.tree.stat().st_mtime, self._size_bytes(image), image.version)

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
            for name in self.names():
                self.files(self.find(name))
        if digest not in self._files:
            raise NotFound(f"no kernel or initrd has the content {digest}")
        return self._files[digest]

    def _size_bytes(self, image: Image) -> int:
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
    home = image.tree / "lib" / "modules" / image.version
    try:
        modules = initrd.resolve(
            initrd.MODULES, (home / "modules.dep").read_text(), (home / "modules.builtin").read_text()
        )
        files = {path: (home / path).read_bytes() for path in modules.files}
    except (OSError, LookupError) as error:
        raise Failed(f"image '{image.name}': no initrd for kernel {image.version}: {error}") from None
    return initrd.archive(initrd.contents(image.version, modules, files, _bytes(BUSYBOX), _bytes(WALT_INIT)))


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise Failed(f"the initrd needs {path} ({error.strerror}); Debian: busybox-static") from None


def _digest(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
