"""Prometheus metrics of the registry."""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Callable, Iterator

from prometheus_client import REGISTRY, Counter
from prometheus_client.core import GaugeMetricFamily, InfoMetricFamily, Metric

from services.contracts.vmrunner import STATES
from services.nodes.model import Node

TRANSACTIONS = Counter("walt_registry_transactions_total", "Transactions of the registry", ["outcome"])


class NodesCollector:
    """Counts the nodes when Prometheus asks, so that the figures are never older than the registry."""

    def __init__(self, present_nodes: Callable[[], list[Node]]) -> None:
        self._present_nodes = present_nodes
        REGISTRY.register(self)

    def collect(self) -> Iterator[Metric]:
        nodes = self._present_nodes()
        yield from _each(nodes)
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


def _each(nodes: list[Node]) -> Iterator[Metric]:
    """One series of each node for each state, 0 or 1; and what else to know of it, as labels."""
    states = GaugeMetricFamily("walt_node_state", "1 for the state that the node is in", labels=["node", "state"])
    infos = InfoMetricFamily("walt_node", "Owner (none: free), image and host of the node", labels=["node"])
    for node in nodes:
        for state in STATES:
            states.add_metric([node.name, state], int(state == node.status.state))
        infos.add_metric([node.name], {"owner": node.owner, "image": node.image, "host": node.host})
    yield from (states, infos)
