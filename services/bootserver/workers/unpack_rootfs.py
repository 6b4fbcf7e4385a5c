"""`python -m services.bootserver.workers.unpack_rootfs ARCHIVE TREE`: unpack a root file system, a tar that may be
compressed, into the empty folder TREE."""

from __future__ import annotations

import sys
from pathlib import Path

from services.bootserver.workers import worker
from services.bootserver.workers.unpack import unpack_compressed

LEFT_OUT = ("dev/*", "proc/*", "sys/*", "run/*", ".dockerenv")  # systemd takes a root with the last for a container


def unpack_rootfs(archive: Path, tree: Path) -> None:
    patterns = [f"--exclude={prefix}{pattern}" for pattern in LEFT_OUT for prefix in ("", "./")]
    unpack_compressed(archive, tree, ["--anchored", *patterns])
    tree.chmod(0o755)


if __name__ == "__main__":
    archive, tree = map(Path, sys.argv[1:])
    worker.worker_main(lambda: unpack_rootfs(archive, tree), tree)
