"""Which kernel of an image boots: the newest in /boot whose modules the image has too."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from services.bootserver import initrd, modules, rooted

HEADER_BYTES = 2**16
LIMIT_BYTES = 500_000_000  # of a file that machines load: all of it is read, and a sparse one could claim any size
# Linux x86 boot protocol: "HdrS" at 0x202; at 0x20e the place of the version's text, counted from 0x200.
MAGIC, MAGIC_AT, POINTER_AT, SETUP_BYTES = b"HdrS", 0x202, 0x20E, 0x200

LENT = "usr/lib/walt/kernel"  # written by furnish.py


@dataclass(frozen=True)
class Kernel:
    """file: on this host; version: as its modules' folder is called."""

    file: Path
    version: str


def version_in(header: bytes) -> str:
    """What a bzImage says of its version; '' when it says nothing. Distributions name the file as they like."""
    if header[MAGIC_AT : MAGIC_AT + len(MAGIC)] != MAGIC:
        return ""
    start = int.from_bytes(header[POINTER_AT : POINTER_AT + 2], "little") + SETUP_BYTES
    text = header[start : start + 200].split(b"\0")[0].decode(errors="replace")
    return text.split(" ")[0]


def find(tree: Path) -> Kernel | None:
    lent, *unusable = lent_and_unusable(tree) or [""]
    present = [one for one in all_of(tree) if has_modules(tree, one.version) and not is_too_large(one.file)]
    usable = [one for one in present if one.version not in unusable]
    return max(usable, key=lambda one: (one.version != lent, _age_key(one.version)), default=None)


def lent_and_unusable(tree: Path) -> list[str]:
    """Versions: the kernel that the platform has lent this image, and those of its own that cannot boot here."""
    file = rooted.find_file(tree, LENT)
    return _head(file).decode(errors="replace").split() if file else []


def all_of(tree: Path) -> list[Kernel]:
    boot = rooted.resolve(tree, "boot")
    names = sorted(path.name for path in boot.glob("vmlinuz*")) if boot.is_dir() else []
    found = [(name, rooted.find_file(tree, f"boot/{name}")) for name in names]
    return [Kernel(file, _version(file, name)) for name, file in found if file is not None]


def has_modules(tree: Path, version: str) -> bool:
    return rooted.find_file(tree, f"lib/modules/{version}/modules.dep") is not None


def is_too_large(file: Path) -> bool:
    return file.stat().st_size > LIMIT_BYTES


def fault(tree: Path, kernel: Kernel) -> str:
    """Why a node cannot boot it from here; ''."""
    if is_too_large(kernel.file):
        return f"{kernel.file.name} is larger than {LIMIT_BYTES / 1e6:.0f} MB"
    try:
        modules.read(tree, kernel.version, initrd.MODULES)
    except (OSError, LookupError) as error:
        return str(error)
    return ""


def _version(file: Path, name: str) -> str:
    return version_in(_head(file)) or name.removeprefix("vmlinuz").removeprefix("-")


def _head(file: Path) -> bytes:
    with open(file, "rb") as content:
        return content.read(HEADER_BYTES)


def _age_key(version: str) -> list[tuple[int, str]]:
    """6.10 is newer than 6.9."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.findall(r"\d+|\D+", version)]
