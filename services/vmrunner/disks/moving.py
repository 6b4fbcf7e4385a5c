"""The disks of a node that moves to another host: those of the host that it leaves, and their copies at the other.

The copies are made in STATE_DIR/vmrunner/NODE_ID/arriving. They take their places, and those of what is left of an
earlier stay, once all of them are there, on the disk, and as they were read.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from services.kit import tasks
from services.kit.files import remove_tree, sync_folder, write_atomically
from services.vmrunner.disks import pieces
from services.vmrunner.disks.store import DiskStore
from walt.contracts import units
from walt.contracts.errors import Failed, NotFound
from walt.contracts.vmrunner import MovingFile, MovingPiece

FOLDERS = ("disks", "persist")
ARRIVING = "arriving"
LOOK_PIECES = 64  # between two looks at the free space

_NAME = re.compile(r"(?:disks/[0-9]+|persist/[^/.][^/]*)\.raw")

ReadPiece = Callable[[str, int], MovingPiece]  # of the file of this name, from this offset
Progress = Callable[[int, int], None]  # bytes so far, of all; may raise to end it


class _Counted:
    def __init__(self, on_progress: Progress, total: int) -> None:
        self._on_progress = on_progress
        self._total = total
        self._done = 0

    def add(self, count: int) -> None:
        self._done += count
        self._on_progress(self._done, self._total)


class MovingDiskStore:
    """floor_bytes: so much of the disk stays free (WALT_DISK_FLOOR)."""

    def __init__(self, state_folder: Path, disks: DiskStore, floor_bytes: int) -> None:
        self._state_folder = state_folder
        self._disks = disks
        self._floor_bytes = floor_bytes

    def files(self, node_id: int) -> tuple[MovingFile, ...]:
        """What goes with the node: not what its next boot empties."""
        folder = self._state_folder / str(node_id)
        found = [path for name in FOLDERS for path in sorted((folder / name).glob("[!.]*.raw"))]
        going = [path for path in found if not self._disks.is_volatile(path)]
        return tuple(_described(path, str(path.relative_to(folder))) for path in going)

    def read(self, node_id: int, name: str, offset: int) -> MovingPiece:
        if not _NAME.fullmatch(name) or offset < 0 or offset % pieces.PIECE_BYTES:
            raise NotFound(f"node {node_id} has no disk '{name}' with a piece at {offset}")
        try:
            return tasks.in_os_thread(pieces.read, self._state_folder / str(node_id) / name, offset)
        except FileNotFoundError:
            raise NotFound(f"node {node_id} has no disk '{name}' any more") from None

    def receive(self, node_id: int, files: Sequence[MovingFile], read: ReadPiece, on_progress: Progress) -> None:
        """Begun anew each time. Failed when there is no room, or a copy is not what was read."""
        folder = self._state_folder / str(node_id)
        arriving = folder / ARRIVING
        remove_tree(arriving)
        total = sum(file.used_bytes for file in files)
        self._check_room(total)
        arriving.mkdir(mode=0o700, parents=True)
        progress = _Counted(on_progress, total)
        try:
            for number, file in enumerate(files):
                if not _NAME.fullmatch(file.name):
                    raise Failed(f"'{file.name}' is not the name of a disk")
                self._copy(arriving / str(number), file, read, progress)
            _put_in_place(folder, arriving, files)
        finally:
            remove_tree(arriving)

    def _copy(self, path: Path, file: MovingFile, read: ReadPiece, progress: _Counted) -> None:
        digests = dict[int, str]()
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            os.ftruncate(descriptor, file.size_bytes)
            offset = 0
            while offset != pieces.END:
                piece = read(file.name, offset)
                if piece.data:
                    if piece.offset >= file.size_bytes:
                        raise Failed(f"its host tells of a piece at {piece.offset}, after the end of {file.name}")
                    tasks.in_os_thread(pieces.write, descriptor, piece)
                    digests[piece.offset] = piece.digest
                progress.add(pieces.PIECE_BYTES if piece.data else 0)
                if piece.next != pieces.END and piece.next <= offset:
                    raise Failed(f"its host repeats the piece at {offset}")
                offset = piece.next
                if len(digests) % LOOK_PIECES == 0:
                    self._check_room(0)
            tasks.in_os_thread(os.fsync, descriptor)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)  # what is checked comes from the disk
            for at, digest in digests.items():
                tasks.in_os_thread(pieces.check, descriptor, at, digest)
            if os.fstat(descriptor).st_size != file.size_bytes:
                raise Failed(f"{file.name} became longer while it was copied")
        finally:
            os.close(descriptor)
        os.utime(path, ns=(file.modified_ns, file.modified_ns))

    def _check_room(self, wanted_bytes: int) -> None:
        free_bytes = shutil.disk_usage(self._state_folder).free
        if free_bytes - wanted_bytes < self._floor_bytes:
            raise Failed(
                f"its disks take {units.format_size(wanted_bytes)} here, but of this host's disk "
                f"{units.format_size(free_bytes)} are free, of which {units.format_size(self._floor_bytes)} stay free "
                "(WALT_DISK_FLOOR)"
            )


def _described(path: Path, name: str) -> MovingFile:
    status, info = path.stat(), path.with_suffix(".json")
    text = info.read_text() if info.exists() else ""
    return MovingFile(name, status.st_size, status.st_blocks * 512, status.st_mtime_ns, text)


def _put_in_place(folder: Path, arriving: Path, files: Sequence[MovingFile]) -> None:
    """A crash in between is made good: the copy begins anew, as its host still has all."""
    remove_tree(*(folder / name for name in FOLDERS))
    for number, file in enumerate(files):
        path = folder / file.name
        path.parent.mkdir(mode=0o700, exist_ok=True)
        (arriving / str(number)).rename(path)
        if file.info:
            write_atomically(path.with_suffix(".json"), file.info, mode=0o600)
        sync_folder(path.parent)
    sync_folder(folder)
