"""Who waits for a change of nodes is told when it is committed: nobody has to look again and again.

with watches.watch() as watch:
    with store.transaction() as registry:
        …read nodes…
        watch.on(ids)          within the transaction: no change between it and the wait is missed
    watch.wait(30.0)
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterable, Iterator

from services.kit import tasks


class NodeWatch:
    """Of one who waits. Made by NodeWatches."""

    def __init__(self, watches: NodeWatches) -> None:
        self._watches = watches
        self._ids: tuple[int, ...] = ()
        self._changed = tasks.Signal()

    def on(self, ids: Collection[int]) -> None:
        """From now on for changes of these nodes, and no others."""
        self.end()
        self._ids = tuple(ids)
        self._changed.clear()
        for node_id in self._ids:
            self._watches.by_node.setdefault(node_id, set()).add(self)

    def wait(self, timeout_s: float) -> None:
        """Until one of them has changed."""
        self._changed.wait(timeout_s)

    def wake(self) -> None:
        self._changed.set()

    def end(self) -> None:
        for node_id in self._ids:
            watching = self._watches.by_node[node_id]
            watching.remove(self)
            if not watching:
                del self._watches.by_node[node_id]
        self._ids = ()


class NodeWatches:
    """by_node: {node id: who waits for its changes}"""

    def __init__(self) -> None:
        self.by_node: dict[int, set[NodeWatch]] = {}

    @contextlib.contextmanager
    def watch(self) -> Iterator[NodeWatch]:
        watch = NodeWatch(self)
        try:
            yield watch
        finally:
            watch.end()

    def tell(self, ids: Iterable[int]) -> None:
        """These nodes have changed."""
        for watch in {watch for node_id in ids for watch in self.by_node.get(node_id, ())}:
            watch.wake()

    def tell_all(self) -> None:
        self.tell(list(self.by_node))
