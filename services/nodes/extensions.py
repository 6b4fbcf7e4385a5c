"""nameko extensions of this service: the registry as a dependency, and an entry point that fires at start."""

from __future__ import annotations

from typing import Any

from nameko.extensions import DependencyProvider, Entrypoint

from services.kit.environment import environment, variable
from services.nodes.database import sqlite_url
from services.nodes.journal import EVENTS_KEPT, events_kept
from services.nodes.metrics import NodesCollector
from services.nodes.model import Node
from services.nodes.ownership import Watchers, parse_watchers
from services.nodes.store import Store


class StoreProvider(DependencyProvider):  # type: ignore[misc]
    """`self.store`: the registry, opened and migrated before the first call; its nodes counted in /metrics."""

    def setup(self) -> None:
        url = variable("WALT_DATABASE_URL", "") or sqlite_url(environment().state_dir / "nodes")
        self._store = Store(url, events_kept(variable("WALT_EVENTS_KEPT", str(EVENTS_KEPT))))
        self._collector = NodesCollector(self._present_nodes)

    def stop(self) -> None:
        self._collector.close()
        self._store.close()

    def get_dependency(self, worker_ctx: Any) -> Store:
        return self._store

    def _present_nodes(self) -> list[Node]:
        with self._store.transaction() as registry:
            return [node for node in registry.nodes() if node.is_present]


class WatchersProvider(DependencyProvider):  # type: ignore[misc]
    """`self.watchers`: who may watch the consoles of others' nodes."""

    def setup(self) -> None:
        try:
            self._watchers = parse_watchers(variable("WALT_WATCH_CONSOLES", Watchers.OWNER.value))
        except ValueError as allowed:
            raise SystemExit(str(allowed)) from None

    def get_dependency(self, worker_ctx: Any) -> Watchers:
        return self._watchers


class AtStart(Entrypoint):  # type: ignore[misc]
    """Runs its method once, when the service starts."""

    def start(self) -> None:
        self.container.spawn_managed_thread(lambda: self.container.spawn_worker(self, (), {}))


at_start = AtStart.decorator
