"""`python -m services.bootserver.changes BASE CHANGES TREE`: a new image TREE from the image BASE and what a node
has changed in it. A process of its own, because it keeps a processor busy.

CHANGES is the tar that `saving.py` fetches from the node:
    changes/…     the changed files, as the overlay's upper directory has them
    directories   the directories in which the node changed anything, each ended by NUL
    names         all that is in them now; whatever of BASE is not named there was deleted. Last: without it, the tar is
                  not whole.
Extended attributes are left out: a node does not see them in its image, since NFS does not carry them.
TREE begins as hard links to BASE, so that nothing in it may be written to: a changed file takes the place of its link.
The tar comes from a machine of which its user is root: no path of it leads out of TREE, by `..` or by a symbolic link.
"""

from __future__ import annotations

import fnmatch
import os
import sys
import tarfile
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from services.bootserver import helpers, members
from services.contracts.errors import InvalidRequest
from services.kit.commands import run

DIRECTORIES, NAMES, CHANGES = "directories", "names", "changes"

# What makes an image this node's, or is no part of the image at all.
OWN_FOLDERS = ("proc", "sys", "dev", "run", "tmp", "persist", ".walt")
OWN_FILES = (
    *("etc/hostname", "etc/hosts", "etc/resolv.conf", "root/.ssh/authorized_keys"),
    *("etc/ssh/ssh_host_*", "etc/dropbear/*"),
)

COPY_LIMIT_S = 600
WHITEOUT = (0, 0)  # device number of what says "deleted" in an upper directory


def is_nodes_own(path: PurePosixPath) -> bool:
    """Relative to the root. Pure."""
    return path.parts[:1] in {(one,) for one in OWN_FOLDERS} or any(
        fnmatch.fnmatchcase(str(path), pattern) for pattern in OWN_FILES
    )


def build(base: Path, changes: Path, tree: Path) -> None:
    run(["cp", "--archive", "--link", str(base), str(tree)], timeout=COPY_LIMIT_S)
    with members.opened(changes) as tar:
        prune(tree, _listing(tar, DIRECTORIES), _listing(tar, NAMES))
        changed = [member for member in tar if PurePosixPath(member.name).parts[:1] == (CHANGES,)]
        deleted = {member.name for member in changed if _is_whiteout(member)}
        for member in changed:
            # overlayfs makes one whiteout, and of the others hard links to it
            is_gone = member.name in deleted or (member.islnk() and member.linkname in deleted)
            _apply(tree, _relative(member.name), tar, None if is_gone else member)


def prune(tree: Path, directories: Iterable[PurePosixPath], names: Iterable[PurePosixPath]) -> None:
    """Delete from each directory what is not named."""
    kept = set(names)
    for directory in directories:
        inside = _inside(tree, directory)
        if inside is None or not members.is_folder(inside):
            continue
        for name in os.listdir(inside):
            if directory / name not in kept and not is_nodes_own(directory / name):
                members.remove(inside / name)


def _apply(tree: Path, path: PurePosixPath, tar: tarfile.TarFile, member: tarfile.TarInfo | None) -> None:
    """member None: deleted."""
    if is_nodes_own(path):
        return
    target = _inside(tree, path)
    if target is None:
        raise InvalidRequest(f"the changes of the node name '{path}', whose folder is no folder")
    if not (member and member.isdir() and members.is_folder(target)):
        members.remove(target)
    if member is None:
        return
    if member.islnk():
        _link(tree, _relative(member.linkname), target)
    else:
        members.put(target, tar, member)


def _is_whiteout(member: tarfile.TarInfo) -> bool:
    return member.ischr() and (member.devmajor, member.devminor) == WHITEOUT


def _link(tree: Path, path: PurePosixPath, target: Path) -> None:
    first = _inside(tree, path)
    if first is None or not os.path.lexists(first):
        raise InvalidRequest(f"the changes of the node link to '{path}', which is not there")
    os.link(first, target, follow_symlinks=False)


def _listing(tar: tarfile.TarFile, name: str) -> list[PurePosixPath]:
    if name not in tar.getnames():
        raise InvalidRequest(f"the changes of the node are not whole: '{name}' is missing")
    content = tar.extractfile(name)
    assert content is not None
    return [PurePosixPath(os.fsdecode(one)) for one in content.read().split(b"\0") if one]


def _relative(name: str) -> PurePosixPath:
    return PurePosixPath(*PurePosixPath(name).parts[1:])


def _inside(tree: Path, path: PurePosixPath) -> Path | None:
    """Its place in the tree; None when a folder on the way is none (but a symbolic link, perhaps, to elsewhere)."""
    if path.is_absolute() or ".." in path.parts:
        raise InvalidRequest(f"the changes of the node name '{path}'; allowed: paths below its root")
    place = tree
    for part in path.parts[:-1]:
        place = place / part
        if not members.is_folder(place):
            return None
    return tree / path


if __name__ == "__main__":
    base, changes, tree = map(Path, sys.argv[1:])
    helpers.main(lambda: build(base, changes, tree), tree.parent)
