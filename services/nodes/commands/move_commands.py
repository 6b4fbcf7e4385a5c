"""What `walt host drain --move` does to the registry."""

from __future__ import annotations

from dataclasses import dataclass

from services.nodes.commands import node_commands
from services.nodes.commands.node_commands import Outcome
from services.nodes.commands.queries import hosts_in_use
from services.nodes.domain import moves
from services.nodes.domain.event_texts import Action
from services.nodes.domain.model import RequestContext
from services.nodes.domain.placement import HostPool
from services.nodes.storage.registry import Registry
from walt.contracts.hosts import HostEvacuation


@dataclass(frozen=True)
class Evacuated(Outcome):
    plan: HostEvacuation = HostEvacuation((), ())


def evacuate(registry: Registry, context: RequestContext, host: str, pool: HostPool, dry_run: bool) -> Evacuated:
    leaving = [node for node in registry.virtual_nodes(host) if node.is_present]
    plan = moves.evacuation(leaving, host, hosts_in_use(registry, pool).hosts)
    if dry_run:
        return Evacuated((), (), plan=plan)
    goals = {move.node: move.host for move in plan.moves}
    before = [node for node in leaving if node.name in goals]
    after = [moves.evacuated(node, goals[node.name], context) for node in before]
    done = node_commands.save(registry, Action("move", context, f"from host {host}"), before, after)
    return Evacuated(done.nodes, done.specs, plan=plan)
