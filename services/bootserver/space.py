"""The server's disk is everybody's: what is made for a user leaves some of it, in bytes and in files."""

from __future__ import annotations

import os
from pathlib import Path

from services.contracts.errors import Failed

SPARE_BYTES = 2**30
SPARE_FILES = 10_000


def fault(folder: Path, size_bytes: int = 0) -> str:
    """Why no more than so much shall come into the file system of this folder; ''."""
    disk = os.statvfs(folder)
    if disk.f_bavail * disk.f_frsize < SPARE_BYTES + size_bytes:
        return f"the server's disk has no room for it: {SPARE_BYTES / 2**30:g} GiB of it stay free"
    if disk.f_files and disk.f_favail < SPARE_FILES:  # some file systems count none
        return f"the server's disk has no room for it: {SPARE_FILES} files of it stay free"
    return ""


def check(folder: Path, size_bytes: int = 0) -> None:
    why = fault(folder, size_bytes)
    if why:
        raise Failed(why)
