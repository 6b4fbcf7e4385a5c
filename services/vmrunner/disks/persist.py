"""/persist of the nodes of this host: an ext4 file system in a sparse file for each node and account,
STATE_DIR/vmrunner/NODE_ID/persist/OWNER~ACCOUNT.raw. One that holds files goes to the trash with its node.

The file of a former owner stays for him until the node is removed. What guests have written is read by tools that run
as an unprivileged user, with limits.
"""

from __future__ import annotations

import contextlib
import logging
import os
import struct
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from services.kit import persist_disk, subprocesses
from services.kit.files import remove_tree
from services.vmrunner.disks.trash import Trash, persist_name
from services.vmrunner.qemu import command_line
from walt.contracts import names
from walt.contracts.errors import Failed
from walt.contracts.nodes import Owner
from walt.contracts.vmrunner import TrashedDisk

CHECK_LIMIT_S = 300
LOOK_BYTES = 64 * 2**20  # a file system that takes more of the server than this holds something
LOOK_LIMIT_S = 4
MEMORY_LIMIT = f"--as={2**31}"  # of a tool that reads a guest's file system

_SUPERBLOCK, _SUPERBLOCK_BYTES = 1024, 1024
_MAGIC = 0xEF53
_INODES_OF_EMPTY = 11  # ten that ext4 reserves, and lost+found
_REPAIRED = (0, 1)  # e2fsck: no errors; errors, all of which it has corrected

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class GrownDisk:
    """path: its file; fault: why its file system was not made larger, "" when it has the size."""

    path: Path
    fault: str = ""


class PersistDiskStore:
    """trial_uid: of a user without rights, for a look at a file system."""

    def __init__(self, state_folder: Path, trial_uid: int, trash: Trash) -> None:
        self._state_folder = state_folder
        self._trial_uid = trial_uid
        self._trash = trash

    def exists(self, node_id: int, owner: Owner) -> bool:
        return self._path(node_id, owner).exists()

    def make(self, node_id: int, owner: Owner, size_bytes: int, content: Path | None = None) -> None:
        """content: a folder that becomes its first content, as it is; then the disk may be larger than asked."""
        persist_disk.make(self._path(node_id, owner), size_bytes, content)

    def grow(self, node_id: int, owner: Owner, size_bytes: int, uid: int) -> GrownDisk:
        """To at least this size; while no qemu has it open. uid: of the user who is to run its VM.

        A file system that cannot be grown stays as it is: its node boots, and its owner can look after it."""
        path, size_bytes, fault = self._path(node_id, owner), persist_disk.whole_mib(size_bytes), ""
        with path.open("r+b") as file:
            if os.fstat(file.fileno()).st_size < size_bytes:
                os.ftruncate(file.fileno(), size_bytes)
            if _file_system_bytes(file.fileno()) < size_bytes:
                try:
                    _run_as(uid, ["e2fsck", "-fp"], file.fileno(), success=_REPAIRED)
                    _run_as(uid, ["resize2fs"], file.fileno())
                except Failed as error:
                    fault = str(error)
        return GrownDisk(path, fault)

    def take_back(self, node_id: int, owner: Owner, node: str) -> None:
        """A disk in the trash that is kept for this node and owner takes the place of the present one, which goes to
        the trash if it holds files. While no qemu has it open."""
        path = self._path(node_id, owner)
        kept = self._trash.persist_for(node_id, owner.account)
        if kept is None:
            return
        if path.exists():
            self._discard(path, node)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.parent.chmod(0o700)
        self._trash.take(kept.id, path)

    def discard(self, node_id: int, node: str) -> None:
        """Of a node that is gone: those that hold files go to the trash, the others are deleted. node: its name."""
        for path in self._paths(node_id):
            self._discard(path, node)

    def _discard(self, path: Path, node: str) -> None:
        size_bytes = path.stat().st_size
        if path.stat().st_blocks * 512 <= LOOK_BYTES and not self._holds_files(path):
            path.unlink()
            return
        owner, _, account = path.stem.partition("~")
        self._trash.put(path, TrashedDisk(persist_name(), node, owner, account, size_bytes=size_bytes))

    def bytes_used(self, node_id: int) -> dict[str, int]:
        """{owner: bytes on the server} of the owners, present or former, who have files there; of two accounts that had
        one name, together. A file system that cannot be read counts as one with files."""
        used = Counter[str]()
        for path in self._paths(node_id):
            with contextlib.suppress(FileNotFoundError):  # the node is being removed
                size_bytes = path.stat().st_blocks * 512
                if size_bytes > LOOK_BYTES or self._holds_files(path):
                    used[path.name.partition("~")[0]] += size_bytes
        return dict(used)

    def disk_bytes(self, node_id: int) -> int:
        """How much of the server's disk space they take."""
        total = 0
        for path in self._paths(node_id):
            with contextlib.suppress(FileNotFoundError):
                total += path.stat().st_blocks * 512
        return total

    def _holds_files(self, path: Path) -> bool:
        """Looks at a copy in which the journal is played back: a running node may have the newest in there alone."""
        copy = path.with_name(f".look-{os.urandom(8).hex()}")
        try:
            with persist_disk.new_file(copy) as descriptor:
                subprocesses.run(["cp", "--sparse=always", "--", str(path), str(copy)], timeout=LOOK_LIMIT_S)
                _run_as(self._trial_uid, ["e2fsck", "-fp"], descriptor, success=_REPAIRED, limit_s=LOOK_LIMIT_S)
                return _inodes_used(descriptor) > _INODES_OF_EMPTY
        except Failed as error:
            log.info("%s counts as one that holds files: %s", path, error)
            return True
        finally:
            copy.unlink(missing_ok=True)

    def remove_drafts(self, node_id: int) -> None:
        """What a crash left behind."""
        left = list(self._folder(node_id).glob(".*"))
        if left:
            remove_tree(*left)

    def _path(self, node_id: int, owner: Owner) -> Path:
        if not owner.account.isalnum():  # nodes gives them; it becomes part of a path
            raise Failed(f"'{owner.account}' is not the id of an account; allowed: letters and digits")
        return self._folder(node_id) / f"{names.check_user_name(owner.name)}~{owner.account}.raw"

    def _folder(self, node_id: int) -> Path:
        return self._state_folder / str(node_id) / "persist"

    def _paths(self, node_id: int) -> list[Path]:
        return sorted(self._folder(node_id).glob("[!.]*.raw"))


def _run_as(
    uid: int, argv: Sequence[str], file: int, success: Sequence[int] = (0,), limit_s: float = CHECK_LIMIT_S
) -> None:
    """Run a tool on a file that is its user's for that time: what a guest has written can mislead it."""
    limited = ["prlimit", MEMORY_LIMIT, "--core=0", "--", *argv, f"/proc/self/fd/{file}"]
    os.fchown(file, uid, uid)
    try:
        subprocesses.run(
            command_line.as_user(uid, limited, detached=False),
            timeout=limit_s,
            success=success,
            name=argv[0],
            pass_fds=(file,),
        )
    finally:
        os.fchown(file, os.getuid(), os.getgid())


def _superblock(file: int) -> bytes:
    found = os.pread(file, _SUPERBLOCK_BYTES, _SUPERBLOCK)
    is_one = len(found) == _SUPERBLOCK_BYTES and struct.unpack_from("<H", found, 0x38) == (_MAGIC,)
    return found if is_one else b""


def _file_system_bytes(file: int) -> int:
    """0 where there is no ext4."""
    found = _superblock(file)
    if not found:
        return 0
    (low,), (log_size,), (high,) = (struct.unpack_from("<I", found, at) for at in (0x04, 0x18, 0x150))
    return int(((high << 32) + low) << (10 + min(log_size, 6)))


def _inodes_used(file: int) -> int:
    found = _superblock(file)
    if not found:
        raise Failed("no ext4 file system")
    total, free = (struct.unpack_from("<I", found, at)[0] for at in (0x00, 0x10))
    return int(total - free)
