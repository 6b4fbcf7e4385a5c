"""The disks in the trash of the hosts, by asking their vmrunner."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from services.kit import tasks
from services.kit.bus.bus import Bus
from walt.contracts import serialization, vmrunner
from walt.contracts.errors import NotFound
from walt.contracts.vmrunner import TrashedDisk

ANSWER_S = 10.0
EMPTY_S = 300.0  # a large file takes a while


class HostTrash:
    """hosts: the names of those that answer."""

    def __init__(self, bus: Bus, hosts: Callable[[], Sequence[str]]) -> None:
        self._bus = bus
        self._hosts = hosts

    def disks(self) -> list[TrashedDisk]:
        return [disk for disks in tasks.map_concurrently(self._disks_on, self._hosts()) for disk in disks]

    def find(self, disk_ids: Sequence[str]) -> list[TrashedDisk]:
        """NotFound names those that are not there."""
        present = {disk.id: disk for disk in self.disks()}
        missing = [f"'{one}' is not in the trash (walt trash show)" for one in disk_ids if one not in present]
        if missing:
            raise NotFound(*missing)
        return [present[one] for one in disk_ids]

    def claim(self, disk: TrashedDisk, node_id: int, account: str) -> None:
        self._bus.call(vmrunner.service_on(disk.host), "claim_trash", disk=disk.id, node_id=node_id, account=account)

    def remove(self, disks: Sequence[TrashedDisk]) -> None:
        for host in dict.fromkeys(disk.host for disk in disks):
            ids = [disk.id for disk in disks if disk.host == host]
            self._bus.call(vmrunner.service_on(host), "empty_trash", timeout_s=EMPTY_S, disks=ids)

    def _disks_on(self, host: str) -> list[TrashedDisk]:
        found = self._bus.call(vmrunner.service_on(host), "list_trash", timeout_s=ANSWER_S)
        return [replace(disk, host=host) for disk in serialization.load_all(TrashedDisk, found)]
