"""Prometheus metrics of the machines of this host."""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Callable, Iterable, Iterator

from prometheus_client import Counter, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from services.contracts.vmrunner import BOOTED, BOOTING, FAILED, STATES, VmReport
from services.vmrunner.lifecycle import Machine
from services.vmrunner.processes import Usage

BOOTS = Counter("walt_vm_boots_total", "Boots by how they went", ["outcome"])
BOOT_SECONDS = Histogram(
    "walt_vm_boot_seconds",
    "From qemu's start until ssh answers",
    buckets=(1, 2, 4, 6, 8, 10, 12, 15, 20, 30, 45, 60, 120, 300),
)


def count(old: Machine, new: Machine) -> None:
    """A boot ends booted, timed out or ended (before it was booted); a power-on that the host refused is failed."""
    if new.state == BOOTED:
        BOOTS.labels("booted").inc()
        BOOT_SECONDS.observe(max(0.0, new.since - new.powered_at))
    elif new.state == FAILED:
        BOOTS.labels("failed" if new.due else "timed_out").inc()
    elif old.state == BOOTING:
        BOOTS.labels("timed_out" if new.retries > old.retries else "ended").inc()


class FleetCollector(Collector):
    """Read from the world at each scrape."""

    def __init__(
        self, reports: Callable[[], Iterable[VmReport]], usage: Callable[[], Iterable[tuple[str, Usage]]]
    ) -> None:
        self._reports = reports
        self._usage = usage

    def collect(self) -> Iterator[GaugeMetricFamily | CounterMetricFamily]:
        states = Tally(report.state for report in self._reports())
        vms = GaugeMetricFamily("walt_vms", "Machines of this host by state", labels=["state"])
        for state in STATES:
            vms.add_metric([state], states[state])
        cpu = CounterMetricFamily("walt_vm_cpu_seconds", "CPU time of the node's qemu", labels=["node"])
        memory = GaugeMetricFamily("walt_vm_memory_bytes", "Resident memory of the node's qemu", labels=["node"])
        for node, usage in self._usage():
            cpu.add_metric([node], usage.cpu_seconds)
            memory.add_metric([node], usage.memory_bytes)
        yield from (vms, cpu, memory)
