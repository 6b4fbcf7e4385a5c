"""`python -m services.bootserver.workers.copy_out TREE PATH TAR`: what is at PATH in an image, as a tar.

'./NAME' with what is below it; of a directory its content ('.').
"""

from __future__ import annotations

import os
import sys
from pathlib import Path, PurePosixPath

from services.bootserver.image_kernel import chroot_paths
from services.bootserver.workers import image_tar, worker
from services.bootserver.workers.merge import is_folder
from services.kit.subprocesses import DIE_WITH_PARENT, run
from walt.contracts.errors import NotFound

LIMIT_S = 1800


def copy_out(tree: Path, path: str, target: Path) -> None:
    whole = PurePosixPath("/", path)
    source = chroot_paths.resolve(tree, whole.parent) / whole.name
    if path.endswith("/") or whole.name in ("", ".."):
        source = chroot_paths.resolve(tree, whole)
    if not os.path.lexists(source):
        raise NotFound(f"there is no file '{path}' in the image")
    folder, name = (source, ".") if is_folder(source) else (source.parent, f"./{source.name}")
    argv = [*DIE_WITH_PARENT, *image_tar.argv(folder, name), "--file", str(target)]
    run(argv, timeout=LIMIT_S, success=image_tar.SUCCESS)


if __name__ == "__main__":
    tree, path, target = sys.argv[1:]
    worker.worker_main(lambda: copy_out(Path(tree), path, Path(target)), Path(target).parent)
