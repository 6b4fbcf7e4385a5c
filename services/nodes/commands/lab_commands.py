"""What the commands of labs do to the registry, within one transaction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from services.nodes.commands.node_commands import Outcome, check_limits, check_traces, save
from services.nodes.commands.queries import pool_in_use
from services.nodes.domain import addresses, creation, data_loss, lab_plan, lab_traces, model, moves, notes
from services.nodes.domain.event_texts import Action
from services.nodes.domain.lab_plan import LabPlan, LabRequest
from services.nodes.domain.model import Node, RequestContext
from services.nodes.domain.placement import HostPool
from services.nodes.domain.settings_request import Capacities
from services.nodes.storage.registry import Registry
from walt.contracts import labs, units
from walt.contracts.errors import NotFound
from walt.contracts.lab_check import CheckedNode
from walt.contracts.labs import LabApplied, LabView
from walt.contracts.nodes import NodeWanted

KINDS = {labs.REMOVE: "remove", labs.CHANGE: "config", labs.CREATE: "create"}  # of the events, in this order


@dataclass(frozen=True)
class LabOutcome(Outcome):
    plan: LabPlan = LabPlan()
    lab: str = ""

    def answer(self) -> LabApplied:
        nodes = tuple(map(model.view, self.nodes))
        return LabApplied(self.lab, self.plan.actions, self.plan.faults, nodes, tuple(self.notes))


def apply(
    registry: Registry,
    context: RequestContext,
    request: LabRequest,
    pool: HostPool,
    capacities: Capacities,
    dry_run: bool,
) -> LabOutcome:
    """Nothing is changed by a dry run, nor where the plan has faults."""
    lab = request.document.name
    lab_plan.check_number(registry.labs.names(context.account), lab)
    present = registry.of_lab(context.account, lab, [one.name for one in request.nodes])
    plan = _plan(registry, context, request, present, pool)
    check_limits(registry, context, plan.before, plan.after)
    check_traces(registry, context, plan.after)
    moves.check_disks_stay(plan.before, plan.after)
    said = notes.of_creation([new for old, new in zip(plan.before, plan.after, strict=True) if not old.id], capacities)
    if dry_run or plan.faults:
        return LabOutcome((), (), said, plan, lab)
    data_loss.check(context, plan.before, plan.after)
    if registry.labs.document(context.account, lab) != request.document:
        registry.labs.put(context.account, request.document, context.at)
    changed, specs = _save(registry, context, lab, plan)
    nodes = sorted([*plan.kept, *(node for node in changed if node.is_present)], key=lambda node: node.name)
    return LabOutcome(nodes, specs, said, plan, lab)


def remove(registry: Registry, context: RequestContext, name: str) -> Outcome:
    """With its nodes."""
    _check_there(registry, context.account, name)
    nodes = registry.of_lab(context.account, name)
    registry.labs.remove(context.account, name)
    return save(registry, Action("remove", context, f"lab={name}"), nodes, [model.removed(node) for node in nodes])


def views(registry: Registry, account: str, owner: str, name: str | None) -> list[LabView]:
    """Of the labs of this account, or of one of them."""
    if name is not None:
        _check_there(registry, account, name)
    nodes = registry.names_by_lab(account)
    return [
        LabView(one, owner, at, document, tuple(nodes.get(one, ())))
        for one, (at, document) in registry.labs.of(account).items()
        if name in (None, one)
    ]


def _plan(
    registry: Registry, context: RequestContext, request: LabRequest, present: Sequence[Node], pool: HostPool
) -> LabPlan:
    ips = addresses.free_addresses(pool.subnet, registry.ips())
    networks = {use for one in request.nodes for use in one.config.networks}
    used = pool_in_use(registry, pool, context.account, networks)

    def new_node(wanted: CheckedNode, host: str) -> Node:
        lab = request.document.name
        return creation.new_node(wanted.name, wanted.image, wanted.config, next(ips), host, context, lab)

    known = [one.name for one in registry.traces.of(context.account)]
    unknown = lab_traces.faults(request.document, known)
    with_traces = replace(request, faults=(*request.faults, *unknown))
    return lab_plan.plan(with_traces, present, used.hosts, new_node, context)


def _save(registry: Registry, context: RequestContext, lab: str, plan: LabPlan) -> tuple[list[Node], list[NodeWanted]]:
    """The nodes that were changed, and their specs."""
    registry.reserve_addresses([node for node in plan.after if node.is_present])
    changed, specs = list[Node](), list[NodeWanted]()
    for kind, event in KINDS.items():
        steps = [
            (old, new)
            for action, old, new in zip(plan.actions, plan.before, plan.after, strict=True)
            if action.kind == kind
        ]
        if steps:
            before, after = zip(*steps, strict=True)
            outcome = save(registry, Action(event, context, f"lab={lab}"), before, after)
            changed += outcome.nodes
            specs += outcome.specs
    return changed, specs


def _check_there(registry: Registry, account: str, name: str) -> None:
    names = registry.labs.names(account)
    if name not in names:
        raise NotFound(f"no lab '{name}'{units.nearest(name, names)}; yours: walt lab show")
