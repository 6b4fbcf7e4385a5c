"""Metrics of bootserver."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from prometheus_client import Histogram
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

BOOT_SECONDS = Histogram(
    "walt_boot_seconds",
    "Seconds from a boot's publication to the greeting of the node's ssh server",
    buckets=(2, 4, 6, 8, 10, 12, 15, 20, 30, 45, 60, 90, 120, 180, 300),
)


class BootCollector(Collector):
    """Everything is measured at each scrape. names: of the present nodes; last_boots: seconds; both by node id, so
    that a renamed node keeps its value and a removed one leaves none. persist_fault, dns_fault, ntp_fault: ''
    when there is none."""

    def __init__(
        self,
        names: Callable[[], Mapping[int, str]],
        last_boots: Callable[[], Mapping[int, float]],
        persist_fault: Callable[[], str],
        dns_fault: Callable[[], str],
        ntp_fault: Callable[[], str],
        count_images: Callable[[], int],
    ) -> None:
        self._names = names
        self._last_boots = last_boots
        self._persist_fault = persist_fault
        self._dns_fault = dns_fault
        self._ntp_fault = ntp_fault
        self._count_images = count_images

    def collect(self) -> Iterable[Metric]:
        yield GaugeMetricFamily(
            "walt_machine_disks_up",
            "1 when the disks of physical machines are served",
            int(not self._persist_fault()),
        )
        yield GaugeMetricFamily("walt_dns_up", "1 when the name server of walt-net answers", int(not self._dns_fault()))
        yield GaugeMetricFamily("walt_ntp_up", "1 when the time server of walt-net answers", int(not self._ntp_fault()))
        yield GaugeMetricFamily("walt_images", "OS images in the store", self._count_images())
        last = GaugeMetricFamily("walt_node_boot_seconds", "Seconds that the node's last boot took", labels=["node"])
        seconds, names = self._last_boots(), self._names()
        for node_id in seconds.keys() & names.keys():
            last.add_metric([names[node_id]], seconds[node_id])
        yield last

    def describe(self) -> Iterable[Metric]:
        return []  # else registering would collect
