"""Repair of what events did not bring: reports that were lost, wishes that were not heard, nodes that are gone."""

from __future__ import annotations

import time
from collections.abc import Callable

from services.contracts import nodes
from services.contracts.nodes import NodeRemoved
from services.contracts.vmrunner import VmReport
from services.kit.peers import Announce
from services.nodes import commands, hosts, reconcile
from services.nodes.model import Node, wanted
from services.nodes.store import Store


def catch_up(store: Store, announce: Announce, host: str) -> None:
    """Virtual nodes by the vmrunner of their host, physical ones by bootserver."""
    _catch_up(store, announce, lambda node: node.is_virtual and node.host == host, lambda: hosts.list_vms(host))
    _catch_up(store, announce, lambda node: not node.is_virtual, hosts.list_machines)


def _catch_up(
    store: Store,
    announce: Announce,
    concerns: Callable[[Node], bool],
    list_reports: Callable[[], list[VmReport] | None],
) -> None:
    # Read before the agent is asked: a node removed meanwhile is not mistaken for one that it let go.
    with store.transaction() as registry:
        known = [node for node in registry.nodes() if concerns(node)]
    reports = list_reports()
    if reports is None:
        return
    with store.transaction() as registry:
        for report in reports:
            commands.take_report(registry, report, time.time())
    gap = reconcile.compare(known, reports)
    with store.transaction() as registry:
        unheard = [node for node in map(registry.get, gap.unheard) if node]
    for node in unheard:
        announce(nodes.NODE_WANTED, wanted(node))
    for node_id in gap.gone:
        forget(store, announce, node_id)


def forget(store: Store, announce: Announce, node_id: int) -> None:
    """Its agent has nothing left of a node wanted absent. The row goes last, so that a crash here is made good."""
    with store.transaction() as registry:
        node = registry.get(node_id)
    if node is None or node.is_present:
        return
    announce(nodes.NODE_REMOVED, NodeRemoved(node.id, node.name, node.host))
    with store.transaction() as registry:
        registry.delete(node_id)
