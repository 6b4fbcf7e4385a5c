"""The `disks` setting: sizes and templates. Pure.

parse_disks('256M,1T[template=ext4]')  ->  (DiskUse(256000000), DiskUse(10**12, 'ext4'))
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from services.contracts import units

NO_TEMPLATE = "none"
EXT4 = "ext4"
FAT32 = "fat32"
HYBRID_VOLATILE = "hybrid-boot-v"
HYBRID_PERSISTENT = "hybrid-boot-p"

MAX_DISKS = 26  # vda to vdz; the PCI bridge that holds them has 31 slots
MAX_DISK_BYTES = 16 * 10**12  # the largest file of ext4 on the server is just above
_MAX_FAT32_BYTES = 2 * 10**12


@dataclass(frozen=True)
class Template:
    """What a disk holds before its first boot. smallest, largest: sizes of a disk that can hold it."""

    name: str
    help: str
    smallest: int
    largest: int = MAX_DISK_BYTES


TEMPLATES = {
    one.name: one
    for one in (
        Template(NO_TEMPLATE, "nothing: not even a partition table", 1_000_000),
        Template(EXT4, "one partition with an ext4 file system", 16_000_000),
        Template(FAT32, "one partition with a FAT32 file system", 64_000_000, _MAX_FAT32_BYTES),
        Template(HYBRID_VOLATILE, "the OS image is copied here and booted; changes are lost at reboot", 256_000_000),
        Template(HYBRID_PERSISTENT, "the OS image is copied here and booted; changes are kept", 256_000_000),
    )
}
DISKS_RULE = (
    f"none, or a list of SIZE[template=NAME]; SIZE {units.DISK_RULE}, at most {units.format_disk(MAX_DISK_BYTES)}; "
    f"NAME one of {', '.join(TEMPLATES)}"
)


@dataclass(frozen=True)
class DiskUse:
    """One item of `disks`."""

    size_bytes: int
    template: str = NO_TEMPLATE


def parse_disks(text: str) -> tuple[DiskUse, ...]:
    """ValueError(what is allowed)."""
    if text == "none":
        return ()
    uses = tuple(_parse_disk(item) for item in units.split_outside_brackets(text))
    if len(uses) > MAX_DISKS:
        raise ValueError(f"at most {MAX_DISKS} disks ({len(uses)} are given)")
    return uses


def format_disks(uses: Sequence[DiskUse]) -> str:
    return ",".join(map(format_disk, uses)) or "none"


def format_disk(use: DiskUse) -> str:
    option = "" if use.template == NO_TEMPLATE else f"[template={use.template}]"
    return units.format_disk(use.size_bytes) + option


def _parse_disk(item: str) -> DiskUse:
    size, bracket, rest = item.partition("[")
    try:
        size_bytes = units.parse_disk_bytes(size)
    except ValueError as allowed:
        raise ValueError(f"sizes ('{size}' is none): {allowed}") from None
    template = TEMPLATES[_parse_template(item, rest) if bracket else NO_TEMPLATE]
    if not template.smallest <= size_bytes <= template.largest:
        low, high = units.format_disk(template.smallest), units.format_disk(template.largest)
        raise ValueError(f"{low} to {high} with template {template.name} ('{item}' is not)")
    return DiskUse(size_bytes, template.name)


def _parse_template(item: str, rest: str) -> str:
    option, equals, name = rest[:-1].partition("=")
    if not rest.endswith("]") or option != "template" or not equals or name not in TEMPLATES:
        raise ValueError(f"SIZE[template=NAME] with NAME one of {', '.join(TEMPLATES)} ('{item}' is not that)")
    return name
