"""The commands that make an empty sparse file a disk with a template, and that adapt one that has grown. Pure.

A GUID partition table (so that a disk may exceed 2 TiB) and one partition, from 1 MiB to the last whole MiB that leaves
space for the table's copy at the end. The tools write at an offset of the file: no loop device is needed.
The labels name the template, not the disk, so that one fstab in an image serves all its nodes. (The serial number
identifies the disk, see command_line.py.)
"""

from __future__ import annotations

from dataclasses import dataclass

from walt.contracts.disks import EXT4, FAT32, HYBRID_PERSISTENT, HYBRID_VOLATILE, NO_TEMPLATE

SECTOR_BYTES = 512
START_BYTES = 2**20
END_BYTES = 2**20

HYBRID_FOLDER = "walt_hybrid"
PERSISTENT_MARK = f"{HYBRID_FOLDER}/.persistent"

TOOLS = {  # and packages
    "sfdisk": "fdisk",
    "mke2fs": "e2fsprogs",
    "e2fsck": "e2fsprogs",
    "resize2fs": "e2fsprogs",
    "mkfs.vfat": "dosfstools",
    "fallocate": "util-linux",
}
LABELS = {EXT4: "walt-ext4", FAT32: "WALT-FAT32", HYBRID_VOLATILE: "walt-hybrid", HYBRID_PERSISTENT: "walt-hybrid"}

GPT_SIGNATURE = b"EFI PART"
_LINUX = "0FC63DAF-8483-4772-8E79-3D69D8477DE4"
_BASIC_DATA = "EBD0A0A2-B9E5-4433-87C0-68B6B72699C7"


@dataclass(frozen=True)
class DiskCommand:
    argv: tuple[str, ...]
    stdin: str | None = None


def file_bytes(size_bytes: int) -> int:
    """The length of the disk's file: whole sectors."""
    return -(-size_bytes // SECTOR_BYTES) * SECTOR_BYTES


def skeleton(template: str) -> tuple[str, ...]:
    """The first content of the file system: folders, which end with '/', and empty files."""
    return {
        HYBRID_VOLATILE: (f"{HYBRID_FOLDER}/",),
        HYBRID_PERSISTENT: (f"{HYBRID_FOLDER}/", PERSISTENT_MARK),
    }.get(template, ())


def creation_commands(template: str, path: str, size_bytes: int, content: str) -> list[DiskCommand]:
    """content: a folder that holds the skeleton."""
    if template == NO_TEMPLATE:
        return []
    part_bytes = (size_bytes - START_BYTES - END_BYTES) // 2**20 * 2**20
    kind = _BASIC_DATA if template == FAT32 else _LINUX
    table = f"label: gpt\nstart={START_BYTES // SECTOR_BYTES}, size={part_bytes // SECTOR_BYTES}, type={kind}\n"
    make = _fat32(path, part_bytes) if template == FAT32 else [_ext4(template, path, part_bytes, content)]
    return [DiskCommand(("sfdisk", "--quiet", path), table), *make]


def growth_command(path: str) -> DiskCommand:
    """The copy of the partition table goes to the new end."""
    return DiskCommand(("sfdisk", "--quiet", "--relocate", "gpt-bak-std", path))


def _ext4(template: str, path: str, part_bytes: int, content: str) -> DiskCommand:
    """lazy: the file is all zeros already; what is not written costs neither time nor space."""
    options = f"offset={START_BYTES},lazy_itable_init=1,lazy_journal_init=1,nodiscard"
    source = ("-d", content) if skeleton(template) else ()
    argv = ("mke2fs", "-q", "-F", "-t", "ext4", "-L", LABELS[template], *source, "-E", options)
    return DiskCommand((*argv, path, f"{part_bytes // 1024}k"))


def _fat32(path: str, part_bytes: int) -> list[DiskCommand]:
    """mkfs.vfat writes the zeros of its tables (0.5 GB for 2 TB): they are given back."""
    sector = str(START_BYTES // SECTOR_BYTES)
    argv = ("mkfs.vfat", "-F", "32", "-n", LABELS[FAT32], "-h", sector, "--offset", sector)
    return [DiskCommand((*argv, path, str(part_bytes // 1024))), DiskCommand(("fallocate", "--dig-holes", path))]
