"""The root of an image as one file, a read-only file system that nodes get as a block device: how it is made. Pure.

erofs, not compressed, with all attributes of the files; the same tree gives the same bytes. An image whose kernel has
no erofs gets an ext4, whose bytes differ each time.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

EROFS, EXT4 = FORMATS = ("erofs", "ext4")  # the first that the kernel has

UUID = "5d2c1c2e-0f5b-4c0e-9b6e-3a1f5f1d6a01"  # of all: the content is named by its digest
BLOCK_BYTES = 4096
# erofs-utils take this moment for later times of files, and for that of the file system's making: no file is as new.
ENVIRONMENT = {"SOURCE_DATE_EPOCH": "4102444800", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"}


def argv(root_format: str, tree: Path, target: Path, blocks: int = 0, files: int = 0) -> list[str]:
    """blocks, files: what the tree takes, for ext4, which is made in a given size."""
    if root_format == EROFS:
        return ["mkfs.erofs", "--quiet", "--preserve-mtime", "-U", UUID, str(target), str(tree)]
    return [
        *("mke2fs", "-q", "-F", "-t", "ext4", "-d", str(tree), "-U", UUID, "-b", str(BLOCK_BYTES)),
        *("-O", "^has_journal,^resize_inode", "-m", "0", "-N", str(files + 1024)),
        *(str(target), str(ext4_blocks(blocks, files))),
    ]


def ext4_blocks(blocks: int, files: int) -> int:
    """With room for inodes of 256 bytes, block maps and group descriptors."""
    return blocks + blocks // 16 + (files + 1024) // 16 + 4096


def format_of(modules: Sequence[str]) -> str:
    """modules: names of all that the kernel has, built in or not."""
    return EROFS if EROFS in modules else EXT4
