"""Nodes whose removal was announced. An id is never used again, so a spec of one that comes afterwards is a late or
doubled message, and what it says holds no longer: its name and its address may be another node's by now."""

from __future__ import annotations

from collections.abc import Iterable

KEPT = 10_000  # ids, far more than messages are under way


class RemovedNodes:
    def __init__(self) -> None:
        self._ids: dict[int, None] = {}  # in order

    def add(self, node_id: int) -> None:
        self._ids[node_id] = None
        while len(self._ids) > KEPT:
            del self._ids[next(iter(self._ids))]

    def __contains__(self, node_id: int) -> bool:
        return node_id in self._ids

    def are_back(self, node_ids: Iterable[int]) -> None:
        """`nodes` has them, and not as nodes that are to go: its registry was restored from a backup."""
        for node_id in node_ids:
            self._ids.pop(node_id, None)
