"""Members of a tar that another machine has sent, put into a tree that shares its files with an image.

Nothing in the tree is written to: what is new takes the place of what was.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import tarfile
from collections.abc import Iterator
from pathlib import Path

from services.contracts.errors import InvalidRequest


@contextlib.contextmanager
def opened(archive: Path) -> Iterator[tarfile.TarFile]:
    """To read it, in here. Not compressed, else it could claim any size."""
    try:
        with tarfile.open(archive, "r:") as tar:
            yield tar
    except (
        tarfile.TarError,
        ValueError,
        OverflowError,
        RecursionError,
    ) as error:  # of numbers and names as they may be
        raise InvalidRequest(f"what was sent is no tar that can be read: {error}") from None


def put(target: Path, tar: tarfile.TarFile, member: tarfile.TarInfo) -> None:
    """`target` is not there, or a folder as the member is. Hard links are the caller's."""
    _make(target, tar, member)
    os.chown(target, member.uid, member.gid, follow_symlinks=False)
    if member.issym():
        return
    os.chmod(target, member.mode)  # after chown, which takes the set-uid bit away
    os.utime(target, (member.mtime, member.mtime))


def _make(target: Path, tar: tarfile.TarFile, member: tarfile.TarInfo) -> None:
    if member.isdir():
        target.mkdir(exist_ok=True)
    elif member.issym():
        target.symlink_to(member.linkname)
    elif member.isfile() and member.sparse is None:  # else it could claim any size
        content = tar.extractfile(member)
        assert content is not None
        with open(target, "xb") as file:
            shutil.copyfileobj(content, file)
    elif member.isfifo():
        os.mkfifo(target)
    elif member.isdev():
        kind = stat.S_IFBLK if member.isblk() else stat.S_IFCHR
        os.mknod(target, kind | member.mode, os.makedev(member.devmajor, member.devminor))
    else:
        raise InvalidRequest(f"the tar holds '{member.name}', of a kind that is not known here")


def is_folder(path: Path) -> bool:
    return os.path.lexists(path) and stat.S_ISDIR(os.lstat(path).st_mode)


def remove(path: Path) -> None:
    if is_folder(path):
        shutil.rmtree(path)
    elif os.path.lexists(path):
        path.unlink()
