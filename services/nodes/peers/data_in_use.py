"""Inspects the volumes that a command would destroy, by asking vmrunner and bootserver."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Sequence

from services.kit import tasks
from services.kit.bus.bus import Bus
from services.nodes.domain.model import Volume
from walt.contracts import bootserver, serialization, units, vmrunner
from walt.contracts.errors import NeedsForce, WaltError
from walt.contracts.vmrunner import DiskData

ANSWER_S = 5.0
CALLS_AT_ONCE = 20  # as many as a service works on at once; more would wait and time out


class VolumeInspector:
    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    def check_empty(self, volumes: Sequence[Volume]) -> None:
        """NeedsForce, with a sentence for each volume that holds data or could not be inspected."""
        by_node = [list(group) for _, group in itertools.groupby(volumes, lambda volume: volume.node_id)]
        found = tasks.map_concurrently(self._faults_of_node, by_node, CALLS_AT_ONCE)
        if faults := list(itertools.chain.from_iterable(found)):
            raise NeedsForce(*faults)

    def _faults_of_node(self, volumes: Sequence[Volume]) -> list[str]:
        disks = [volume for volume in volumes if volume.disk_id]
        persistent = [volume for volume in volumes if not volume.disk_id]
        return [*self._faults_of_disks(disks), *itertools.chain.from_iterable(map(self._faults_of_persist, persistent))]

    def _faults_of_disks(self, disks: Sequence[Volume]) -> list[str]:
        if not disks:
            return []
        node = disks[0]
        try:
            answer = self._bus.call(
                vmrunner.service_on(node.host), "list_data", timeout_s=ANSWER_S, node_id=node.node_id
            )
        except WaltError as error:
            return [_not_inspected(disk, error) for disk in disks]
        used = {data.disk_id: data.used_bytes for data in serialization.load_all(DiskData, answer) if data.written}
        return [_holds_data(disk, used[disk.disk_id]) for disk in disks if disk.disk_id in used]

    def _faults_of_persist(self, volume: Volume) -> Iterator[str]:
        """On a disk of its host, in a folder of bootserver, or both: as long as a former owner has not booted again."""
        services = [*([vmrunner.service_on(volume.host)] if volume.is_virtual else []), bootserver.SERVICE]
        used = Counter[str]()
        try:
            for service in services:
                used.update(self._bus.call(service, "persist_bytes", timeout_s=ANSWER_S, node_id=volume.node_id))
        except WaltError as error:
            yield _not_inspected(volume, error)
            return
        for owner, used_bytes in used.items():
            yield _holds_data(volume, used_bytes, f" of {owner}")


def _holds_data(volume: Volume, used_bytes: int, whose: str = "") -> str:
    size = units.format_size(used_bytes)
    return f"node '{volume.node}': {volume.label} holds data{whose} ({size}); --force destroys it"


def _not_inspected(volume: Volume, error: WaltError) -> str:
    return (
        f"node '{volume.node}': it is not known whether {volume.label} holds data ({error}); "
        "--force continues, and destroys it"
    )
