"""The `disks` setting: sizes and templates. Pure.

parse_disks('256M,1T[template=ext4]')  ->  (DiskUse(256000000), DiskUse(10**12, 'ext4'))
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from walt.contracts import units

NO_TEMPLATE = "none"
EXT4 = "ext4"
FAT32 = "fat32"
HYBRID_VOLATILE = "hybrid-boot-v"
HYBRID_PERSISTENT = "hybrid-boot-p"

MAX_DISKS = 26  # vda to vdz; the PCI bridge that holds them has 31 slots
MAX_DISK_BYTES = 16 * 10**12  # the largest file of ext4 on the server is just above
_MAX_FAT32_BYTES = 2 * 10**12

MIN_PERSIST_BYTES = 64_000_000
DEFAULT_PERSIST_BYTES = 10**9
PERSIST_RULE = (
    f"{units.DISK_RULE}, from {units.format_disk(MIN_PERSIST_BYTES)} to {units.format_disk(MAX_DISK_BYTES)}; "
    "never less than before"
)


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
    """Faults of all the disks."""
    if text == "none":
        return ()
    items, faults = units.split_outside_brackets(text), list[str]()
    uses = units.parse_each(_parse_disk, items, faults)
    if len(items) > MAX_DISKS:
        faults.append(f"{len(items)} disks are too many; allowed: at most {MAX_DISKS}")
    if faults:
        raise units.Faults(*faults)
    return tuple(uses)


def parse_persist(text: str) -> int:
    try:
        size_bytes = units.parse_disk_bytes(text)
    except ValueError:
        raise ValueError(PERSIST_RULE) from None
    if not MIN_PERSIST_BYTES <= size_bytes <= MAX_DISK_BYTES:
        raise ValueError(PERSIST_RULE)
    return size_bytes


def format_disks(uses: Sequence[DiskUse]) -> str:
    return ",".join(map(format_disk, uses)) or "none"


def format_disk(use: DiskUse) -> str:
    option = "" if use.template == NO_TEMPLATE else f"[template={use.template}]"
    return units.format_disk(use.size_bytes) + option


def _parse_disk(item: str) -> DiskUse:
    size, bracket, rest = item.partition("[")
    faults = list[str]()
    sizes = units.parse_each(_parse_size, [size], faults)
    templates = units.parse_each(_parse_template, [rest] if bracket else [], faults)
    if faults:
        raise units.Faults(*faults)
    template, size_bytes = templates[0] if templates else TEMPLATES[NO_TEMPLATE], sizes[0]
    if not template.smallest <= size_bytes <= template.largest:
        low, high = units.format_disk(template.smallest), units.format_disk(template.largest)
        raise units.Faults(f"'{item}' is not a size for template {template.name}; allowed: {low} to {high}")
    return DiskUse(size_bytes, template.name)


def _parse_size(text: str) -> int:
    try:
        return units.parse_disk_bytes(text)
    except ValueError as allowed:
        raise units.Faults(f"'{text}' is not a size; allowed: {allowed}") from None


def _parse_template(rest: str) -> Template:
    """What is behind the bracket."""
    option, equals, name = rest[:-1].partition("=")
    if not rest.endswith("]") or option != "template" or not equals:
        raise units.Faults(f"'[{rest}' is not an option; allowed: [template=NAME]")
    if name not in TEMPLATES:
        raise units.Faults(f"'{name}' is not a template; allowed: {', '.join(TEMPLATES)}")
    return TEMPLATES[name]
