"""Make lines and sessions follow the specs of `nodes`: as its events come, and now and then as a whole."""

from __future__ import annotations

from collections.abc import Callable

from services.console.line.lines import ConsoleLines
from services.console.session.sessions import Sessions
from services.kit.registry_guard import RegistryGuard
from walt.contracts.errors import Conflict
from walt.contracts.nodes import NodeRemoved, NodeTarget, NodeWanted, Specs


class Reconciler:
    """get_specs: asks `nodes` for all specs of this host."""

    def __init__(
        self,
        lines: ConsoleLines,
        sessions: Sessions,
        registry: RegistryGuard,
        get_specs: Callable[[], Specs],
    ) -> None:
        self._lines = lines
        self._sessions = sessions
        self._registry = registry
        self._get_specs = get_specs
        self._newest: dict[int, NodeWanted] = {}  # the newest spec that was announced of each node

    def apply(self, spec: NodeWanted) -> None:
        """End the sessions that were authorized under a former owner, and hide what the line has shown to them."""
        if self._registry.allows(f"the spec of {spec.name}", spec.registry, spec.revision):
            self._apply(spec)

    def _apply(self, spec: NodeWanted) -> None:
        if spec.id in self._newest and spec.version < self._newest[spec.id].version:
            return  # events may arrive late
        self._newest[spec.id] = spec
        self._lines.change_owner(spec.id, spec.owned_by)
        self._sessions.change_owner(spec)

    def remove(self, removed: NodeRemoved) -> None:
        if self._registry.allows(f"the removal of {removed.name}", removed.registry, removed.revision):
            self._remove(removed.id, f"{removed.name} is removed")

    def check_owner(self, target: NodeTarget) -> None:
        """Conflict if `target`, which was authorized just now, is older than a change of owner that was announced."""
        newest = self._newest.get(target.id)
        if newest is not None and newest.version > target.version and not newest.owned_by.is_same(target.owned_by):
            raise Conflict(f"{target.name} has changed hands just now; try again")

    def reconcile(self) -> None:
        """Apply all specs, and remove the lines of nodes whose removal was missed.

        What was announced before we asked gives way to the answer, even to lower versions in it: the registry may have
        been restored from a backup.
        """
        known, before = self._lines.ids(), dict(self._newest)
        answer = self._get_specs()
        self._registry.check(answer.registry, answer.revision)
        specs = {spec.id: spec for spec in answer.nodes}
        for node_id in known - set(specs):
            self._remove(node_id, "the node is removed")
        for spec in specs.values():
            if self._newest.get(spec.id) is before.get(spec.id):
                self._newest.pop(spec.id, None)
            self._apply(spec)

    def _remove(self, node_id: int, reason: str) -> None:
        self._newest.pop(node_id, None)
        self._sessions.stop_node(node_id, reason)
        self._lines.remove(node_id)
