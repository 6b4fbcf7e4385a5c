"""Keeps a floor of free space on the host's disk: below it the trash is emptied, and then VMs that write are paused
until there is room again."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

from services.vmrunner.disks import floor
from services.vmrunner.disks.floor import RELIEF, Space
from services.vmrunner.disks.trash import Trash
from services.vmrunner.lifecycle.fleet import Fleet

LOOK_S = 1.0  # a VM writes 1 or 2 GB in it, which is below the usual floor

log = logging.getLogger(__name__)


class SpaceGuard:
    """folder: on the file system of the disks."""

    def __init__(self, fleet: Fleet, trash: Trash, folder: Path, floor_bytes: int) -> None:
        self._fleet = fleet
        self._trash = trash
        self._folder = folder
        self._floor_bytes = floor_bytes
        self._space = Space()

    def look(self) -> None:
        before, free_bytes = self._space, self._free_bytes()
        if before.is_low or free_bytes < self._floor_bytes:
            while free_bytes < self._floor_bytes * RELIEF and self._trash.make_room():
                free_bytes = self._free_bytes()
        taken = self._fleet.disk_bytes_by_id() if before.is_low or free_bytes < self._floor_bytes else {}
        self._space = after = floor.watch(before, free_bytes, self._floor_bytes, taken)
        for node_id in after.paused - before.paused:
            log.warning("node %d is paused: %d bytes are free in %s", node_id, free_bytes, self._folder)
            self._fleet.pause(node_id)
        if before.is_low and not after.is_low:
            self._fleet.resume_all()

    def _free_bytes(self) -> int:
        return shutil.disk_usage(self._folder).free
