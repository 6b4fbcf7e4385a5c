"""The disk that is /persist: an ext4 file system in a sparse file, without a partition: it grows in one step."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from services.kit import subprocesses
from services.kit.files import sync_folder

COPY_LIMIT_S = 1800  # of what versions before kept in a folder
SIZE_LIMIT_S = 300
JOURNAL_MB = 8
LABEL = "walt-persist"
MKE2FS = "mke2fs"  # of package e2fsprogs


def make(path: Path, size_bytes: int, content: Path | None = None) -> None:
    """content: a folder that becomes its first content, as it is; then the disk may be larger than asked. The file is
    made under another name and renamed when it is complete."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.parent.chmod(0o700)
    draft = path.with_name(f".{path.name}")
    draft.unlink(missing_ok=True)  # the tool of a process that was killed may still write to it
    size_bytes = whole_mib(size_bytes)
    if content is not None:
        size_bytes = max(size_bytes, bytes_for(*_content_size(content)))
    try:
        with new_file(draft) as descriptor:
            os.ftruncate(descriptor, size_bytes)
            subprocesses.run(mke2fs(str(draft), None if content is None else str(content)), timeout=COPY_LIMIT_S)
            os.fsync(descriptor)
        draft.rename(path)
        sync_folder(path.parent)
    finally:
        draft.unlink(missing_ok=True)


def mke2fs(path: str, content: str | None = None) -> tuple[str, ...]:
    """lazy: the file is all zeros already; what is not written costs neither time nor space."""
    options = "lazy_itable_init=1,lazy_journal_init=1,nodiscard"
    source = () if content is None else ("-d", content)
    kind = ("-t", "ext4", "-b", "4096", "-i", "16384", "-m", "0", "-L", LABEL, "-J", f"size={JOURNAL_MB}")
    return (MKE2FS, "-q", "-F", *kind, *source, "-E", options, path)


def whole_mib(size_bytes: int) -> int:
    return -(-size_bytes // 2**20) * 2**20


def bytes_for(content_bytes: int, inodes: int) -> int:
    """What a file system for this content needs: blocks of 4 KiB and inodes of 256 bytes, one for each 16 KiB, with
    some for the tables and for files to come."""
    return whole_mib(max(content_bytes * 5 // 4, inodes * 16_384 * 9 // 8) + 64 * 2**20)


@contextlib.contextmanager
def new_file(path: Path) -> Iterator[int]:
    """The descriptor of a new file of this user alone."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _content_size(folder: Path) -> tuple[int, int]:
    """Bytes and inodes."""
    used = subprocesses.run(["du", "--summarize", "--block-size=1", str(folder)], timeout=SIZE_LIMIT_S)
    inodes = subprocesses.run(["du", "--summarize", "--inodes", str(folder)], timeout=SIZE_LIMIT_S)
    return int(used.split()[0]), int(inodes.split()[0])
