"""`python -m services.bootserver.workers.apply_overlay BASE CHANGES TREE`: a new image TREE from the image BASE and
what a node has changed in it.

CHANGES is the tar that `save_node.py` fetches from the node:
    changes/…     the changed files, as the overlay's upper directory has them
    directories   the directories in which the node changed anything, each ended by NUL
    names         all that is in them now: whatever else BASE has there was deleted. It comes last; without it, the tar
                  was cut off.
Of its extended attributes it has those of users and capabilities (`file_attributes`), if the node has GNU tar.
TREE begins as hard links to BASE, so that nothing in it may be written to: a changed file replaces its link.
The tar comes from a machine whose user is root there: no path in it may lead out of TREE, by `..` or a symbolic link.
"""

from __future__ import annotations

import fnmatch
import os
import stat
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from services.bootserver import platform_block
from services.bootserver.image_kernel import chroot_paths
from services.bootserver.workers import worker
from services.bootserver.workers.merge import is_folder, merge, remove
from services.bootserver.workers.unpack import unpack
from services.kit.subprocesses import run
from walt.contracts.errors import InvalidRequest

DIRECTORIES, NAMES, CHANGES = "directories", "names", "changes"

# What makes an image this node's, or is not part of the image at all.
NODE_FOLDERS = ("proc", "sys", "dev", "run", "tmp", "persist", ".walt")
NODE_FILES = (*("etc/hostname", "etc/machine-id", "etc/walt", "etc/walt/*", "etc/ssh/ssh_host_*", "etc/dropbear/*"),)
SHARED_LIMIT_BYTES = 20_000_000  # of a file that holds lines of the platform beside those of the user

COPY_LIMIT_S = 600


def belongs_to_node(path: PurePosixPath) -> bool:
    """Whether this path, relative to the root, is the node's own and not the image's."""
    return path.parts[:1] in {(one,) for one in NODE_FOLDERS} or any(
        fnmatch.fnmatchcase(str(path), pattern) for pattern in NODE_FILES
    )


def build(base: Path, changes: Path, tree: Path) -> None:
    run(["cp", "--archive", "--link", str(base), str(tree)], timeout=COPY_LIMIT_S)
    with tempfile.TemporaryDirectory(dir=tree.parent) as folder:
        unpacked = Path(folder)
        try:
            unpack(changes, unpacked, (CHANGES, DIRECTORIES, NAMES))
        except InvalidRequest as error:
            raise InvalidRequest(f"the changes of the node: {error}") from None
        _empty_platform_blocks(unpacked / CHANGES, tree)
        prune(tree, _listing(unpacked, DIRECTORIES), _listing(unpacked, NAMES))
        for path in (unpacked / CHANGES).iterdir() if is_folder(unpacked / CHANGES) else ():
            merge(path, tree / path.name, lambda entry, place: _accept(entry, place, tree), keep_folders=False)


def _empty_platform_blocks(changes: Path, tree: Path) -> None:
    """In the files that hold lines of the platform beside those of the user: the next node gets its own."""
    for name in platform_block.FILES:
        path = changes / name
        ways = [changes / parent for parent in PurePosixPath(name).parents]
        if not all(map(is_folder, ways)) or not os.path.lexists(path) or not stat.S_ISREG(path.lstat().st_mode):
            continue
        seen = path.lstat()
        if seen.st_size > SHARED_LIMIT_BYTES:
            raise InvalidRequest(f"the node's /{name} is larger than {SHARED_LIMIT_BYTES / 1e6:.0f} MB")
        text = platform_block.emptied(name, path.read_bytes().decode(errors="surrogateescape"))
        path.unlink()  # not written to: it may be a hard link to another
        if text is None or (text == platform_block.block("") and not os.path.lexists(tree / name)):
            continue
        path.write_bytes(text.encode(errors="surrogateescape"))
        os.chown(path, seen.st_uid, seen.st_gid)
        os.chmod(path, stat.S_IMODE(seen.st_mode))


def prune(tree: Path, directories: Iterable[PurePosixPath], names: Iterable[PurePosixPath]) -> None:
    """Delete from each of the directories what is not among `names`."""
    kept = set(names)
    for directory in directories:
        folder = _folder(tree, directory)
        if folder is None:
            continue
        for name in os.listdir(folder):
            if directory / name not in kept and not belongs_to_node(directory / name):
                remove(folder / name)


def _accept(entry: Path, target: Path, tree: Path) -> bool:
    if belongs_to_node(PurePosixPath(target.relative_to(tree))):
        return False
    seen = entry.lstat()
    if stat.S_ISCHR(seen.st_mode) and seen.st_rdev == 0:  # overlayfs's sign for "deleted"
        remove(target)
        return False
    return True


def _listing(unpacked: Path, name: str) -> list[PurePosixPath]:
    file = chroot_paths.find_file(unpacked, name)
    if file is None:
        raise InvalidRequest(f"the changes of the node are not whole: '{name}' is missing")
    return [PurePosixPath(os.fsdecode(path)) for path in file.read_bytes().split(b"\0") if path]


def _folder(tree: Path, path: PurePosixPath) -> Path | None:
    """Its path in the tree; None when it, or one on the way, is not a folder (but perhaps a link to one elsewhere)."""
    if path.is_absolute() or ".." in path.parts:
        raise InvalidRequest(f"the changes of the node name '{path}'; allowed: paths below its root")
    ways = [tree, *(tree / parent for parent in [*reversed(path.parents), path])]
    return tree / path if all(map(is_folder, ways)) else None


if __name__ == "__main__":
    base, changes, tree = map(Path, sys.argv[1:])
    worker.worker_main(lambda: build(base, changes, tree), tree.parent)
