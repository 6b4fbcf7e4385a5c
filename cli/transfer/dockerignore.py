"""Which files of a folder are part of a build: all but those that its `.dockerignore` excludes."""

from __future__ import annotations

import os
import re
from pathlib import Path

from walt.contracts.errors import InvalidRequest

FILE = ".dockerignore"
ALWAYS_INCLUDED = ("!Dockerfile",)  # Docker's engine reads it; the SDK adds the same rule for FILE itself


def included(folder: str) -> list[str]:
    """Paths relative to the folder, each directory before its content."""
    from docker.utils.build import PatternMatcher

    patterns = _patterns(Path(folder, FILE))
    matcher = PatternMatcher([*patterns, *ALWAYS_INCLUDED])
    has_exceptions = any(pattern.startswith("!") for pattern in patterns)
    paths: list[str] = []
    # Not the SDK's exclude_paths: it does not descend into an excluded folder for an exception such as !**/*.md
    for current, folders, files in os.walk(folder):
        above = os.path.relpath(current, folder)
        names = {name: os.path.normpath(os.path.join(above, name)) for name in (*folders, *files)}
        excluded = {name for name, path in names.items() if matcher.matches(path)}
        paths += [path for name, path in names.items() if name not in excluded]
        folders[:] = [name for name in folders if has_exceptions or name not in excluded]
    return sorted(paths)


def _patterns(path: Path) -> list[str]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        return []
    patterns = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    for pattern in patterns:
        _check(pattern)
    return patterns


def _check(pattern: str) -> None:
    from docker.utils.fnmatch import fnmatch

    try:
        fnmatch("", pattern.removeprefix("!"))
    except re.error as error:
        raise InvalidRequest(f"{FILE}: '{pattern}' is not a pattern: {error}") from None
