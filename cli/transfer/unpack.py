"""Unpacks a tar stream that is not trusted into a directory, and writes nowhere else.

    with Destination("results", "log") as destination:     the entry "log" of the directory "results"
        left_out = destination.receive(stream)
        destination.settle()                               merges it with what is there, as `cp -r` does

The stream is unpacked into a hidden folder of the directory and moved to its place when all of it has arrived. Every
step starts from an open directory and follows no symbolic link, neither of this stream nor of an earlier copy. The one
exception: a file is written through a link that leads to a file within the directory.

Not tarfile's own extraction: Python 3.11.2 (Debian 12) has no filters, and they check names, not open directories.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
import stat
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import TracebackType
from typing import IO, Any

from walt.contracts import file_attributes
from walt.contracts.errors import Failed

from .pack import BUFFER_BYTES, is_copied
from .tar_stream import BROKEN, entries

FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
FILE_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC

MAX_TIME_S = 2.0**33
MAX_DEPTH = 256  # each level takes up to two descriptors

Path = tuple[str, ...]


@dataclass
class Unpacked:
    """top: what was sent, () for a directory's content; folders: permissions and times that are set at the end."""

    top: Path | None = None
    left_out: list[str] = field(default_factory=list)
    folders: dict[Path, tarfile.TarInfo] = field(default_factory=dict)


def unpack(source: Any, folder: int) -> Unpacked:
    """Extract into an empty directory, given as a descriptor. What was sent is '.' or one './NAME'."""
    extractor = _Extractor(folder)
    try:
        for member, tar in entries(source):
            extractor.add(member, tar)
        extractor.make_links()
    except BROKEN as error:
        raise Failed(f"the archive cannot be unpacked: {error}") from error
    return extractor.unpacked


class _Extractor:
    """Symbolic links are made last, so that none is there while something is written."""

    def __init__(self, folder: int) -> None:
        self.unpacked = Unpacked()
        self._folder = folder
        self._files: set[Path] = set()
        self._links: dict[Path, tarfile.TarInfo] = {}

    def add(self, member: tarfile.TarInfo, tar: tarfile.TarFile) -> None:
        path = _path(member.name)
        if self.unpacked.top is None:
            self.unpacked.top = path
        if not is_copied(member):
            self.unpacked.left_out.append(member.name)
        elif member.isdir():
            with contextlib.ExitStack() as stack:
                _open_folder(stack, self._folder, path, create=True)
            self.unpacked.folders[path] = member
        elif not path:
            raise Failed(f"'{member.name}' is both the whole and a part of what was sent: refused")
        elif member.issym():
            self._links[path] = member
        elif member.islnk():
            self._link(path, member)
        else:
            self._write(path, member, tar)

    def make_links(self) -> None:
        for path, member in self._links.items():
            with contextlib.ExitStack() as stack:
                above = _open_folder(stack, self._folder, path[:-1], create=True)
                os.symlink(member.linkname, path[-1], dir_fd=above)
                os.utime(path[-1], _times(member), dir_fd=above, follow_symlinks=False)

    def _write(self, path: Path, member: tarfile.TarInfo, tar: tarfile.TarFile) -> None:
        content = tar.extractfile(member)
        assert content is not None
        with contextlib.ExitStack() as stack:
            above = _open_folder(stack, self._folder, path[:-1], create=True)
            self._forget(path, above)
            file = stack.enter_context(os.fdopen(os.open(path[-1], FILE_FLAGS, 0o600, dir_fd=above), "wb"))
            _write_content(content, member, file)
            file.flush()
            _set_attributes(file.fileno(), member)
            os.fchmod(file.fileno(), member.mode & 0o777)
            os.utime(file.fileno(), _times(member))
        self._files.add(path)

    def _link(self, path: Path, member: tarfile.TarInfo) -> None:
        """A hard link: to a file of this stream only; another would give it the permissions of what is elsewhere."""
        target = _path(member.linkname)
        if target in self._links:  # GNU tar: two names of one symbolic link
            self._links[path] = self._links[target]
            return
        if target not in self._files:
            raise Failed(
                f"'{member.name}' is a hard link to '{member.linkname}', which is not a file of this copy: refused"
            )
        with contextlib.ExitStack() as stack:
            above = _open_folder(stack, self._folder, path[:-1], create=True)
            source = _open_folder(stack, self._folder, target[:-1])
            if path != target:
                self._forget(path, above)
                os.link(target[-1], path[-1], src_dir_fd=source, dst_dir_fd=above, follow_symlinks=False)
        self._files.add(path)

    def _forget(self, path: Path, above: int) -> None:
        """An archive may have a file twice: the later one is made anew, not written into the earlier."""
        self._links.pop(path, None)
        self._files.discard(path)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path[-1], dir_fd=above)


class Destination:
    """An entry of a directory, or with name "" the directory itself, to which a copy goes."""

    def __init__(self, folder: str, name: str = "") -> None:
        self._path = folder
        self._name = name
        self._stage_name = f".walt-cp-{secrets.token_hex(4)}"
        self._unpacked = Unpacked()
        self._undo = contextlib.ExitStack()

    def __enter__(self) -> Destination:
        with self._write_errors(), contextlib.ExitStack() as stack:
            # The user has named this directory, so a link to it is followed.
            self._folder = os.open(self._path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            stack.callback(os.close, self._folder)
            os.mkdir(self._stage_name, 0o700, dir_fd=self._folder)
            stack.callback(shutil.rmtree, self._stage_name, ignore_errors=True, dir_fd=self._folder)
            self._stage = os.open(self._stage_name, FOLDER_FLAGS, dir_fd=self._folder)
            stack.callback(os.close, self._stage)
            self._undo = stack.pop_all()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._undo.close()

    @contextlib.contextmanager
    def _write_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            shown = os.path.join(self._path, self._name)
            raise Failed(f"'{shown}' cannot be written: {error.strerror or error}") from error

    def receive(self, source: Any) -> list[str]:
        """Unpack the stream; the names of what was left out, being neither file, directory nor link."""
        with self._write_errors():
            self._unpacked = unpack(source, self._stage)
        return self._unpacked.left_out

    def settle(self) -> None:
        """Move what was received to its place."""
        top = self._unpacked.top or ()
        with self._write_errors(), contextlib.ExitStack() as stack:
            if not top and not self._name:
                self._merge(self._stage, self._folder, (), ())
            elif not top:
                self._move(self._folder, self._stage_name, self._folder, (self._name,), ())
            elif self._name:
                self._move(_open_folder(stack, self._stage, top[:-1]), top[-1], self._folder, (self._name,), top)
            else:
                raise Failed(f"'{self._path}' is a directory; what is to be copied is not")

    def _merge(self, source: int, target: int, target_path: Path, path: Path) -> None:
        for name in sorted(os.listdir(source)):
            self._move(source, name, target, (*target_path, name), (*path, name))

    def _move(self, source: int, name: str, target: int, target_path: Path, path: Path) -> None:
        """source, target: the two directories; target_path: from the destination; path: from the stage."""
        mode, old = _mode(name, source), _mode(target_path[-1], target)
        shown = os.path.join(self._path, *target_path)
        if stat.S_ISDIR(mode) and stat.S_ISDIR(old):
            with contextlib.ExitStack() as stack:
                from_folder = _open_folder(stack, source, (name,))
                self._merge(from_folder, _open_folder(stack, target, target_path[-1:]), target_path, path)
            return
        if stat.S_ISDIR(mode) and old:
            raise Failed(f"'{shown}' is not a directory; what is to be copied is one")
        if stat.S_ISDIR(old) or (stat.S_ISLNK(old) and os.path.isdir(shown)):
            raise Failed(f"'{shown}' is a directory; what is to be copied is not")
        if old and not (stat.S_ISREG(old) or stat.S_ISLNK(old)):
            raise Failed(f"'{shown}' is neither a file nor a directory")
        if stat.S_ISLNK(old) and not stat.S_ISLNK(mode) and os.path.exists(shown):
            self._replace_linked(source, name, shown)
        else:
            os.replace(name, target_path[-1], src_dir_fd=source, dst_dir_fd=target)
            self._finish_folders(target, target_path[-1], path)

    def _replace_linked(self, source: int, name: str, shown: str) -> None:
        """Replace the file that a link leads to, if it is below the destination."""
        root, real = os.path.realpath(self._path), os.path.realpath(shown)
        if os.path.commonpath([root, real]) != root:
            raise Failed(f"'{shown}' is a link that leads out of '{self._path}': refused")
        path = _path(os.path.relpath(real, root))
        with contextlib.ExitStack() as stack:
            above = _open_folder(stack, self._folder, path[:-1])
            if not stat.S_ISREG(_mode(path[-1], above)):
                raise Failed(f"'{shown}' leads neither to a file nor to a directory")
            os.replace(name, path[-1], src_dir_fd=source, dst_dir_fd=above)

    def _finish_folders(self, target: int, name: str, path: Path) -> None:
        """Permissions and times of directories that are new: set last, since they may be read-only, and have had files
        written to them."""
        for folder in sorted(self._unpacked.folders, key=len, reverse=True):
            if folder[: len(path)] == path:
                with contextlib.ExitStack() as stack:
                    opened = _open_folder(stack, target, (name, *folder[len(path) :]))
                    _set_attributes(opened, self._unpacked.folders[folder])
                    os.utime(opened, _times(self._unpacked.folders[folder]))
                    os.fchmod(opened, self._unpacked.folders[folder].mode & 0o777)


def _set_attributes(file: int, member: tarfile.TarInfo) -> None:
    """Those of users; as `cp -a`, without a word where the file system has none."""
    for name, value in file_attributes.of_tar(member.pax_headers).items():
        if name.startswith(file_attributes.OF_USERS) and hasattr(os, "setxattr"):  # only Linux
            try:
                os.setxattr(file, name, value)
            except OSError as error:
                if error.errno != errno.ENOTSUP:
                    raise


def _write_content(content: Any, member: tarfile.TarInfo, file: IO[bytes]) -> None:
    """Holes stay holes, however large: they are passed over in `raw`, as a stream is not to be sought in."""
    if not member.issparse():
        shutil.copyfileobj(content, file)
        return
    pieces: Any = member.sparse  # [(offset, size)] of the data; typeshed has another type
    for offset, size in pieces:
        content.raw.seek(offset)
        file.seek(offset)
        while size > 0 and (piece := content.raw.read(min(size, BUFFER_BYTES))):
            file.write(piece)
            size -= len(piece)
    file.truncate(member.size)


def _path(name: str) -> Path:
    """'./a//b' -> ('a', 'b'), '.' -> ()"""
    parts = name.split("/")
    if name.startswith("/") or ".." in parts or "\0" in name:
        raise Failed(f"'{name}' leads out of what is to be unpacked: refused")
    path = tuple(part for part in parts if part not in ("", "."))
    if len(path) > MAX_DEPTH:
        raise Failed(f"'{name[:60]}…' is too deep; allowed: at most {MAX_DEPTH} directories")
    return path


def _open_folder(stack: contextlib.ExitStack, start: int, path: Path, *, create: bool = False) -> int:
    """The directory at `path` below `start`, no part of it a link."""
    for name in path:
        if create:
            with contextlib.suppress(FileExistsError):
                os.mkdir(name, 0o700, dir_fd=start)
        start = os.open(name, FOLDER_FLAGS, dir_fd=start)
        stack.callback(os.close, start)
    return start


def _mode(name: str, folder: int) -> int:
    """The type and permissions of an entry itself; 0 when there is none."""
    try:
        return os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode
    except FileNotFoundError:
        return 0


def _times(member: tarfile.TarInfo) -> tuple[float, float]:
    """Access and modification; an archive may hold any number."""
    seconds = max(0.0, min(float(member.mtime), MAX_TIME_S))
    return seconds, seconds
