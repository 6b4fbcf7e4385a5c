"""The host's memory: what there is, and the book of what was promised to machines."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

from services.contracts.vmrunner import Capacity
from services.vmrunner import admission
from services.vmrunner.admission import Enter, HostMemory, Tenant, Verdict
from services.vmrunner.vm import Vm

MEMINFO = Path("/proc/meminfo")


def meminfo_bytes(field: str) -> int:
    """'MemAvailable' -> what the kernel says of it now."""
    line = next(line for line in MEMINFO.read_text().splitlines() if line.startswith(f"{field}:"))
    return int(line.split()[1]) * 1024


class Memory:
    """Machines that start at once are let in one after the other, each promise counted before the next is asked for."""

    def __init__(self, host: str, factor: float, measure: Callable[[str], int] = meminfo_bytes) -> None:
        self._host = host
        self._factor = factor
        self._measure = measure
        self._turn = threading.Lock()
        self._promised: dict[int, int] = {}  # node id: ram_bytes
        self._vms: dict[int, Vm] = {}

    def ask(self, node_id: int, ram_bytes: int) -> Verdict:
        """Enter is a promise, until it is given back."""
        with self._turn:
            self._free(node_id)
            verdict = admission.admit(self.now(), self._tenants(), ram_bytes)
            if isinstance(verdict, Enter):
                self._promised[node_id] = ram_bytes
            return verdict

    def promise(self, node_id: int, ram_bytes: int) -> None:
        """To a machine that was let in before, and may run."""
        with self._turn:
            self._promised[node_id] = ram_bytes

    def occupy(self, node_id: int, ram_bytes: int, vm: Vm) -> None:
        """The machine runs, whoever has started it."""
        with self._turn:
            self._promised[node_id] = ram_bytes
            self._vms[node_id] = vm

    def give_back(self, node_id: int) -> None:
        with self._turn:
            self._free(node_id)

    def promised_bytes(self) -> int:
        return sum(self._promised.values())

    def now(self) -> HostMemory:
        return HostMemory(self._host, self._measure("MemTotal"), self._measure("MemAvailable"), self._factor)

    def capacity(self) -> Capacity:
        return Capacity(os.cpu_count() or 1, self._measure("MemTotal"), self._factor)

    def _free(self, node_id: int) -> None:
        self._promised.pop(node_id, None)
        self._vms.pop(node_id, None)

    def _tenants(self) -> list[Tenant]:
        return [Tenant(ram_bytes, self._resident_bytes(node_id)) for node_id, ram_bytes in self._promised.items()]

    def _resident_bytes(self, node_id: int) -> int:
        vm = self._vms.get(node_id)
        usage = vm.usage() if vm is not None else None
        return usage.memory_bytes if usage is not None else 0
