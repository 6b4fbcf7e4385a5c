"""Disks that nobody's spec has any more and that hold data, for a grace period: STATE_DIR/vmrunner/trash/ID.raw, with
ID.json beside it.

Age is counted while vmrunner runs and survives its restarts, so that no step of a clock shortens the period. A crash
between the two files loses nothing: the disk is still where it was, and a description without a disk is dropped.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import threading
import time
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from services.kit.files import remove_tree, write_atomically
from walt.contracts import serialization
from walt.contracts.errors import InvalidRequest, NotFound
from walt.contracts.vmrunner import TrashedDisk

AGE_EVERY_S = 600.0

log = logging.getLogger(__name__)


class Trash:
    """folder: on the file system of the disks. Runners may call it at the same time, each with disks of its own node.
    grace_s: 0 deletes at once."""

    def __init__(self, folder: Path, grace_s: float) -> None:
        self._folder = folder
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._grace_s = grace_s
        self._aged_at = time.monotonic()
        self._lock = threading.Lock()  # held while the two files of a disk change

    def put(self, path: Path, disk: TrashedDisk) -> None:
        """Move the file of a disk here. Where that takes space that is not there, it is deleted instead."""
        if not self._grace_s:
            remove_tree(path)
            return
        while not self._store(path, disk):
            if not self.make_room():
                log.warning("%s of %s is deleted: the disk of this host is full", disk.id, disk.node)
                remove_tree(path)
                return
        log.info("%s of node %s (owner %s) is in the trash", disk.id, disk.node, disk.owner or "nobody")

    def disks(self) -> list[TrashedDisk]:
        """The oldest first."""
        found = [disk for path in sorted(self._folder.glob("*.json")) if (disk := self._read(path)) is not None]
        return sorted(found, key=lambda disk: (disk.left_s, disk.at))

    def claim(self, disk_id: str, node_id: int, account: str) -> None:
        """Keep it for this node, and for this owner of it, until `take`. node_id 0: for nobody. NotFound."""
        with self._lock:
            disk = self._read(self._description(disk_id))
            if disk is None:
                raise NotFound(f"'{disk_id}' is not in the trash of this host")
            self._write(replace(disk, for_node=node_id, for_account=account, left_s=self._whole_period_s()))

    def take(self, disk_id: str, path: Path) -> bool:
        """Move it back to `path`; False when it is not here."""
        with self._lock:
            try:
                self._file(disk_id).rename(path)
            except FileNotFoundError:
                return False
            self._description(disk_id).unlink(missing_ok=True)
        log.info("%s is taken back from the trash", disk_id)
        return True

    def persist_for(self, node_id: int, account: str) -> TrashedDisk | None:
        """The /persist that is kept for this node and owner."""
        claim = (node_id, account, 0)
        return next((one for one in self.disks() if (one.for_node, one.for_account, one.number) == claim), None)

    def remove(self, ids: Iterable[str]) -> None:
        """Those that are here; those that are not are ignored."""
        with self._lock:
            for disk_id in ids:
                self._delete(disk_id)

    def grow_older(self) -> None:
        """Delete what has been here for the grace period. Called now and then."""
        with self._lock:
            now = time.monotonic()
            passed_s, self._aged_at = now - self._aged_at, now
            for disk in self.disks():
                if disk.for_node:
                    continue
                if disk.left_s > passed_s:
                    self._write(replace(disk, left_s=disk.left_s - passed_s))
                    continue
                self._delete(disk.id)
                log.info("%s of node %s has been in the trash for its time, and is deleted", disk.id, disk.node)
            for path in self._folder.glob("*.json"):
                if self._read(path) is None:
                    path.unlink()

    def claimants(self) -> set[int]:
        """The ids of the nodes for which disks are kept."""
        return {disk.for_node for disk in self.disks() if disk.for_node}

    def end_claims(self, node_ids: Collection[int]) -> None:
        """Of nodes that were removed before their next boot: what was kept for them has its time again."""
        with self._lock:
            for disk in self.disks():
                if disk.for_node in node_ids:
                    self._write(replace(disk, for_node=0, for_account="", left_s=self._whole_period_s()))

    def make_room(self) -> bool:
        """Delete one disk before its time, as the host is short of space; False when there is none to delete."""
        with self._lock:
            victim = first_to_go(self.disks())
            if victim is not None:
                self._delete(victim.id)
                log.warning("%s of node %s is deleted from the trash: space is needed", victim.id, victim.node)
        return victim is not None

    def _store(self, path: Path, disk: TrashedDisk) -> bool:
        """False when there is no space for its description."""
        used_bytes = path.stat().st_blocks * 512
        try:
            with self._lock:
                self._write(replace(disk, at=time.time(), left_s=self._whole_period_s(), used_bytes=used_bytes))
                path.rename(self._file(disk.id))
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            return False
        return True

    def _whole_period_s(self) -> float:
        """The next turn of `grow_older` takes off what has passed before."""
        return self._grace_s + time.monotonic() - self._aged_at

    def _delete(self, disk_id: str) -> None:
        remove_tree(self._file(disk_id))
        self._description(disk_id).unlink(missing_ok=True)

    def _read(self, path: Path) -> TrashedDisk | None:
        """None when it is not there, or describes nothing."""
        try:
            disk = serialization.load(TrashedDisk, json.loads(path.read_text()))
        except (FileNotFoundError, ValueError, InvalidRequest):
            return None
        return disk if self._file(disk.id).exists() else None

    def _write(self, disk: TrashedDisk) -> None:
        write_atomically(self._description(disk.id), json.dumps(serialization.dump(disk)), mode=0o600)

    def _file(self, disk_id: str) -> Path:
        return self._folder / f"{Path(disk_id).name}.raw"

    def _description(self, disk_id: str) -> Path:
        return self._folder / f"{Path(disk_id).name}.json"


def disk_name(number: int) -> str:
    return f"disk-{number}"


def persist_name() -> str:
    """A new one: the /persist of one node and owner may come here more than once."""
    return f"persist-{os.urandom(4).hex()}"


def first_to_go(disks: Sequence[TrashedDisk]) -> TrashedDisk | None:
    """The oldest of the owner who has most here; none that is to be restored."""
    used = Counter[str]()
    loose = [disk for disk in disks if not disk.for_node]
    for disk in loose:
        used[disk.owner_account] += disk.used_bytes
    return min(loose, key=lambda disk: (-used[disk.owner_account], disk.left_s, disk.at), default=None)
