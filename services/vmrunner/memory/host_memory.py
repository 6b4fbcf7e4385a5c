"""The host's memory: how much there is, and what is promised to VMs."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

from services.vmrunner.memory import admission
from services.vmrunner.memory.admission import Admit, HostMemory, Promise, Verdict
from services.vmrunner.qemu.vm import Vm
from walt.contracts.vmrunner import Capacity

MEMINFO = Path("/proc/meminfo")


def meminfo_bytes(field: str) -> int:
    """'MemAvailable' -> how much the kernel reports now."""
    line = next(line for line in MEMINFO.read_text().splitlines() if line.startswith(f"{field}:"))
    return int(line.split()[1]) * 1024


class MemoryLedger:
    """VMs that start at once are admitted one after the other, each promise counted before the next request."""

    def __init__(self, host: str, factor: float, measure: Callable[[str], int] = meminfo_bytes) -> None:
        self._host = host
        self._factor = factor
        self._measure = measure
        self._turn = threading.Lock()
        self._promised: dict[int, int] = {}  # node id: ram_bytes
        self._vms: dict[int, Vm] = {}

    def request(self, node_id: int, ram_bytes: int) -> Verdict:
        """Admit is a promise, until `give_back`."""
        resident_bytes = self._measure_vms()  # before its turn comes, since it may take long
        with self._turn:
            self._remove(node_id)
            promises = [Promise(promised, resident_bytes.get(one, 0)) for one, promised in self._promised.items()]
            verdict = admission.admit(self.now(), promises, ram_bytes)
            if isinstance(verdict, Admit):
                self._promised[node_id] = ram_bytes
            return verdict

    def promise(self, node_id: int, ram_bytes: int) -> None:
        """To a VM that was admitted by a former vmrunner, and may run."""
        with self._turn:
            self._promised[node_id] = ram_bytes

    def occupy(self, node_id: int, ram_bytes: int, vm: Vm) -> None:
        """The VM runs, whoever has started it."""
        with self._turn:
            self._promised[node_id] = ram_bytes
            self._vms[node_id] = vm

    def give_back(self, node_id: int) -> None:
        with self._turn:
            self._remove(node_id)

    def promised_bytes(self) -> int:
        return sum(self._promised.values())

    def now(self) -> HostMemory:
        return HostMemory(self._host, self._measure("MemTotal"), self._measure("MemAvailable"), self._factor)

    def capacity(self) -> Capacity:
        return Capacity(os.cpu_count() or 1, self._measure("MemTotal"), self._factor)

    def _remove(self, node_id: int) -> None:
        self._promised.pop(node_id, None)
        self._vms.pop(node_id, None)

    def _measure_vms(self) -> dict[int, int]:
        """{node id: bytes} of those that run. That a VM has grown since makes the admission of another stricter."""
        measured = {node_id: vm.usage() for node_id, vm in list(self._vms.items())}
        return {node_id: usage.memory_bytes for node_id, usage in measured.items() if usage is not None}
