"""What Prometheus learns of bootserver."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping
from itertools import accumulate

from prometheus_client.core import GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

BUCKETS_S = (2, 5, 10, 15, 20, 30, 45, 60, 90, 120, 180, 300)


class BootTimes:
    """How long the boots of each node took, since this process started. By node id, so that a node that is renamed takes
    its figures along, and one that is removed leaves none."""

    def __init__(self) -> None:
        self._seconds: dict[int, float] = {}
        self._counts: dict[int, list[int]] = {}

    def observe(self, node_id: int, seconds: float) -> None:
        counts = self._counts.setdefault(node_id, [0] * (len(BUCKETS_S) + 1))
        counts[bisect_left(BUCKETS_S, seconds)] += 1
        self._seconds[node_id] = self._seconds.get(node_id, 0.0) + seconds

    def forget(self, node_id: int) -> None:
        self._counts.pop(node_id, None)
        self._seconds.pop(node_id, None)

    def of(self, node_id: int) -> tuple[list[tuple[str, float]], float] | None:
        """(boots within each limit, seconds in all); None when it has not booted."""
        if node_id not in self._counts:
            return None
        limits = [*(f"{limit:.1f}" for limit in BUCKETS_S), "+Inf"]
        within = map(float, accumulate(self._counts[node_id]))
        return list(zip(limits, within, strict=True)), self._seconds[node_id]


class BootCollector(Collector):
    """All is asked at each scrape. names: of the nodes there are, by id; the faults: '' when there is none."""

    def __init__(
        self,
        times: BootTimes,
        names: Callable[[], Mapping[int, str]],
        nfs_fault: Callable[[], str],
        dns_fault: Callable[[], str],
        count_images: Callable[[], int],
    ) -> None:
        self._times = times
        self._names = names
        self._nfs_fault = nfs_fault
        self._dns_fault = dns_fault
        self._count_images = count_images

    def collect(self) -> Iterable[Metric]:
        yield GaugeMetricFamily("walt_nfs_up", "1 when the NFS server answers", int(not self._nfs_fault()))
        yield GaugeMetricFamily("walt_dns_up", "1 when the name server of walt-net answers", int(not self._dns_fault()))
        yield GaugeMetricFamily("walt_images", "OS images in the store", self._count_images())
        yield self._boot_seconds()

    def describe(self) -> Iterable[Metric]:
        return []  # so that registering asks nobody

    def _boot_seconds(self) -> Metric:
        family = HistogramMetricFamily(
            "walt_boot_seconds",
            "Seconds from a boot's publication to the greeting of the node's ssh server",
            labels=["node"],
        )
        for node_id, name in self._names().items():
            seen = self._times.of(node_id)
            if seen is not None:
                family.add_metric([name], *seen)
        return family
