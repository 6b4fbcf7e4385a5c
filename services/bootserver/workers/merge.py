"""Move unpacked files into a tree that shares its files with an image.

Nothing in the tree is written to: new files replace old ones. No symbolic link of the tree is followed.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path

Accept = Callable[[Path, Path], bool]


def merge(source: Path, target: Path, accept: Accept, *, keep_folders: bool) -> None:
    """Move `source`, and all below it, to `target`, whose parent is there. Both are in one file system. A directory is
    merged into one that is there; else the new entry replaces the old.

    accept(source, target): called for each entry; False leaves it, and all below it, out.
    keep_folders: a directory that is there keeps its owner, mode and time.
    """
    attributes: list[tuple[Path, os.stat_result]] = []
    pending = [(source, target)]
    while pending:
        entry, place = pending.pop()
        if not accept(entry, place):
            continue
        if not is_folder(entry):
            remove(place)
            entry.rename(place)
            continue
        is_new = not is_folder(place)
        if is_new:
            remove(place)
            place.mkdir()
        if is_new or not keep_folders:
            attributes.append((place, entry.stat()))
        pending.extend((entry / name, place / name) for name in os.listdir(entry))
    for place, seen in attributes:
        os.chown(place, seen.st_uid, seen.st_gid)
        os.chmod(place, stat.S_IMODE(seen.st_mode))
        os.utime(place, ns=(seen.st_atime_ns, seen.st_mtime_ns))


def is_folder(path: Path) -> bool:
    return os.path.lexists(path) and stat.S_ISDIR(path.lstat().st_mode)


def remove(path: Path) -> None:
    if is_folder(path):
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
