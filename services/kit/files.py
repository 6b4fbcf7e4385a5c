"""Files that a crash never leaves half-written, and trees that are removed as a whole."""

from __future__ import annotations

import contextlib
import fcntl
import os
import tempfile
from pathlib import Path
from typing import IO

from services.kit import subprocesses

REMOVAL_LIMIT_S = 600


def write_atomically(path: Path, content: str | bytes, mode: int = 0o644) -> None:
    """Replace `path` as a whole: a reader, or a start after a crash, sees the old content or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, mode)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise


def remove_tree(*paths: Path) -> None:
    """Remove these files and folders with all that is in them, but for what is mounted there; those that do not exist
    are ignored. Failed when one stays. Done by a process of its own, since a file system may take minutes to free a
    large file.
    """
    subprocesses.run(["rm", "-rf", "--one-file-system", "--", *map(str, paths)], timeout=REMOVAL_LIMIT_S)


def sync_folder(folder: Path) -> None:
    """The names in it are there after a power failure too."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def hold_lock(path: Path) -> IO[bytes]:
    """Lock this file until the result is closed or the process ends, however it ends; BlockingIOError while another
    process has it. Children do not inherit it."""
    file = path.open("ab")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BaseException:
        file.close()
        raise
    return file
