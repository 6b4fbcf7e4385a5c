"""Pure: a node that moves to another host, with its disks.

    it runs ─► it is stopped ─► the other host has it, and fetches its disks ─► it boots there
    moves_to   is_leaving       moves_from, move

Its VM has ended at the first host, which has said so, before the other one is told of the node; and that one starts
nothing before the registry knows that all disks have come. Until then the first host keeps them, and the node can go
back at any time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from services.nodes.domain import hosts, model, placement
from services.nodes.domain.model import Node, RequestContext
from services.nodes.domain.placement import HostPool, HostState, Unplaced
from walt.contracts import nodes, units
from walt.contracts.errors import Conflict
from walt.contracts.hosts import HostEvacuation, NodeMove, StuckNode
from walt.contracts.vmrunner import CAUSE_MOVING, DELAYING, STOPPED, VmReport


def to_host(node: Node, host: str, at: float) -> Node:
    """As soon as it is off, or at its next boot. A host where its disks still are takes it back."""
    if host == node.disks_host:
        return _back(node, at) if node.moves_from else _stays(node)
    if node.moves_from:
        if host == node.host:
            return node
        raise Conflict(
            f"{node.name} is moving from host {node.moves_from} to {node.host}; allowed: {node.moves_from}, where it "
            "goes back to, or another one once its disks have come"
        )
    if node.status.state == STOPPED:  # its guest may have powered it off, which stays so
        node = model.changed(node, power=nodes.POWER_OFF)
    return settled(model.changed(node, moves_to=host, is_leaving=node.is_leaving or node.power == nodes.POWER_OFF), at)


def settled(node: Node, at: float) -> Node:
    """It goes once its host has said that its VM has ended, after the boot or end that was requested last."""
    if not (node.is_leaving and node.status.state == STOPPED and node.status.boot >= node.boot):
        return node
    return model.changed(
        node,
        host=node.moves_to,
        moves_from=node.host,
        moves_to="",
        is_leaving=False,
        move=node.version + 1,
        boot=node.boot + 1,
        status=replace(
            node.status,
            state=DELAYING if node.power == nodes.POWER_ON else STOPPED,
            since=at,
            reason=f"its disks move from host {node.host} to host {node.moves_to}",
            cause=CAUSE_MOVING,
        ),
    )


def _stays(node: Node) -> Node:
    """Its host may have stopped it already for the boot that was wanted elsewhere: it needs another one to start."""
    is_to_boot = node.is_leaving and node.power == nodes.POWER_ON
    return model.changed(node, moves_to="", is_leaving=False, boot=node.boot + is_to_boot)


def _back(node: Node, at: float) -> Node:
    reason = f"it stays on host {node.moves_from}"
    status = replace(node.status, since=at, reason=reason, cause=CAUSE_MOVING)
    return model.changed(node, host=node.moves_from, moves_from="", boot=node.boot + 1, status=status)


def after_report(node: Node, report: VmReport, at: float) -> Node:
    """The same node when the report says nothing new. at: epoch seconds."""
    new = settled(model.reported(node, report), at)
    has_come = new.moves_from and new.is_present and (report.host, report.arrived) == (new.host, new.move)
    return model.changed(new, moves_from="") if has_come else new


def sent(nodes_of_set: Sequence[Node], host: str, pool: HostPool, at: float) -> list[Node]:
    """All of them to this host; Conflict, NotFound or InvalidRequest when one cannot go."""
    states = {one.name: one for one in pool.hosts}
    wanted = hosts.find(states, host)
    going = [node for node in nodes_of_set if host not in (node.host, node.disks_host)]
    machines = [node.name for node in nodes_of_set if not node.is_virtual]
    if machines:
        raise Conflict(f"{', '.join(machines)}: a physical node is where it is; allowed: virtual nodes")
    if going:
        _check_answer(wanted)
        placement.place([replace(_unplaced(node), host=host) for node in going], pool.hosts)
    for node in going:
        _check_answer(states[node.disks_host])
    return [to_host(node, host, at) for node in nodes_of_set]


def _check_answer(host: HostState) -> None:
    if not host.is_reachable:
        raise Conflict(f"host {host.name} does not answer; allowed: once it does")


def check_disks_stay(before: Sequence[Node], after: Sequence[Node]) -> None:
    """While they are copied, they must be those that the copy began with."""
    pairs = zip(before, after, strict=True)
    moving = [old.name for old, new in pairs if old.moves_from and old.disks != new.disks]
    if moving:
        raise Conflict(f"{', '.join(moving)}: its disks are moving to another host; allowed: once they have come")


def evacuation(leaving: Sequence[Node], source: str, present: Sequence[HostState]) -> HostEvacuation:
    """Where the nodes of a host go: the largest are placed first."""
    states = {host.name: host for host in present if host.name != source}
    moves, stuck = [], []
    for node in sorted(leaving, key=lambda node: (-node.config.ram_bytes, node.name)):
        chosen, why = _destination(node, states)
        if chosen:
            states[chosen] = states[chosen].with_node(_unplaced(node))
            moves.append(NodeMove(node.name, chosen))
        else:
            stuck.append(StuckNode(node.name, why))
    return HostEvacuation(tuple(moves), tuple(stuck))


def _destination(node: Node, states: Mapping[str, HostState]) -> tuple[str, str]:
    """A host, or why there is none."""
    if node.moves_from:
        return "", f"its disks are still coming from host {node.moves_from}"
    taking = [host for host in states.values() if host.is_reachable and not host.is_drained]
    ram = f"ram={units.format_memory(node.config.ram_bytes)}"
    if not taking:
        return "", "no other host answers and takes nodes"
    roomy = [one for one in taking if one.could_hold(node.config.ram_bytes) and one.has_room(node.config.ram_bytes)]
    if not roomy:
        return "", f"no other host has room for its {ram}"
    return placement.place([_unplaced(node)], roomy)[node.name], ""


def evacuated(node: Node, host: str, context: RequestContext) -> Node:
    """It is stopped and boots there; one that is off stays off."""
    wanted = to_host(node, host, context.at)
    if wanted.power != nodes.POWER_ON or wanted.is_leaving:
        return wanted
    return model.with_new_boot(wanted, f"move to host {host} requested by {context.user}", context.at)


def _unplaced(node: Node) -> Unplaced:
    return Unplaced(node.name, node.config.ram_bytes, node.config.networks)
