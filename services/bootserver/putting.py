"""`python -m services.bootserver.putting TREE TAR PATH NAME`: what a user sends into an image, as `cp -r` has it.

TREE is made of hard links to the image. TAR holds CONTENT, with what is below it, and at last COMPLETE. It comes to be
PATH, or NAME in it when PATH is a folder (NAME "": its content in PATH); PATH/ has to be one.
"""

from __future__ import annotations

import os
import sys
import tarfile
from pathlib import Path, PurePosixPath

from services.bootserver import helpers, members, rooted
from services.contracts.bootserver import COMPLETE, CONTENT
from services.contracts.errors import InvalidRequest, NotFound


def put(tree: Path, archive: Path, path: str, name: str) -> None:
    target = place(tree, path, name)
    with members.opened(archive) as tar:
        if COMPLETE not in tar.getnames():
            raise InvalidRequest("what was sent is not whole")
        for member in tar:
            inside = PurePosixPath(member.name)
            if inside.parts[:1] == (CONTENT,):
                _put(tree, target, tar, member)


def place(tree: Path, path: str, name: str) -> Path:
    there = rooted.resolve(tree, path)
    if members.is_folder(there):
        return there / name if name else there
    if path.endswith("/"):
        kind = "not a directory" if os.path.lexists(there) else "not there"
        raise NotFound(f"'{path}' is {kind} in the image")
    if not members.is_folder(there.parent):
        raise NotFound(f"there is no directory '{PurePosixPath(path).parent}' in the image")
    return there


def _put(tree: Path, base: Path, tar: tarfile.TarFile, member: tarfile.TarInfo) -> None:
    target = _below(base, member.name)
    shown = f"/{target.relative_to(tree)}"
    if not members.is_folder(target.parent):
        raise InvalidRequest(f"'{shown}' cannot be: what it would be in is not a directory")
    is_there = os.path.lexists(target)
    if member.isdir() and is_there and not members.is_folder(target):
        raise InvalidRequest(f"'{shown}' is not a directory in the image; what is to be copied is one")
    if not member.isdir() and members.is_folder(target):
        raise InvalidRequest(f"'{shown}' is a directory in the image; what is to be copied is not")
    if not (member.isdir() or member.isreg() or member.issym() or member.islnk()):
        raise InvalidRequest(f"'{shown}' would be neither file, directory nor link")
    if not member.isdir():
        members.remove(target)
    if member.islnk():
        _link(_below(base, member.linkname), target)
    elif not (member.isdir() and is_there):  # a directory that is there stays as it is
        members.put(target, tar, member)


def _below(base: Path, name: str) -> Path:
    inside = PurePosixPath(name).parts[1:]
    if ".." in inside:
        raise InvalidRequest(f"'{name}' leads out of what is to be copied")
    return base.joinpath(*inside)


def _link(first: Path, target: Path) -> None:
    """To one that came before it: a file of the image must not be reached through a link on the way."""
    if not (first.parent.resolve() == first.parent and first.is_file() and not first.is_symlink()):
        raise InvalidRequest(f"'{target.name}' is a link to what was not sent before it")
    os.link(first, target)


if __name__ == "__main__":
    tree, archive, path, name = sys.argv[1:]
    helpers.main(lambda: put(Path(tree), Path(archive), path, name), Path(tree))
