"""A user waits for nodes: the answer comes with the next change of one of them, or after WAIT_S."""

from __future__ import annotations

import contextlib
import hashlib
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence

from services.kit.bus.shares import WATCHING, WATCHING_OF_ONE_USER
from services.nodes.commands import queries
from services.nodes.domain import hosts, model
from services.nodes.storage.node_watch import NodeWatch
from services.nodes.storage.registry import RegistryStore
from walt.contracts.nodes import WAIT_S, NodesSeen, NodeView


class NodeWaits:
    """unreachable_since: {host: epoch seconds} of those that do not answer."""

    def __init__(self, store: RegistryStore, unreachable_since: Callable[[], Mapping[str, float]]) -> None:
        self._store = store
        self._unreachable_since = unreachable_since
        self._unreachable: set[str] = set()
        self._waiting = Counter[str]()
        self._process = uuid.uuid4().hex  # what was seen of the process before, a user is to see again

    def wait(self, user: str, selection: str, seen: str) -> NodesSeen:
        end = time.monotonic() + WAIT_S
        with self._place(user) as may_wait, self._store.watches.watch() as watch:
            while True:
                views = self.views(user, selection, watch)
                found = NodesSeen(tuple(views), self._token(views))
                left_s = end - time.monotonic()
                if found.seen != seen or not may_wait or left_s <= 0:
                    return found
                watch.wait(left_s)

    def views(self, user: str, selection: str, watch: NodeWatch | None = None) -> list[NodeView]:
        """watch: of these nodes from now on."""
        with self._store.transaction() as registry:
            nodes = queries.select_nodes(registry, selection, registry.accounts.of(user).id)
            if watch:
                watch.on([node.id for node in nodes])
        unreachable = self._unreachable_since()
        views = map(model.view, nodes)
        return [hosts.seen_from_here(view, unreachable) for view in views] if unreachable else list(views)

    def look_at_hosts(self) -> None:
        """To be called now and then: a host that does not answer any more changes its nodes, in no transaction."""
        unreachable = set(self._unreachable_since())
        if unreachable != self._unreachable:
            self._unreachable = unreachable
            self._store.watches.tell_all()

    def _token(self, views: Sequence[NodeView]) -> str:
        """The same while there is nothing to tell."""
        texts = [repr((one.name, one.owner, one.state, one.cause, one.reason)) for one in views]
        return hashlib.sha256("\n".join([self._process, *texts]).encode()).hexdigest()

    @contextlib.contextmanager
    def _place(self, user: str) -> Iterator[bool]:
        """False: too many wait; who asks gets what there is, and asks again later."""
        may_wait = self._waiting[user] < WATCHING_OF_ONE_USER and self._waiting.total() < WATCHING
        if not may_wait:
            yield False
            return
        self._waiting[user] += 1
        try:
            yield True
        finally:
            self._waiting -= Counter([user])
