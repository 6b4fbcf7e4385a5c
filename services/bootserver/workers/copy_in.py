"""`python -m services.bootserver.workers.copy_in TREE TAR PATH NAME`: copy files into an image, as `cp -r`.

TREE is made of hard links to the image. TAR holds CONTENT, with what is below it, and at last the empty file COMPLETE.
CONTENT becomes PATH, or NAME in it when PATH is a directory (NAME "": its content in PATH); PATH/ must be one.
"""

from __future__ import annotations

import os
import stat
import sys
import tempfile
from pathlib import Path, PurePosixPath

from services.bootserver.image_kernel import chroot_paths
from services.bootserver.workers import worker
from services.bootserver.workers.merge import is_folder, merge
from services.bootserver.workers.unpack import unpack
from walt.contracts.bootserver import COMPLETE, CONTENT
from walt.contracts.errors import InvalidRequest, NotFound


def copy_in(tree: Path, archive: Path, path: str, name: str) -> None:
    target = target_of(tree, path, name)
    with tempfile.TemporaryDirectory(dir=tree.parent) as folder:
        unpacked = Path(folder)
        unpack(archive, unpacked, (CONTENT, COMPLETE))
        if not os.path.lexists(unpacked / COMPLETE):
            raise InvalidRequest("what was sent is not whole")
        merge(unpacked / CONTENT, target, lambda entry, place: _check(entry, place, tree), keep_folders=True)


def target_of(tree: Path, path: str, name: str) -> Path:
    resolved = chroot_paths.resolve(tree, path)
    if is_folder(resolved):
        return resolved / name if name else resolved
    if path.endswith("/"):
        fault = "not a directory" if os.path.lexists(resolved) else "not there"
        raise NotFound(f"'{path}' is {fault} in the image")
    if not is_folder(resolved.parent):
        raise NotFound(f"there is no directory '{PurePosixPath(path).parent}' in the image")
    return resolved


def _check(entry: Path, target: Path, tree: Path) -> bool:
    shown = f"/{target.relative_to(tree)}"
    kind = stat.S_IFMT(entry.lstat().st_mode)
    if kind not in (stat.S_IFDIR, stat.S_IFREG, stat.S_IFLNK):
        raise InvalidRequest(f"'{shown}' would be neither file, directory nor link")
    if kind == stat.S_IFDIR and os.path.lexists(target) and not is_folder(target):
        raise InvalidRequest(f"'{shown}' is not a directory in the image; what is to be copied is one")
    if kind != stat.S_IFDIR and is_folder(target):
        raise InvalidRequest(f"'{shown}' is a directory in the image; what is to be copied is not")
    return True


if __name__ == "__main__":
    tree, archive, path, name = sys.argv[1:]
    worker.worker_main(lambda: copy_in(Path(tree), Path(archive), path, name), Path(tree))
