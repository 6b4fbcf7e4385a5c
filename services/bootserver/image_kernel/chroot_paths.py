"""Paths inside the root of another system: symbolic links lead where they would lead in a chroot, never out of it.

The content of an image is its user's, and this service reads and writes it as root.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path, PurePosixPath

from walt.contracts.errors import Failed, InvalidRequest

MAX_LINKS = 40


def resolve(tree: Path, path: PurePosixPath | str) -> Path:
    """The path on this host, with all links followed. What is missing at its end is taken literally."""
    rest = list(reversed(PurePosixPath("/", path).parts[1:]))
    parts: list[str] = []
    links = 0
    while rest:
        part = rest.pop()
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
