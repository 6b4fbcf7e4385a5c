"""Paths in the root of another system: symbolic links lead where they would lead in there, never out of it.

What is in a tree was put there by its user; this service reads and writes as root.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path, PurePosixPath

from services.contracts.errors import Failed, InvalidRequest

MAX_LINKS = 40


def resolve(tree: Path, path: PurePosixPath | str) -> Path:
    """Its place on this host, all links followed; what is missing at the end of it is taken as named."""
    rest = list(reversed(PurePosixPath("/", path).parts[1:]))
    place: list[str] = []
    links = 0
    while rest:
        part = rest.pop()
        if part == "..":
            place = place[:-1]
            continue
        here = tree.joinpath(*place, part)
        if not here.is_symlink():
            place.append(part)
            continue
        links += 1
        if links > MAX_LINKS:
            raise Failed(f"'{path}': more than {MAX_LINKS} symbolic links on its way")
        target = PurePosixPath(os.readlink(here))
        if target.is_absolute():
            place, target = [], target.relative_to("/")
        rest.extend(reversed(target.parts))
    return tree.joinpath(*place)


def find_file(tree: Path, path: PurePosixPath | str) -> Path | None:
    """The regular file that it leads to."""
    place = resolve(tree, path)
    return place if os.path.lexists(place) and stat.S_ISREG(place.lstat().st_mode) else None


def is_program(tree: Path, path: str) -> bool:
    file = find_file(tree, path)
    return file is not None and bool(file.stat().st_mode & 0o111)


def make_folder(tree: Path, path: str) -> Path:
    """The folder of that path, made with those above it where they are missing."""
    place = resolve(tree, path)
    try:
        place.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise InvalidRequest(f"/{place.relative_to(tree)} is not a folder, or lies in none; allowed: one") from None
    return place
