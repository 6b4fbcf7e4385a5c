"""Keeps a floor of free space on the host's disk: VMs that write below it are paused until there is room again."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

from services.vmrunner.disks import floor
from services.vmrunner.disks.floor import Space
from services.vmrunner.lifecycle.fleet import Fleet

LOOK_S = 1.0  # a VM writes 1 or 2 GB in it, which is below the usual floor

log = logging.getLogger(__name__)


class SpaceGuard:
    """folder: on the file system of the disks."""

    def __init__(self, fleet: Fleet, folder: Path, floor_bytes: int) -> None:
        self._fleet = fleet
        self._folder = folder
        self._floor_bytes = floor_bytes
        self._space = Space()

    def look(self) -> None:
        free_bytes, before = shutil.disk_usage(self._folder).free, self._space
        taken = self._fleet.disk_bytes_by_id() if before.is_low or free_bytes < self._floor_bytes else {}
        self._space = after = floor.watch(before, free_bytes, self._floor_bytes, taken)
        for node_id in after.paused - before.paused:
            log.warning("node %d is paused: %d bytes are free in %s", node_id, free_bytes, self._folder)
            self._fleet.pause(node_id)
        if before.is_low and not after.is_low:
            self._fleet.resume_all()
