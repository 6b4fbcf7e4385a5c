"""The disks in the trash of the hosts, by asking their vmrunner."""

from __future__ import annotations

from collections.abc import Sequence

from services.kit.bus.bus import Bus
from walt.contracts import serialization, vmrunner
from walt.contracts.errors import NotFound
from walt.contracts.vmrunner import TrashedDisk

ANSWER_S = 10.0
EMPTY_S = 300.0  # a large file takes a while


class HostTrash:
    def __init__(self, bus: Bus, host: str) -> None:
        self._bus = bus
        self._service = vmrunner.service_on(host)

    def disks(self) -> list[TrashedDisk]:
        found = self._bus.call(self._service, "list_trash", timeout_s=ANSWER_S)
        return serialization.load_all(TrashedDisk, found)

    def find(self, disk_ids: Sequence[str]) -> list[TrashedDisk]:
        """NotFound names those that are not there."""
        present = {disk.id: disk for disk in self.disks()}
        missing = [f"'{one}' is not in the trash (walt trash show)" for one in disk_ids if one not in present]
        if missing:
            raise NotFound(*missing)
        return [present[one] for one in disk_ids]

    def claim(self, disk: TrashedDisk, node_id: int, account: str) -> None:
        self._bus.call(self._service, "claim_trash", disk=disk.id, node_id=node_id, account=account)

    def remove(self, disks: Sequence[TrashedDisk]) -> None:
        self._bus.call(self._service, "empty_trash", timeout_s=EMPTY_S, disks=[disk.id for disk in disks])
