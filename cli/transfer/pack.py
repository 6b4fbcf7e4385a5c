"""Files and directories of this computer as a tar stream.

Permissions, times, symbolic links and extended attributes (`file_attributes`) are kept; the receiver becomes the owner.
GNU's tar format, since busybox reads no other; attributes come before it in a header that busybox passes over.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import shutil
import stat
import tarfile
import tempfile
from typing import Any

from walt.contracts import file_attributes
from walt.contracts.bootserver import COMPLETE, CONTENT

from . import dockerignore

BUFFER_BYTES = 2**16
SPOOL_BYTES = 2**20  # in memory; what is longer goes to a temporary file
WITHOUT_SIZE = ("/proc/", "/sys/")  # their files have a size of 0, or of a page, whatever they contain


def pack(path: str, sink: Any) -> list[str]:
    """Write the file or directory at `path`; returns the paths left out, which are neither file, directory nor link."""
    left_out: list[str] = []
    with _writer(sink) as tar:
        _add(tar, path, CONTENT, left_out)
        tar.addfile(tarfile.TarInfo(COMPLETE))
    return left_out


def pack_root(folder: str, sink: Any) -> None:
    """A root file system: all that is below a folder, with owners and devices. tarfile leaves out sockets."""
    with _writer(sink) as tar:
        tar.add(os.path.realpath(folder), ".")


def pack_build(folder: str, sink: Any) -> None:
    """The context of a Dockerfile: a folder without what its .dockerignore excludes."""
    with _writer(sink) as tar:
        for path in dockerignore.included(folder):
            tar.add(os.path.join(folder, path), path, recursive=False)


def size_bytes(path: str) -> int:
    """What the files at `path` will take where they are unpacked; what cannot be read is found out later."""
    found = 0
    for folder, _, names in os.walk(path):
        for name in names:
            with contextlib.suppress(OSError):
                found += _file_bytes(os.path.join(folder, name))
    with contextlib.suppress(OSError):
        found += _file_bytes(path)
    return found


def _file_bytes(path: str) -> int:
    status = os.lstat(path)
    return status.st_size if stat.S_ISREG(status.st_mode) and not path.startswith(WITHOUT_SIZE) else 0


def is_copied(member: tarfile.TarInfo | None) -> bool:
    """Files, directories and links are; devices, pipes and sockets are not."""
    return member is not None and (member.isreg() or member.isdir() or member.issym() or member.islnk())


def _writer(sink: Any) -> tarfile.TarFile:
    return tarfile.open(mode="w|", fileobj=sink, format=tarfile.GNU_FORMAT, bufsize=BUFFER_BYTES)


def _add(tar: tarfile.TarFile, path: str, name: str, left_out: list[str]) -> None:
    member = tar.gettarinfo(path, name)
    if not is_copied(member):
        left_out.append(path)
        return
    member.uid = member.gid = 0
    member.uname = member.gname = "root"
    _add_attributes(tar, path)
    if member.isreg():
        _add_file(tar, path, member)
        return
    tar.addfile(member)
    if member.isdir():
        for child in sorted(os.listdir(path)):
            _add(tar, os.path.join(path, child), f"{name}/{child}", left_out)


def _add_attributes(tar: tarfile.TarFile, path: str) -> None:
    """Of the next member."""
    records = file_attributes.tar_records(_attributes(path))
    if records:
        header = tarfile.TarInfo("././@PaxHeader")
        header.type = tarfile.XHDTYPE
        header.size = len(records)
        tar.addfile(header, io.BytesIO(records))


def _attributes(path: str) -> dict[str, bytes]:
    """None of a link, or where the file system has none, as /proc."""
    if os.path.islink(path) or not hasattr(os, "listxattr"):  # only Linux
        return {}
    try:
        names = [name for name in os.listxattr(path) if file_attributes.is_copied(name)]
        return {name: os.getxattr(path, name) for name in names}
    except OSError as error:
        if error.errno == errno.ENOTSUP:
            return {}
        raise


def _add_file(tar: tarfile.TarFile, path: str, member: tarfile.TarInfo) -> None:
    with open(path, "rb") as file:
        if member.size and not os.path.realpath(path).startswith(WITHOUT_SIZE):
            tar.addfile(member, file)
            return
        with tempfile.SpooledTemporaryFile(SPOOL_BYTES) as whole:
            shutil.copyfileobj(file, whole)
            member.size = whole.tell()
            whole.seek(0)
            tar.addfile(member, whole)
