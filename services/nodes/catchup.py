"""Repair of what events did not bring: reports that were lost, wishes that were not heard, nodes that are gone."""

from __future__ import annotations

import time

from services.contracts import nodes
from services.contracts.nodes import NodeRemoved
from services.kit.peers import Announce
from services.nodes import commands, hosts, reconcile
from services.nodes.model import wanted
from services.nodes.store import Store


def catch_up(store: Store, announce: Announce, host: str) -> None:
    # Read before the host is asked: a node removed meanwhile is not mistaken for one that its host let go.
    with store.transaction() as registry:
        known = [node for node in registry.nodes() if node.host == host]
    reports = hosts.list_vms(host)
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
    """The host has nothing left of a node wanted absent. The row goes last, so that a crash here is made good."""
    with store.transaction() as registry:
        node = registry.get(node_id)
    if node is None or node.is_present:
        return
    announce(nodes.NODE_REMOVED, NodeRemoved(node.id, node.name, node.host))
    with store.transaction() as registry:
        registry.delete(node_id)
