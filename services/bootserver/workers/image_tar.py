"""How a tar is made of files of an image. Pure."""

from __future__ import annotations

from pathlib import Path

# GNU tar ends with 1 when a file changed while it was read. No file of an image does; but an image that is cloned or
# saved meanwhile gets new hard links, and with them new change times.
SUCCESS = (0, 1)


def argv(folder: Path, name: str = ".") -> list[str]:
    """Writes to standard output, unless `--file` is added."""
    return ["tar", "--create", "--format=gnu", "--numeric-owner", f"--directory={folder}", name]
