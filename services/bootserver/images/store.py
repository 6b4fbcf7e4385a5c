"""The image store: folders below WALT_IMAGES_DIR, and for each the kernel and initrd that boot it.

The platform's images are named by its operator, those of users by their records (`image_records.py`). An image is known
by its full name (`image_names.py`); a node that runs one keeps its folder, whatever the name stands for later. What is
derived from an image (size, initrd) is cached under the name of its folder, whose content never changes.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import threading
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from services.bootserver.image_kernel import chroot_paths, initrd, kernel_image, wished_modules
from services.bootserver.image_kernel.boot_files import BootFiles
from services.bootserver.image_kernel.kernel_image import Kernel
from services.bootserver.images import image_names
from services.bootserver.images.image_records import ImageRecords
from services.bootserver.workers.worker import run_worker
from services.kit.files import remove_tree, write_atomically
from services.kit.subprocesses import run
from walt.contracts.bootserver import DEFAULT_IMAGE, MODEL, NO_KERNEL, ImageView
from walt.contracts.errors import Failed, InvalidRequest, NotFound
from walt.contracts.nodes import Owner

BUSYBOX = Path("/bin/busybox")  # Debian: busybox-static
WALT_INIT = Path(__file__).parents[1] / "guest" / "walt-init"
PACK_LIMIT_S = 120
BYTES_OF_A_FILE = 4096  # at least: the server's disk has room for so many files
ROOT_LIMIT_S = 1800
BROKEN = f"{NO_KERNEL} (walt doctor)"


def parse_platform_images(text: str) -> dict[str, str]:
    """'default=debian-1f2e,small=small-3d4c' -> {'default': 'debian-1f2e', …}."""
    images: dict[str, str] = {}
    for item in filter(None, text.split(",")):
        name, equals, folder = item.partition("=")
        if not name or not equals or not folder or "/" in folder or folder.startswith("."):
            raise InvalidRequest(f"WALT_PLATFORM_IMAGES: '{item}' is not NAME=FOLDER, with a folder of WALT_IMAGES_DIR")
        images[str(image_names.parse(name))] = folder
    return images


@dataclass(frozen=True)
class Image:
    """folder: below the image store; tree: its path; kernel: path of the one that boots; version: of that kernel."""

    name: str
    folder: str
    tree: Path
    kernel: Path
    version: str

    @property
    def has_script(self) -> bool:
        """Whether it boots by an iPXE script of its own."""
        return chroot_paths.find_file(self.tree, f"boot/{MODEL}/start.ipxe") is not None

    @property
    def is_kernel_lent(self) -> bool:
        """Whether its kernel is the platform's, since it brings none that boots."""
        return self.version in kernel_image.lent_and_unusable(self.tree)[:1]


class ImageStore:
    """The images, and the files that boot them. The folder `cache` may be lost at any time."""

    def __init__(self, folder: Path, platform: Mapping[str, str], records: ImageRecords, cache: Path) -> None:
        self.folder = folder
        self.records = records
        self._platform = platform
        self._cache = cache
        self._paths: dict[str, Path] = {}  # by digest: what HTTP serves
        self._kernels: dict[str, Kernel] = {}  # by image folder
        self._boot_files: dict[str, BootFiles] = {}  # by image folder
        self._lacks: dict[tuple[str, str], tuple[str, ...]] = {}  # by image folder and kernel
        self._packing: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)  # by image folder

    def names(self) -> list[str]:
        return [*sorted(self._platform), *(str(record.image_name) for record in self.records.all())]

    def platform_names(self) -> list[str]:
        """The default image first."""
        return sorted(self._platform, key=lambda name: (name != DEFAULT_IMAGE, name))

    def names_for(self, user: str) -> list[str]:
        """What this user may boot."""
        own = (str(record.image_name) for record in self.records.all() if record.owner == user)
        return [*sorted(self._platform), *own]

    def find(self, name: str) -> Image:
        """By its full name. NotFound when no image has it, Failed when its folder is gone or holds no kernel."""
        record = self.records.find(image_names.parse(name))
        if record is None and name not in self._platform:
            raise NotFound(f"there is no image '{name}'; there are: {', '.join(self.names_for('')) or 'none'}")
        return self.in_folder(self._platform[name] if record is None else record.folder, name)

    def find_for(self, name: str, owner: Owner) -> Image:
        """As `find`, for a node of this owner: his images are gone with his account."""
        of = image_names.parse(name).owner
        if of and not (of == owner.name and self.records.is_bound_to(owner)):
            raise NotFound(f"there is no image '{name}' of this account of {owner.name or 'nobody'}")
        return self.find(name)

    def resolve(self, text: str, user: str) -> Image:
        """The image that this user means by that name; see `image_names.candidates`."""
        for image_name in image_names.candidates(text, user):
            if str(image_name) in self._platform or self.records.find(image_name):
                return self.find(str(image_name))
        raise NotFound(f"there is no image '{text}'; there are: {', '.join(self.names_for(user)) or 'none'}")

    def in_folder(self, folder: str, name: str) -> Image:
        """The image in that folder; name: what errors call it. Its kernel is searched for once, as each request of a
        node needs it."""
        tree = self.folder / folder
        kernel = self._kernels.get(folder)
        if kernel is None or not kernel.file.exists():
            kernel = kernel_image.find(tree)
        if kernel is None:
            raise Failed(f"image '{name}': {tree} is missing or holds no boot/vmlinuz* with its modules")
        self._kernels[folder] = kernel
        return Image(name, folder, tree, kernel.file, kernel.version)

    def views(self, names: Iterable[str]) -> list[ImageView]:
        """Includes images that cannot boot: their users need to see them to remove them."""
        return [self._view_or_broken(name) for name in names]

    def _view_or_broken(self, name: str) -> ImageView:
        try:
            return self.view(self.find(name))
        except Failed:
            image_name = image_names.parse(name)
            record = self.records.find(image_name)
            return ImageView(name, image_name.owner, record.created if record else 0.0, 0, BROKEN)

    def view(self, image: Image) -> ImageView:
        image_name = image_names.parse(image.name)
        record = self.records.find(image_name)
        created = image.tree.stat().st_mtime if record is None else record.created
        kernel = image.version + (" (platform's)" if image.is_kernel_lent else "")
        lacks = self._lacking(image)
        return ImageView(image.name, image_name.owner, created, self.size_bytes(image), kernel, lacks)

    def boot_files(self, image: Image) -> BootFiles:
        """Kernel, initrd and root of the image, ready to be served. The first call for an image takes seconds, and
        longer for a large one."""
        with self._packing[image.folder]:
            if image.folder not in self._boot_files:
                kernel, initrd, root_format, initrd_path = self._pack_initrd(image)
                root, root_path = self._pack_root(image, root_format)
                self._paths.update({kernel: image.kernel, initrd: initrd_path, root: root_path})
                self._boot_files[image.folder] = BootFiles(kernel, initrd, root, root_format, root_path.stat().st_size)
            return self._boot_files[image.folder]

    def has_boot_file(self, digest: str) -> bool:
        """Whether `boot_file` finds it without looking through all images."""
        return digest in self._paths

    def boot_file(self, digest: str) -> Path:
        """The kernel, initrd or root of that content, or NotFound. Boots that were published before a restart name
        digests too."""
        if digest not in self._paths:
            for folder in (*self._platform.values(), *self.user_folders()):
                with contextlib.suppress(Failed):  # a damaged image: another may have it
                    self.boot_files(self.in_folder(folder, folder))
        if digest not in self._paths:
            raise NotFound(f"no kernel, initrd or root has the content {digest}")
        return self._paths[digest]

    def is_user_folder(self, folder: str) -> bool:
        return folder.startswith(f"{self.records.users_folder}/")

    def user_folders(self) -> list[str]:
        """All folders of users' images, including those that no image has any more."""
        users = self.records.users_folder
        return [f"{users}/{path.name}" for path in (self.folder / users).glob("[0-9a-f]*")]

    def remove(self, folder: str) -> None:
        """The folder of a user's image, and what is derived from it."""
        self._boot_files.clear()
        self._kernels.pop(folder, None)
        self._lacks.clear()
        self._paths.clear()  # another image may have the same kernel
        self._packing.pop(folder, None)
        remove_tree(self.folder / folder)
        for derived in self._cache.glob(f"{folder}*"):
            derived.unlink()

    def size_bytes(self, image: Image) -> int:
        cached = self._cache / f"{image.folder}.json"
        if not cached.exists():
            size = max(_usage(image.tree, "--bytes"), _usage(image.tree, "--inodes") * BYTES_OF_A_FILE)
            write_atomically(cached, json.dumps({"size_bytes": size}))
        return int(json.loads(cached.read_text())["size_bytes"])

    def _lacking(self, image: Image) -> tuple[str, ...]:
        key = (image.folder, image.version)
        if key not in self._lacks:
            self._lacks[key] = wished_modules.lacking(image.tree, image.version)
        return self._lacks[key]

    def _pack_initrd(self, image: Image) -> tuple[str, str, str, Path]:
        """Digests of kernel and initrd, format of the root, path of the initrd. A process of its own unpacks modules
        and computes: a user's image must not make this service wait, or fill its memory."""
        recipe = hashlib.sha256(f"{self._initrd_recipe} {image.version}".encode()).hexdigest()[:12]
        packed = self._cache / f"{image.folder}-{recipe}.cpio"
        digests = packed.with_suffix(".json")
        if not (digests.exists() and packed.exists()):
            packed.parent.mkdir(parents=True, exist_ok=True)
            output: list[str] = []
            arguments = (image.tree, image.version, image.kernel, BUSYBOX, WALT_INIT, packed)
            try:
                run_worker("pack_initrd", *arguments, on_line=output.append, timeout=PACK_LIMIT_S)
            except Failed as error:
                raise Failed(f"image '{image.name}': no initrd for kernel {image.version}: {error}") from None
            write_atomically(digests, json.dumps(output))
        kernel, initrd, root_format = json.loads(digests.read_text())
        return kernel, initrd, root_format, packed

    def _pack_root(self, image: Image, root_format: str) -> tuple[str, Path]:
        """Digest and path of the root file, made once for a folder."""
        packed = self._cache / f"{image.folder}.{root_format}"
        digest = self._cache / f"{image.folder}.{root_format}.sha256"
        if not digest.exists() or not packed.exists():
            output: list[str] = []
            try:
                run_worker("pack_root", root_format, image.tree, packed, on_line=output.append, timeout=ROOT_LIMIT_S)
            except Failed as error:
                raise Failed(f"image '{image.name}': its root file cannot be made: {error}") from None
            write_atomically(digest, output[0])
        return digest.read_text(), packed

    @cached_property
    def _initrd_recipe(self) -> str:
        """Changes with all that an initrd is made of, but for the image's own modules."""
        parts = (_read(BUSYBOX), _read(WALT_INIT), Path(initrd.__file__).read_bytes())
        return hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()


def _usage(tree: Path, unit: str) -> int:
    return int(run(["du", "--summarize", unit, str(tree)]).split()[0])


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise Failed(f"the initrd needs {path} ({error.strerror}); Debian: busybox-static") from None
