"""Prometheus metrics of the nodes; `storage.database` counts its transactions."""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Callable, Iterator, Mapping

from prometheus_client import REGISTRY
from prometheus_client.core import GaugeMetricFamily, InfoMetricFamily, Metric

from services.nodes.domain.model import NodeSummary
from walt.contracts.vmrunner import STATES


class NodesCollector:
    """Counts the nodes at each scrape, so that the figures are never older than the registry. hosts: {name: whether it
    answers}."""

    def __init__(self, present_nodes: Callable[[], list[NodeSummary]], hosts: Callable[[], Mapping[str, bool]]) -> None:
        self._present_nodes = present_nodes
        self._hosts = hosts
        REGISTRY.register(self)

    def collect(self) -> Iterator[Metric]:
        nodes = self._present_nodes()
        yield from _per_node(nodes)
        by_state = Tally(node.state for node in nodes)
        states = GaugeMetricFamily("walt_nodes", "Nodes by state", labels=["state"])
        for state in STATES:
            states.add_metric([state], by_state[state])
        yield states
        free = sum(node.is_free for node in nodes)
        yield GaugeMetricFamily("walt_nodes_free", "Nodes without an owner", value=free)
        yield GaugeMetricFamily("walt_nodes_owned", "Nodes with an owner", value=len(nodes) - free)

        up = GaugeMetricFamily(
            "walt_host_up", "1 for a host that answers, 0 for one that has fallen silent", labels=["host"]
        )
        for host, answers in self._hosts().items():
            up.add_metric([host], int(answers))
        yield up

    def close(self) -> None:
        REGISTRY.unregister(self)


def _per_node(nodes: list[NodeSummary]) -> Iterator[Metric]:
    """For each node, one series with its state, and an info metric with its other labels: of 10,000 nodes, a series for
    each state that it is not in would be half a second of the processor at each scrape."""
    states = GaugeMetricFamily(
        "walt_node_state", "1 for the state that the node is in; other states have no series", labels=["node", "state"]
    )
    infos = InfoMetricFamily("walt_node", "Owner (none: free), image, host and lab of the node", labels=["node"])
    for node in nodes:
        states.add_metric([node.name, node.state], 1)
        infos.add_metric([node.name], {"owner": node.owner, "image": node.image, "host": node.host, "lab": node.lab})
    yield from (states, infos)
