"""`python -m services.bootserver.workers.unpack_rootfs ARCHIVE TREE LIMIT`: unpack a root file system, a tar that
may be compressed, into the empty folder TREE. LIMIT: in bytes, or "none"."""

from __future__ import annotations

import sys
from pathlib import Path

from services.bootserver.workers import worker
from services.bootserver.workers.unpack import unpack_compressed

NO_LIMIT = "none"
LEFT_OUT = ("dev/*", "proc/*", "sys/*", "run/*", ".dockerenv")  # systemd takes a root with the last for a container


def unpack_rootfs(archive: Path, tree: Path, limit_bytes: int | None) -> None:
    patterns = [f"--exclude={prefix}{pattern}" for pattern in LEFT_OUT for prefix in ("", "./")]
    unpack_compressed(archive, tree, ["--anchored", *patterns], limit_bytes)
    tree.chmod(0o755)


if __name__ == "__main__":
    archive, tree = map(Path, sys.argv[1:3])
    limit_bytes = None if sys.argv[3] == NO_LIMIT else int(sys.argv[3])
    worker.worker_main(lambda: unpack_rootfs(archive, tree, limit_bytes), tree)
