"""Pure: what one host really runs, compared with what is wanted of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from services.contracts.vmrunner import VmReport
from services.nodes.model import Node


@dataclass(frozen=True)
class Gap:
    """Node ids. unheard: their wish has not reached the host; gone: wanted absent, and the host has none left."""

    unheard: list[int]
    gone: list[int]


def compare(nodes: Sequence[Node], reports: Iterable[VmReport]) -> Gap:
    boots = {report.node_id: report.boot for report in reports}
    unbooted = [node.id for node in nodes if node.is_present and boots.get(node.id, 0) < node.boot]
    absent = [node.id for node in nodes if not node.is_present]
    return Gap(
        unheard=unbooted + [node_id for node_id in absent if node_id in boots],
        gone=[node_id for node_id in absent if node_id not in boots],
    )
