"""Move unpacked files into a tree that shares its files with an image.

Nothing in the tree is written to: new files replace old ones. No symbolic link of the tree is followed.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path

from walt.contracts import file_attributes

Accept = Callable[[Path, Path], bool]


def merge(source: Path, target: Path, accept: Accept, *, keep_folders: bool) -> None:
    """Move `source`, and all below it, to `target`, whose parent is there. Both are in one file system. A directory is
    merged into one that is there; else the new entry replaces the old.

    accept(source, target): called for each entry; False leaves it, and all below it, out.
    keep_folders: a directory that is there keeps its owner, mode, time and attributes.
    """
    attributes: list[tuple[Path, Path, os.stat_result]] = []
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
            attributes.append((entry, place, entry.stat()))
        pending.extend((entry / name, place / name) for name in os.listdir(entry))
    for entry, place, seen in attributes:
        _copy_extended_attributes(entry, place)
        os.chown(place, seen.st_uid, seen.st_gid)
        os.chmod(place, stat.S_IMODE(seen.st_mode))
        os.utime(place, ns=(seen.st_atime_ns, seen.st_mtime_ns))


def _copy_extended_attributes(source: Path, target: Path) -> None:
    """Of directories: all that `target` has of users afterwards is what `source` has."""
    kept = {name: os.getxattr(source, name) for name in os.listxattr(source) if file_attributes.is_copied(name)}
    for name in os.listxattr(target):
        if file_attributes.is_copied(name) and name not in kept:
            os.removexattr(target, name)
    for name, value in kept.items():
        os.setxattr(target, name, value)


def is_folder(path: Path) -> bool:
    return os.path.lexists(path) and stat.S_ISDIR(path.lstat().st_mode)


def remove(path: Path) -> None:
    if is_folder(path):
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
