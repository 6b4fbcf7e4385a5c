"""Files and directories of this computer as a stream of tar, and back. What comes in is never trusted.

Permissions, times and symbolic links are kept; the owner is who writes. GNU's form of tar: busybox reads no other.
"""

from __future__ import annotations

import copy
import os
import tarfile
from dataclasses import dataclass, field
from typing import Any

from cli import dockerignore
from services.contracts.bootserver import COMPLETE, CONTENT
from services.contracts.errors import Failed

BUFFER_BYTES = 2**16


def pack(path: str, sink: Any) -> list[str]:
    """Write what is at `path`; the names of what was left out, being neither file, directory nor link."""
    left_out: list[str] = []
    with tarfile.open(mode="w|", fileobj=sink, format=tarfile.GNU_FORMAT, bufsize=BUFFER_BYTES) as tar:
        _add(tar, path, CONTENT, left_out)
        tar.addfile(tarfile.TarInfo(COMPLETE))
    return left_out


def pack_whole(folder: str, sink: Any) -> None:
    """All that is below a folder, as it is: owners, devices, sockets left out by tar itself."""
    with tarfile.open(mode="w|", fileobj=sink, format=tarfile.GNU_FORMAT, bufsize=BUFFER_BYTES) as tar:
        tar.add(os.path.realpath(folder), ".")


def pack_build(folder: str, sink: Any) -> None:
    """What a Dockerfile in a folder is built of."""
    with tarfile.open(mode="w|", fileobj=sink, format=tarfile.GNU_FORMAT, bufsize=BUFFER_BYTES) as tar:
        for path in dockerignore.kept(folder):
            tar.add(os.path.join(folder, path), path, recursive=False)


def _add(tar: tarfile.TarFile, path: str, name: str, left_out: list[str]) -> None:
    member = tar.gettarinfo(path, name)
    if not _is_kept(member):
        left_out.append(path)
        return
    member.uid = member.gid = 0
    member.uname = member.gname = "root"
    if member.isreg():
        with open(path, "rb") as file:
            tar.addfile(member, file)
        return
    tar.addfile(member)
    if member.isdir():
        for child in sorted(os.listdir(path)):
            _add(tar, os.path.join(path, child), f"{name}/{child}", left_out)


def _is_kept(member: tarfile.TarInfo | None) -> bool:
    return member is not None and (member.isreg() or member.isdir() or member.issym() or member.islnk())


@dataclass
class Unpacked:
    """What came, in a staging folder. root: the one thing that was sent; left_out: names of what is no file."""

    root: str
    left_out: list[str] = field(default_factory=list)
    folders: dict[str, tarfile.TarInfo] = field(default_factory=dict)

    def settle(self, target: str) -> None:
        """Move it to its place; into a directory that is there, as `cp -r` does."""
        self._settle(self.root, target)

    def _settle(self, source: str, target: str) -> None:
        is_folder = os.path.isdir(source) and not os.path.islink(source)
        if is_folder and os.path.isdir(target):
            for child in os.listdir(source):
                self._settle(os.path.join(source, child), os.path.join(target, child))
            return
        if is_folder and os.path.lexists(target):
            raise Failed(f"'{target}' is not a directory; what is to be copied is one")
        if os.path.isdir(target):
            raise Failed(f"'{target}' is a directory; what is to be copied is not")
        if os.path.exists(target) and not os.path.isfile(target):
            raise Failed(f"'{target}' is neither a file nor a directory")
        through = os.path.exists(target) and not os.path.islink(source)
        os.replace(source, os.path.realpath(target) if through else target)
        self._finish(source, target)

    def _finish(self, source: str, target: str) -> None:
        """Permissions and times of new directories, which a read-only one, or a later file, would have spoilt."""
        for path in sorted(self.folders, reverse=True):
            if path == source or path.startswith(source + os.sep):
                moved = target + path[len(source) :]
                os.utime(moved, (self.folders[path].mtime,) * 2)
                os.chmod(moved, self.folders[path].mode & 0o777)


class _Guard:
    """Says of each member how it is extracted. No symbolic link is made until all else is there: none is followed.

    Not tarfile's own filters: the Python of Debian 12 (3.11.2) has none yet.
    """

    def __init__(self, folder: str) -> None:
        self.folder = os.path.realpath(folder)
        self.first = ""
        self.unpacked = Unpacked(self.folder)
        self._links: list[tarfile.TarInfo] = []

    def admit(self, member: tarfile.TarInfo) -> tarfile.TarInfo | None:
        self.first = self.first or os.path.normpath(member.name)
        if not _is_kept(member):
            self.unpacked.left_out.append(member.name)
            return None
        _check_inside(member.name)
        if member.issym():
            self._links.append(member)
            return None
        admitted = copy.copy(member)
        admitted.uid, admitted.gid, admitted.uname, admitted.gname = os.geteuid(), os.getegid(), "", ""
        if member.islnk():
            _check_inside(member.linkname)
        if member.isdir():
            self.unpacked.folders[self._path(member)] = member
            admitted.mode = 0o700  # for as long as something comes into it
        else:
            admitted.mode = member.mode & 0o777
        return admitted

    def make_links(self) -> None:
        for member in self._links:
            path = self._path(member)
            if os.path.realpath(os.path.dirname(path)) != os.path.dirname(path):
                raise Failed(f"'{member.name}' would be written through a link: refused")
            os.symlink(member.linkname, path)
            os.utime(path, (member.mtime,) * 2, follow_symlinks=False)

    def _path(self, member: tarfile.TarInfo) -> str:
        return os.path.normpath(os.path.join(self.folder, member.name))


def _check_inside(name: str) -> None:
    if os.path.isabs(name) or ".." in name.split("/"):
        raise Failed(f"'{name}' leads out of what is to be unpacked: refused")


def unpack(source: Any, folder: str) -> Unpacked:
    """Extract into the empty `folder`. What was sent is '.' (a directory) or one './NAME'."""
    guard = _Guard(folder)
    try:
        with tarfile.open(mode="r|", fileobj=source, bufsize=BUFFER_BYTES) as tar:
            tar.extraction_filter = lambda member, _: member  # ours has decided already
            for member in tar:
                admitted = guard.admit(member)
                if admitted is not None:
                    tar.extract(admitted, guard.folder)
        guard.make_links()
    except tarfile.TarError as error:
        raise Failed(f"what came is not to be unpacked: {error}") from error
    if guard.first != ".":
        guard.unpacked.root = os.path.join(guard.folder, guard.first)
    return guard.unpacked
