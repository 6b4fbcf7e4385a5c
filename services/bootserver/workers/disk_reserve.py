"""All users share the server's disk: what is made for one of them leaves a reserve free, in bytes and in files."""

from __future__ import annotations

import os
from pathlib import Path

from walt.contracts.errors import Failed

SPARE_BYTES = 2**30
SPARE_FILES = 10_000


def fault(folder: Path, size_bytes: int = 0) -> str:
    """Why `size_bytes` more must not be written in the file system of this folder; '' if they may."""
    disk = os.statvfs(folder)
    if disk.f_bavail * disk.f_frsize < SPARE_BYTES + size_bytes:
        return f"the server's disk has no room for it: {SPARE_BYTES / 2**30:g} GiB of it stay free"
    if disk.f_files and disk.f_favail < SPARE_FILES:  # some file systems do not count files
        return f"the server's disk has no room for it: {SPARE_FILES} files of it stay free"
    return ""


def check(folder: Path, size_bytes: int = 0) -> None:
    found = fault(folder, size_bytes)
    if found:
        raise Failed(found)
