"""`python -m services.bootserver.workers.pack_root FORMAT TREE TARGET`: the root file of an image (`kernel.root_file`).

Prints the SHA-256 of TARGET, which is there as a whole or not at all.
"""

from __future__ import annotations

import hashlib
import os
import sys
from pathlib import Path

from services.bootserver.image_kernel import root_file
from services.bootserver.workers import worker
from services.kit.subprocesses import run

LIMIT_S = 1800


def pack(root_format: str, tree: Path, target: Path) -> str:
    """The SHA-256 of what was made."""
    partial = target.with_suffix(".partial")
    partial.unlink(missing_ok=True)
    size = (
        ()
        if root_format == root_file.EROFS
        else (_disk_usage(tree, "--block-size=4096"), _disk_usage(tree, "--inodes"))
    )
    try:
        run(root_file.argv(root_format, tree, partial, *size), timeout=LIMIT_S, env=root_file.ENVIRONMENT)
        with open(partial, "rb") as file:
            os.fsync(file.fileno())
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        os.chmod(partial, 0o644)
        os.replace(partial, target)
    finally:
        partial.unlink(missing_ok=True)
    return digest


def _disk_usage(tree: Path, unit: str) -> int:
    return int(run(["du", "--summarize", unit, str(tree)]).split()[0])


if __name__ == "__main__":
    root_format, tree, target = sys.argv[1:]
    worker.worker_main(lambda: print(pack(root_format, Path(tree), Path(target))), Path(target).parent)
