"""`python -m services.bootserver.taking TREE PATH TAR`: what is at PATH in an image, as a tar.

'./NAME' with what is below it; of a directory its content ('.').
"""

from __future__ import annotations

import os
import sys
from pathlib import Path, PurePosixPath

from services.bootserver import helpers, members, rooted
from services.contracts.errors import NotFound
from services.kit.commands import END_WITH_US, run

LIMIT_S = 1800


def take(tree: Path, path: str, target: Path) -> None:
    whole = PurePosixPath("/", path)
    there = rooted.resolve(tree, whole.parent) / whole.name
    if path.endswith("/") or whole.name in ("", ".."):
        there = rooted.resolve(tree, whole)
    if not os.path.lexists(there):
        raise NotFound(f"there is no file '{path}' in the image")
    folder, name = (there, ".") if members.is_folder(there) else (there.parent, f"./{there.name}")
    words = [
        *END_WITH_US,
        "tar",
        "--create",
        "--format=gnu",
        "--file",
        str(target),
        "--directory",
        str(folder),
        name,
    ]
    run(words, timeout=LIMIT_S)


if __name__ == "__main__":
    tree, path, target = sys.argv[1:]
    helpers.main(lambda: take(Path(tree), path, Path(target)), Path(target).parent)
