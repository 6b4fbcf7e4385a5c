"""Repairs what lost events left behind: reports not received, specs not applied, removed nodes not forgotten."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from services.nodes.domain import drift, event_texts, moves
from services.nodes.domain.model import Node
from services.nodes.storage.registry import Registry, RegistryStore
from walt.contracts import nodes
from walt.contracts.nodes import NodeRemoved, NodeWanted
from walt.contracts.vmrunner import VmReport


def reconcile(
    store: RegistryStore,
    announce: Callable[[str, Any], object],
    load_nodes: Callable[[Registry], Sequence[Node]],
    list_reports: Callable[[], list[VmReport] | None],
) -> None:
    """load_nodes, list_reports: the nodes of one agent, and what it reports; None while it does not answer."""
    # Read before the agent is asked: a node that is removed meanwhile must not look as if its agent had let it go.
    with store.transaction() as registry:
        known = {node.id: node for node in load_nodes(registry)}
    reports = list_reports()
    if reports is None:
        return
    changed = list[NodeWanted]()
    with store.transaction() as registry:
        for report in reports:
            if report.node_id in known and _is_new(known[report.node_id], report):
                changed += apply_report(registry, report, time.time())
    announce_all(announce, changed)
    found = drift.compare(list(known.values()), reports)
    with store.transaction() as registry:
        specs = registry.specs(node for node in map(registry.get, found.not_applied) if node)
    announce_all(announce, specs)
    for node_id in found.gone:
        forget(store, announce, node_id)


def announce_all(announce: Callable[[str, Any], object], specs: Iterable[NodeWanted]) -> None:
    for spec in specs:
        announce(nodes.NODE_WANTED, spec)


def apply_report(registry: Registry, report: VmReport, now: float) -> Sequence[NodeWanted]:
    """The spec, when the node goes on with a move. now: epoch seconds."""
    node = registry.get(report.node_id)
    new = moves.after_report(node, report, now) if node else node
    if node is None or new is None or new is node:
        return ()
    if new.version == node.version:
        registry.save_status(new)
    else:
        new = registry.save(new)
    registry.events.add(event_texts.transition(node, new, now))
    return registry.specs([new]) if new.version != node.version else ()


def _is_new(node: Node, report: VmReport) -> bool:
    return moves.after_report(node, report, 0.0) is not node


def forget(store: RegistryStore, announce: Callable[[str, Any], object], node_id: int, host: str = "") -> None:
    """Its agent has nothing left of a node wanted absent. The row is deleted last, so that this is repeated after a
    crash. host: of the agent; what another one had of it does not count. "" where there is only one."""
    with store.transaction() as registry:
        node, identity, revision = registry.get(node_id), registry.identity, registry.history.revision
    if node is None or node.is_present or host not in ("", node.host):
        return
    announce(nodes.NODE_REMOVED, NodeRemoved(node.id, node.name, node.host, identity, revision))
    with store.transaction() as registry:
        registry.delete(node_id)
