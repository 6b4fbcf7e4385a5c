"""Paths inside the root of another system: symbolic links lead where they would lead in a chroot, never out of it.

The content of an image is its user's, and this service reads and writes it as root. No path and no folder takes long,
whatever is in the image.
"""

from __future__ import annotations

import itertools
import os
import stat
from pathlib import Path, PurePosixPath

from walt.contracts.errors import Failed, InvalidRequest

MAX_LINKS = 40
MAX_STEPS = 400  # parts of a path, and of the links on it
MAX_NAMES = 1000  # of a folder that are looked at


def resolve(tree: Path, path: PurePosixPath | str) -> Path:
    """The path on this host, with all links followed. What is missing at its end is taken literally."""
    rest = list(reversed(PurePosixPath("/", path).parts[1:]))
    parts: list[str] = []
    links = steps = 0
    while rest:
        part = rest.pop()
        steps += 1
        if steps > MAX_STEPS:
            raise Failed(f"'{path}': more than {MAX_STEPS} parts, with those of the symbolic links on its way")
        if part == "..":
            parts = parts[:-1]
            continue
        current = tree.joinpath(*parts, part)
        if not current.is_symlink():
            parts.append(part)
            continue
        links += 1
        if links > MAX_LINKS:
            raise Failed(f"'{path}': more than {MAX_LINKS} symbolic links on its way")
        target = PurePosixPath(os.readlink(current))
        if target.is_absolute():
            parts, target = [], target.relative_to("/")
        rest.extend(reversed(target.parts))
    return tree.joinpath(*parts)


def find_file(tree: Path, path: PurePosixPath | str) -> Path | None:
    """The regular file that it leads to."""
    file = resolve(tree, path)
    return file if os.path.lexists(file) and stat.S_ISREG(file.lstat().st_mode) else None


def names(tree: Path, path: str) -> list[str]:
    """What is in that folder of the image, at most MAX_NAMES of it; nothing if there is none."""
    folder = resolve(tree, path)
    if not folder.is_dir():
        return []
    with os.scandir(folder) as entries:
        return sorted(entry.name for entry in itertools.islice(entries, MAX_NAMES))


def is_program(tree: Path, path: str) -> bool:
    file = find_file(tree, path)
    return file is not None and bool(file.stat().st_mode & 0o111)


def make_folder(tree: Path, path: str) -> Path:
    """Make the folder, and those above it, where they are missing."""
    folder = resolve(tree, path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise InvalidRequest(
            f"/{folder.relative_to(tree)} of the image cannot be a folder: a file is in the way"
        ) from None
    return folder
