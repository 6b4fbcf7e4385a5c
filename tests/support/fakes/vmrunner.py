"""`vmrunner@HOST` as nodes knows it: reports of VMs, data on disks, and the events it received."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from tests.support.fakes.fake_service import FakeService, serves
from walt.contracts import nodes, serialization, vmrunner
from walt.contracts.checks import Check
from walt.contracts.errors import NotFound
from walt.contracts.nodes import NodeRemoved, NodeWanted
from walt.contracts.vmrunner import Capacity, DiskData, TrashedDisk, VmReport


class FakeVmrunner(FakeService):
    """vms: what list_vms reports; written: {disk id: bytes}, every other disk is as it was made; inspected: names of
    the nodes whose disks were looked into; trash: by id; specs, removed: as they came by events."""

    def __init__(self, host: str = "lab") -> None:
        super().__init__()
        self.name = vmrunner.service_on(host)
        self.vms: list[VmReport] = []
        self.written: dict[int, int] = {}
        self.persisted: dict[tuple[int, str], int] = {}
        self.inspected: list[str] = []
        self.trash: dict[str, TrashedDisk] = {}
        self.specs: list[NodeWanted] = []
        self.removed: list[str] = []
        self._known: dict[int, NodeWanted] = {}

    @serves
    def list_vms(self) -> Any:
        return serialization.dump_all(self.vms)

    @serves
    def list_data(self, node_id: int) -> Any:
        spec = self._known.get(node_id)
        if spec is None:
            return []
        self.inspected.append(spec.name)
        data = [DiskData(disk.id, self.written.get(disk.id, 4096), disk.id in self.written) for disk in spec.disks]
        return serialization.dump_all(data)

    @serves
    def persist_bytes(self, node_id: int) -> dict[str, int]:
        return {owner: size for (node, owner), size in self.persisted.items() if node == node_id}

    @serves
    def list_trash(self) -> Any:
        return serialization.dump_all(self.trash.values())

    @serves
    def claim_trash(self, disk: str, node_id: int, account: str) -> None:
        if disk not in self.trash:
            raise NotFound(f"'{disk}' is not in the trash of this host")
        self.trash[disk] = replace(self.trash[disk], for_node=node_id, for_account=account)

    @serves
    def empty_trash(self, disks: list[str]) -> None:
        for disk in disks:
            self.trash.pop(disk, None)

    @serves
    def capacity(self) -> Any:
        return serialization.dump(Capacity(cpu_cores=8, ram_bytes=16 * 2**30, memory_factor=1.5))

    @serves
    def diagnose(self) -> Any:
        return serialization.dump_all([Check("KVM", "ok", "boots a kernel")])

    def hears(self) -> list[tuple[str, str, Callable[[Any], None]]]:
        return [
            (nodes.SERVICE, nodes.NODE_WANTED, self._on_spec),
            (nodes.SERVICE, nodes.NODE_REMOVED, self._on_removed),
        ]

    def _on_spec(self, payload: Any) -> None:
        spec = serialization.load(NodeWanted, payload)
        self.specs.append(spec)
        self._known[spec.id] = spec

    def _on_removed(self, payload: Any) -> None:
        self.removed.append(serialization.load(NodeRemoved, payload).name)
