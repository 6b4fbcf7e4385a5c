"""Which kernel of an image boots: of those in /boot that have their modules in the image, the one that /vmlinuz names,
else the newest."""

from __future__ import annotations

import heapq
import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from services.bootserver.image_kernel import chroot_paths, initrd, module_reader

HEADER_BYTES = 2**16
MAX_KERNELS = 50
LIMIT_BYTES = 500_000_000  # of a file that machines load: all of it is read, and a sparse one could claim any size
# Linux x86 boot protocol: "HdrS" at 0x202; at 0x20e the offset, from 0x200, of the version string.
MAGIC, MAGIC_AT, POINTER_AT, SETUP_BYTES = b"HdrS", 0x202, 0x20E, 0x200

LENT = "usr/lib/walt/kernel"  # written by make_bootable.py
DEFAULT_LINKS = ("vmlinuz", "boot/vmlinuz")  # kept by the distribution's packages


@dataclass(frozen=True)
class Kernel:
    """file: path on this host; version: name of its modules' folder."""

    file: Path
    version: str


def version_in(header: bytes) -> str:
    """The version in the header of a bzImage; '' when it has none. Distributions name the file as they like."""
    if header[MAGIC_AT : MAGIC_AT + len(MAGIC)] != MAGIC:
        return ""
    start = int.from_bytes(header[POINTER_AT : POINTER_AT + 2], "little") + SETUP_BYTES
    text = header[start : start + 200].split(b"\0")[0].decode(errors="replace")
    return text.split(" ")[0]


def find(tree: Path) -> Kernel | None:
    """The kernel that boots this image; the one that the platform has lent it only if there is no other."""
    lent, *unusable = lent_and_unusable(tree) or [""]
    usable = [kernel for kernel in bootable(tree) if kernel.version not in unusable]
    own = [kernel for kernel in usable if kernel.version != lent]
    return prefer(tree, own or usable)


def bootable(tree: Path) -> list[Kernel]:
    return [one for one in all_of(tree) if modules_index(tree, one.version) and not is_too_large(one.file)]


def prefer(tree: Path, kernels: Collection[Kernel]) -> Kernel | None:
    """The one that the image's own link names, else the newest; of two flavours of one version (cloud-amd64, amd64),
    the one with more modules."""
    named = [chroot_paths.find_file(tree, link) for link in DEFAULT_LINKS]

    def rank(kernel: Kernel) -> tuple[bool, list[int], int, str]:
        index = modules_index(tree, kernel.version)
        size = index.stat().st_size if index else 0
        return kernel.file in named, _release(kernel.version), size, kernel.version

    return max(kernels, key=rank, default=None)


def lent_and_unusable(tree: Path) -> list[str]:
    """Versions: the kernel that the platform has lent this image, and those of its own that cannot boot here."""
    file = chroot_paths.find_file(tree, LENT)
    return _head(file).decode(errors="replace").split() if file else []


def all_of(tree: Path) -> list[Kernel]:
    """At most MAX_KERNELS, the newest by their names, since all their headers are read."""
    all_names = [name for name in chroot_paths.names(tree, "boot") if name.startswith("vmlinuz")]
    names = heapq.nlargest(MAX_KERNELS, all_names, key=lambda name: _release(name.removeprefix("vmlinuz-")))
    found = [(name, chroot_paths.find_file(tree, f"boot/{name}")) for name in names]
    return [Kernel(file, _version(file, name)) for name, file in found if file is not None]


def modules_index(tree: Path, version: str) -> Path | None:
    return chroot_paths.find_file(tree, f"lib/modules/{version}/modules.dep")


def is_too_large(file: Path) -> bool:
    return file.stat().st_size > LIMIT_BYTES


def fault(tree: Path, kernel: Kernel) -> str:
    """Why it cannot boot a node; ''. Unpacks its modules: only workers may call this."""
    if is_too_large(kernel.file):
        return f"{kernel.file.name} is larger than {LIMIT_BYTES / 1e6:.0f} MB"
    try:
        module_reader.read(tree, kernel.version, initrd.MODULES)
    except (OSError, LookupError) as error:
        return str(error)
    return ""


def _version(file: Path, name: str) -> str:
    return version_in(_head(file)) or name.removeprefix("vmlinuz").removeprefix("-")


def _head(file: Path) -> bytes:
    with open(file, "rb") as content:
        return content.read(HEADER_BYTES)


def _release(version: str) -> list[int]:
    """'6.10.3-56-cloud-amd64' -> [6, 10, 3, 56]"""
    numbers = re.match(r"\d+(?:[.-]\d+)*", version, re.ASCII)
    return [int(number) for number in re.findall(r"\d+", numbers[0])] if numbers else []
