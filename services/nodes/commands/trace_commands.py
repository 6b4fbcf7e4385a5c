"""The commands of traces and schedules: what they do to the registry, within one transaction."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from services.kit.bus.repetitions import CallId
from services.nodes.commands import schedule_commands
from services.nodes.commands.node_commands import Outcome
from services.nodes.commands.queries import select_nodes
from services.nodes.commands.schedule_commands import ScheduleOutcome
from services.nodes.domain import schedules, traces
from services.nodes.domain.model import RequestContext
from services.nodes.storage.registry import Registry, RegistryStore
from walt.contracts.errors import NotFound
from walt.contracts.names import MY_NODES
from walt.contracts.schedules import PortSchedule, ScheduleStarted
from walt.contracts.traces import Trace, TraceContent, TraceView

Execute = Callable[..., Any]  # of `NodesApp`: (call, command, *arguments)


@dataclass(frozen=True)
class TraceOutcome(Outcome):
    view: TraceView | None = None

    def answer(self) -> TraceView | None:
        return self.view


def add(registry: Registry, context: RequestContext, name: str, trace: Trace, content: TraceContent) -> TraceOutcome:
    new = traces.view(name, trace, content.loops, context.at)
    traces.check_room(registry.traces.of(context.account), new)
    registry.traces.put(context.account, new, content)
    return TraceOutcome((), (), view=new)


def remove(registry: Registry, context: RequestContext, name: str) -> Outcome:
    traces.check_present([one.name for one in registry.traces.of(context.account)], name)
    traces.check_unused(name, traces.uses(select_nodes(registry, MY_NODES, context.account)).get(name, ()))
    registry.traces.remove(context.account, name)
    return Outcome((), ())


class TraceCommands:
    """What users and agents ask about traces."""

    def __init__(self, store: RegistryStore, execute: Execute) -> None:
        self._store = store
        self._execute = execute

    def add(self, call: CallId, name: str, content: TraceContent) -> TraceView:
        view: TraceView = self._execute(call, add, name, traces.parse(name, content), content).answer()
        return view

    def schedule(self, call: CallId, ports: Sequence[PortSchedule], after_s: float) -> ScheduleStarted:
        request, start_us = schedules.parse(ports), round((time.time() + after_s) * 1e6)
        outcome: ScheduleOutcome = self._execute(call, schedule_commands.start, request, start_us)
        return outcome.answer()

    def views(self, user: str, name: str | None) -> list[TraceView]:
        """Of the traces of this user, or of one of them."""
        with self._store.transaction() as registry:
            account = registry.accounts.of(user).id
            found = registry.traces.of(account)
            if name is not None:
                traces.check_present([one.name for one in found], name)
            uses = traces.uses(select_nodes(registry, MY_NODES, account))
        return [replace(one, used_by=uses.get(one.name, ())) for one in found if name in (None, one.name)]

    def content(self, trace_id: int, host: str) -> TraceContent:
        """For agents. host: of which it must be a link that follows it; "": of any."""
        with self._store.transaction() as registry:
            is_known = not host or trace_id in traces.followed(registry.specs(registry.nodes_of_host(host)))
            found = registry.traces.content(trace_id) if is_known else None
        if found is None:
            raise NotFound(f"no trace with the id {trace_id}")
        return found
