"""`python -m services.bootserver.unpacking ARCHIVE TREE`: a root file system, a tar that may be compressed, into the empty
folder TREE."""

from __future__ import annotations

import sys
from pathlib import Path

from services.bootserver import helpers
from services.contracts.errors import InvalidRequest
from services.kit.commands import END_WITH_US, CommandEnded, follow

LIMIT_S = 1800
SAID_CHARS = 1000  # the end of what tar says of file after file
NOT_OF_AN_IMAGE = ("dev/*", "proc/*", "sys/*", "run/*", ".dockerenv")  # the last: systemd would hold it for a container


def unpack(archive: Path, tree: Path) -> None:
    """By GNU tar, which takes care of names and links that lead out of a new folder."""
    left_out = [f"--exclude={dot}{one}" for one in NOT_OF_AN_IMAGE for dot in ("", "./")]
    words = ["tar", "--extract", "--anchored", *left_out, "--numeric-owner", "--same-owner", "--same-permissions"]
    words += ["--delay-directory-restore", "--file", str(archive), "--directory", str(tree)]
    try:
        follow([*END_WITH_US, *words], print, timeout=LIMIT_S)
    except CommandEnded as end:
        raise InvalidRequest(f"what was sent cannot be unpacked: {end.said[-SAID_CHARS:]}") from None
    tree.chmod(0o755)


if __name__ == "__main__":
    archive, tree = map(Path, sys.argv[1:])
    helpers.main(lambda: unpack(archive, tree), tree)
