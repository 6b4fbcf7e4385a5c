"""Prometheus metrics of the VMs of this host, and of its memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from services.vmrunner import health
from services.vmrunner.lifecycle.boot_counts import OUTCOMES
from services.vmrunner.lifecycle.fleet import Fleet
from services.vmrunner.memory import admission
from services.vmrunner.memory.host_memory import MemoryLedger
from walt.contracts.vmrunner import STATES


class FleetCollector(Collector):
    """Reads the present values at each scrape."""

    def __init__(self, fleet: Fleet, memory: MemoryLedger) -> None:
        self._fleet = fleet
        self._memory = memory

    def collect(self) -> Iterator[Metric]:
        states = Counter(report.state for report in self._fleet.reports())
        vms = GaugeMetricFamily("walt_vms", "VMs of this host by state", labels=["state"])
        for state in STATES:
            vms.add_metric([state], states[state])
        yield vms
        yield from self._of_nodes()
        yield from self._of_host()

    def _of_nodes(self) -> Iterator[Metric]:
        boots = CounterMetricFamily("walt_vm_boots", "Boots of the node, by how they ended", labels=["node", "outcome"])
        for node, counts in self._fleet.boots():
            for outcome in OUTCOMES:
                boots.add_metric([node, outcome], counts.get(outcome, 0))
        cpu = CounterMetricFamily("walt_vm_cpu_seconds", "CPU time of the node's qemu", labels=["node"])
        memory = GaugeMetricFamily("walt_vm_memory_bytes", "Resident memory of the node's qemu", labels=["node"])
        for node, usage in self._fleet.usage():
            cpu.add_metric([node], usage.cpu_seconds)
            memory.add_metric([node], usage.memory_bytes)
        disks = GaugeMetricFamily(
            "walt_vm_disk_bytes", "Disk space of the server that the node's disks take", labels=["node"]
        )
        for node, used_bytes in self._fleet.disk_bytes():
            disks.add_metric([node], used_bytes)
        yield from (boots, cpu, memory, disks)

    def _of_host(self) -> Iterator[Metric]:
        memory, promised_bytes = self._memory.now(), self._memory.promised_bytes()
        yield GaugeMetricFamily("walt_host_memory_bytes", "Memory of the host", memory.total_bytes)
        yield GaugeMetricFamily(
            "walt_host_available_memory_bytes", "Memory of the host that is free or can be", memory.available_bytes
        )
        allowed_bytes = admission.allowed_bytes(memory)
        yield GaugeMetricFamily(
            "walt_host_promisable_memory_bytes", "Memory that may be promised to VMs", allowed_bytes
        )
        yield GaugeMetricFamily(
            "walt_host_promised_memory_bytes", "Memory that is promised to running VMs", promised_bytes
        )
        pages = health.read_number(health.KSM_SHARING)
        if pages is not None:
            yield GaugeMetricFamily("walt_host_ksm_saved_pages", "Pages of memory that KSM saves", pages)
            saved_bytes = pages * health.PAGE_BYTES
            yield GaugeMetricFamily("walt_host_ksm_saved_bytes", "Memory that KSM saves", saved_bytes)
