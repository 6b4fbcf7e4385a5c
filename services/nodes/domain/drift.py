"""Pure: what one host really runs, compared with what is wanted of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from services.nodes.domain.model import Node
from walt.contracts.vmrunner import VmReport


@dataclass(frozen=True)
class Drift:
    """Node ids. not_applied: the host does not act on their spec yet; gone: wanted absent, and the host has nothing of
    them."""

    not_applied: list[int]
    gone: list[int]


def compare(nodes: Sequence[Node], reports: Iterable[VmReport]) -> Drift:
    boots = {report.node_id: report.boot for report in reports}
    behind = [node.id for node in nodes if node.is_present and boots.get(node.id, 0) < node.boot]
    absent = [node.id for node in nodes if not node.is_present]
    return Drift(
        not_applied=behind + [node_id for node_id in absent if node_id in boots],
        gone=[node_id for node_id in absent if node_id not in boots],
    )
