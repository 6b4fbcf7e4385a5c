"""The disks of the nodes of this host: a sparse file each, STATE_DIR/vmrunner/NODE_ID/disks/ID.raw, with ID.json beside
it. One that holds data goes to the trash when no spec has it any more.

A disk is made under another name and renamed when it is complete. ID.json holds its length and its time of modification
when we last finished with it: a later time means that the node has written to it. On a disk that every boot empties
(hybrid-boot-v) nothing can be lost.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from services.kit import subprocesses
from services.kit.files import remove_tree, write_atomically
from services.vmrunner.disks import templates
from services.vmrunner.disks.trash import Trash, disk_name
from services.vmrunner.qemu import command_line
from walt.contracts import units
from walt.contracts.disks import HYBRID_VOLATILE, NO_TEMPLATE
from walt.contracts.errors import Failed
from walt.contracts.nodes import Disk, Owner
from walt.contracts.vmrunner import DiskData, TrashedDisk

TOOL_LIMIT_S = 300  # a large FAT32 on a slow disk


@dataclass(frozen=True)
class _DiskInfo:
    """The content of ID.json. size_bytes: of the file; owner, owner_account: whose the disk is, "" where a version
    before has made it."""

    size_bytes: int = 0
    modified_ns: int = 0
    template: str = ""
    owner: str = ""
    owner_account: str = ""


class DiskStore:
    """The runner of a node calls one method at a time; `data` may be called at any time."""

    def __init__(self, state_folder: Path, trash: Trash) -> None:
        self._state_folder = state_folder
        self._trash = trash

    def prepare(self, node_id: int, disks: Sequence[Disk], owner: Owner) -> list[Path]:
        """The files of these disks, in order: taken back from the trash or made if missing, lengthened if the disk has
        grown."""
        folder = self._made_folder(node_id, disks)
        for position, disk in enumerate(disks):
            try:
                self._prepare(folder, disk, owner)
            except (Failed, OSError) as error:
                size = units.format_disk(disk.size_bytes)
                raise Failed(
                    f"disk {command_line.disk_name(position)} ({size}, template {disk.template}): {error}"
                ) from None
        return [folder / f"{disk.id}.raw" for disk in disks]

    def keep_only(self, node_id: int, disks: Iterable[Disk], node: str) -> None:
        """Remove all others, and what a crash left behind; Failed when one stays. Not while a qemu has them open.
        node: its name."""
        kept = {disk.id for disk in disks}
        for data in self.data(node_id):
            if data.written and data.disk_id not in kept:
                self._discard(self._folder(node_id) / f"{data.disk_id}.raw", node)
        names = {f"{disk_id}.{ending}" for disk_id in kept for ending in ("raw", "json")}
        others = [path for path in self._files(node_id) if path.is_dir() or path.name not in names]
        if others:
            remove_tree(*others)

    def take_back(self, node_id: int, disks: Sequence[Disk], owner: Owner) -> None:
        """Those of these that are in the trash."""
        folder = self._made_folder(node_id, disks)
        for disk in disks:
            if not (folder / f"{disk.id}.raw").exists():
                self._take_back(folder / f"{disk.id}.raw", disk, owner)

    def is_volatile(self, path: Path) -> bool:
        """Whether the next boot empties the disk in this file."""
        return _read_info(path).template == HYBRID_VOLATILE

    def has_any(self, node_id: int) -> bool:
        return any(path.suffix == ".raw" for path in self._files(node_id))

    def data(self, node_id: int) -> list[DiskData]:
        found = []
        for path in self._files(node_id):
            if path.suffix == ".raw" and not path.name.startswith("."):
                with contextlib.suppress(FileNotFoundError):  # deleted meanwhile
                    status = path.stat()
                    info = _read_info(path)
                    written = status.st_mtime_ns != info.modified_ns and info.template != HYBRID_VOLATILE
                    found.append(DiskData(int(path.stem), status.st_blocks * 512, written))
        return sorted(found, key=lambda one: one.disk_id)

    def _prepare(self, folder: Path, disk: Disk, owner: Owner) -> None:
        path = folder / f"{disk.id}.raw"
        size_bytes = templates.file_bytes(disk.size_bytes)
        if not path.exists() and not self._take_back(path, disk, owner):
            _make(path, disk, size_bytes, owner)
            return
        present_bytes = path.stat().st_size
        if present_bytes > size_bytes:
            raise Failed(f"its file is longer ({present_bytes} bytes), and is never shortened")
        if _read_info(path).size_bytes < size_bytes:
            _lengthen(path, disk, size_bytes, owner)

    def _take_back(self, path: Path, disk: Disk, owner: Owner) -> bool:
        """False when it is not in the trash."""
        if not self._trash.take(disk_name(disk.id), path):
            return False
        _write_info(path, disk, path.stat(), owner, modified_ns=0)
        return True

    def _discard(self, path: Path, node: str) -> None:
        info, size_bytes = _read_info(path), path.stat().st_size
        number, whole_mb = int(path.stem), size_bytes // 10**6 * 10**6  # its file has a whole number of sectors
        self._trash.put(
            path,
            TrashedDisk(
                disk_name(number), node, info.owner, info.owner_account, number, info.template, size_bytes=whole_mb
            ),
        )

    def _made_folder(self, node_id: int, disks: Sequence[Disk]) -> Path:
        folder = self._folder(node_id)
        if disks:
            folder.mkdir(parents=True, exist_ok=True)
            folder.chmod(0o700)
        return folder

    def _folder(self, node_id: int) -> Path:
        return self._state_folder / str(node_id) / "disks"

    def _files(self, node_id: int) -> list[Path]:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            return list(self._folder(node_id).iterdir())
        return []


def _make(path: Path, disk: Disk, size_bytes: int, owner: Owner) -> None:
    draft = path.with_name(f".{path.name}")
    with contextlib.ExitStack() as undo:
        undo.callback(draft.unlink, missing_ok=True)
        draft.unlink(missing_ok=True)  # the tool of a vmrunner that was killed may still write to it
        descriptor = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        undo.callback(os.close, descriptor)
        os.ftruncate(descriptor, size_bytes)
        content = Path(undo.enter_context(tempfile.TemporaryDirectory(prefix=".content-", dir=path.parent)))
        _fill(content, disk.template)
        for command in templates.creation_commands(disk.template, str(draft), disk.size_bytes, str(content)):
            subprocesses.run(command.argv, stdin=command.stdin, timeout=TOOL_LIMIT_S)
        os.fsync(descriptor)
        _write_info(path, disk, os.stat(draft), owner)
        draft.rename(path)


def _fill(content: Path, template: str) -> None:
    content.chmod(0o755)  # it becomes the root of the file system
    for name in templates.skeleton(template):
        (content / name).mkdir() if name.endswith("/") else (content / name).touch()


def _lengthen(path: Path, disk: Disk, size_bytes: int, owner: Owner) -> None:
    """If the node has replaced our partition table, it is left alone."""
    info = _read_info(path)
    untouched = path.stat().st_mtime_ns == info.modified_ns
    with path.open("r+b") as file:
        file.truncate(size_bytes)
        file.seek(templates.SECTOR_BYTES)
        has_table = file.read(len(templates.GPT_SIGNATURE)) == templates.GPT_SIGNATURE
    if has_table and disk.template != NO_TEMPLATE:
        subprocesses.run(templates.growth_command(str(path)).argv, timeout=TOOL_LIMIT_S)
    status = path.stat()
    _write_info(path, disk, status, owner, status.st_mtime_ns if untouched else 0)


def _read_info(path: Path) -> _DiskInfo:
    """If unreadable, the node counts as having written to the disk, so that nothing is lost."""
    try:
        return _DiskInfo(**json.loads(path.with_suffix(".json").read_text()))
    except (OSError, ValueError, TypeError):
        return _DiskInfo()


def _write_info(path: Path, disk: Disk, status: os.stat_result, owner: Owner, modified_ns: int | None = None) -> None:
    modified_ns = status.st_mtime_ns if modified_ns is None else modified_ns
    info = _DiskInfo(status.st_size, modified_ns, disk.template, owner.name, owner.account)
    write_atomically(path.with_suffix(".json"), json.dumps(asdict(info)), mode=0o600)
