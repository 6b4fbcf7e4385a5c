"""What a schedule does to the registry, within one transaction."""

from __future__ import annotations

from dataclasses import dataclass

from services.nodes.commands.node_commands import Outcome, save
from services.nodes.commands.queries import select_nodes
from services.nodes.domain import ownership, physical, schedules, selection
from services.nodes.domain.event_texts import Action
from services.nodes.domain.model import RequestContext
from services.nodes.domain.schedules import ScheduleRequest
from services.nodes.storage.registry import Registry
from walt.contracts.names import MY_NODES
from walt.contracts.schedules import ScheduleStarted


@dataclass(frozen=True)
class ScheduleOutcome(Outcome):
    started: ScheduleStarted = ScheduleStarted(0, ())

    def answer(self) -> ScheduleStarted:
        return self.started


def start(registry: Registry, context: RequestContext, request: ScheduleRequest, start_us: int) -> ScheduleOutcome:
    """All these links follow their schedules from this moment on."""
    selected = []
    for port, _ in request.ports:
        nodes = select_nodes(registry, port.nodes, context.account)
        selection.check_not_empty(port.nodes, nodes)
        ownership.check_owned(nodes, context.account)
        physical.check_links(nodes)
        selected.append(nodes)
    done = schedules.scheduled(request, selected, start_us)
    new = {name: schedules.view(name, *pair, context.at) for name, pair in done.contents.items()}
    for name, (_, content) in done.contents.items():
        registry.traces.remove(context.account, name)  # of the same words and moment
        registry.traces.put(context.account, new[name], content)
    action = Action("schedule", context, f"from {schedules.start_text(start_us)}: {request.text}")
    outcome = save(registry, action, done.before, done.after)
    mine = select_nodes(registry, MY_NODES, context.account)
    for name in schedules.unused(registry.traces.of(context.account), mine):
        registry.traces.remove(context.account, name)
    schedules.check_room(registry.traces.of(context.account))
    started = ScheduleStarted(start_us, done.links, tuple(new.values()))
    return ScheduleOutcome(outcome.nodes, outcome.specs, outcome.notes, started)
