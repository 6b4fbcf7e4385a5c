"""Prometheus metrics of the registry."""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Callable, Iterator

from prometheus_client import REGISTRY, Counter
from prometheus_client.core import GaugeMetricFamily

from services.contracts.vmrunner import STATES
from services.nodes.model import Node

TRANSACTIONS = Counter("walt_registry_transactions_total", "Transactions of the registry", ["outcome"])


class NodesCollector:
    """Counts the nodes when Prometheus asks, so that the figures are never older than the registry."""

    def __init__(self, present_nodes: Callable[[], list[Node]]) -> None:
        self._present_nodes = present_nodes
        REGISTRY.register(self)

    def collect(self) -> Iterator[GaugeMetricFamily]:
        nodes = self._present_nodes()
        by_state = Tally(node.status.state for node in nodes)
        states = GaugeMetricFamily("walt_nodes", "Nodes by state", labels=["state"])
        for state in STATES:
            states.add_metric([state], by_state[state])
        yield states
        free = sum(node.is_free for node in nodes)
        yield GaugeMetricFamily("walt_nodes_free", "Nodes without an owner", value=free)
        yield GaugeMetricFamily("walt_nodes_owned", "Nodes with an owner", value=len(nodes) - free)

    def close(self) -> None:
        REGISTRY.unregister(self)
