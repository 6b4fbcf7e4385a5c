"""What the commands of traces do to the registry, within one transaction."""

from __future__ import annotations

from dataclasses import replace

from services.nodes.commands.node_commands import Outcome
from services.nodes.commands.queries import select_nodes
from services.nodes.domain import traces
from services.nodes.domain.model import RequestContext
from services.nodes.storage.registry import Registry
from walt.contracts.errors import NotFound
from walt.contracts.names import MY_NODES
from walt.contracts.traces import Trace, TraceContent, TraceView


def add(registry: Registry, context: RequestContext, name: str, trace: Trace, content: TraceContent) -> Outcome:
    new = traces.view(name, trace, content.loops, context.at)
    traces.check_room(registry.traces.of(context.account), new)
    registry.traces.put(context.account, new, content)
    return Outcome((), ())


def remove(registry: Registry, context: RequestContext, name: str) -> Outcome:
    traces.check_present([one.name for one in registry.traces.of(context.account)], name)
    traces.check_unused(name, traces.uses(select_nodes(registry, MY_NODES, context.account)).get(name, ()))
    registry.traces.remove(context.account, name)
    return Outcome((), ())


def views(registry: Registry, account: str, name: str | None) -> list[TraceView]:
    """Of the traces of this account, or of one of them."""
    found = registry.traces.of(account)
    if name is not None:
        traces.check_present([one.name for one in found], name)
    uses = traces.uses(select_nodes(registry, MY_NODES, account))
    return [replace(one, used_by=uses.get(one.name, ())) for one in found if name in (None, one.name)]


def content(registry: Registry, trace_id: int) -> TraceContent:
    """For agents."""
    found = registry.traces.content(trace_id)
    if found is None:
        raise NotFound(f"no trace with the id {trace_id}")
    return found
