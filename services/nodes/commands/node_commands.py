"""What each command does to the registry, within one transaction: select, check all, change all."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from services.nodes.commands.queries import find_node, hosts_in_use, pool_in_use, select_nodes
from services.nodes.domain import (
    creation,
    data_loss,
    event_texts,
    limits,
    links,
    model,
    moves,
    notes,
    ownership,
    physical,
    registration,
    selection,
    settings_request,
    traces,
)
from services.nodes.domain.accounts import Claim
from services.nodes.domain.creation import NodeRequest
from services.nodes.domain.event_texts import Action
from services.nodes.domain.links import LinkRequest
from services.nodes.domain.model import Node, RequestContext
from services.nodes.domain.ownership import Takeover
from services.nodes.domain.placement import HostPool
from services.nodes.domain.settings_request import Capacities, SettingsRequest
from services.nodes.storage.registry import Registry
from walt.contracts.errors import Conflict, InvalidRequest, Refused, WaltError, together
from walt.contracts.names import MY_NODES
from walt.contracts.nodes import Changed, NodeWanted

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outcome:
    """nodes: those that the command named, as they are now; specs: of those that it changed."""

    nodes: Sequence[Node]
    specs: Sequence[NodeWanted]
    notes: Sequence[str] = ()

    def answer(self) -> Any:
        """What the command returns to its user."""
        return Changed(tuple(map(model.view, self.nodes)), tuple(self.notes))


def create(
    registry: Registry, context: RequestContext, request: NodeRequest, pool: HostPool, capacities: Capacities
) -> Outcome:
    used = pool_in_use(registry, pool, context.account, request.config.networks)
    new = creation.new_nodes(request, registry.owners(request.names), registry.ips(), used, context)
    action = Action("create", context, event_texts.creation_text(request.image, request.config))
    return save(registry, action, new, new, notes.of_creation(new, capacities))


def configure(
    registry: Registry,
    context: RequestContext,
    text: str,
    request: SettingsRequest,
    capacities: Capacities,
    pool: HostPool,
) -> Outcome:
    """pool: where nodes can go, for those that are to move."""
    nodes = _select_owned(registry, context, text, _invalid(request.faults))
    configs = settings_request.new_configs(nodes, request, capacities)
    new = [model.configured(node, config) for node, config in zip(nodes, configs, strict=True)]
    moves.check_disks_stay(nodes, new)
    if request.host:
        new = moves.sent(new, request.host, hosts_in_use(registry, pool), context.at)
    words = [event_texts.settings_text(request.values), f"host={request.host}" if request.host else ""]
    action = Action("config", context, _log_text(" ".join(filter(None, words)), force=context.force))
    return save(registry, action, nodes, new, notes.of_configuration(nodes, new, capacities))


def link(registry: Registry, context: RequestContext, text: str, request: LinkRequest) -> Outcome:
    nodes = _select_owned(registry, context, text, _invalid(request.faults))
    physical.check_links(nodes)
    action = Action("link", context, event_texts.link_text(request.network, request.options, request.from_plain))
    return save(registry, action, nodes, links.linked(nodes, request))


def reboot(registry: Registry, context: RequestContext, text: str, hard: bool) -> Outcome:
    nodes = _select_owned(registry, context, text)
    physical.check_soft(nodes, hard)
    new = [model.rebooted(node, context, hard) for node in nodes]
    action = Action("reboot", context, _log_text(hard=hard))
    return save(registry, action, nodes, new, physical.notes_of_boot(nodes, new))


def stop(registry: Registry, context: RequestContext, text: str, hard: bool) -> Outcome:
    nodes = _select_owned(registry, context, text)
    physical.check_soft(nodes, hard)
    new = [model.stopped(node, context, hard) for node in nodes]
    action = Action("stop", context, _log_text(hard=hard))
    return save(registry, action, nodes, new, [*notes.of_stop(nodes, new), *physical.notes_of_stop(nodes)])


def start(registry: Registry, context: RequestContext, text: str) -> Outcome:
    nodes = _select_owned(registry, context, text)
    physical.check_startable(nodes)
    new = [model.started(node, context) for node in nodes]
    return save(registry, Action("start", context), nodes, new, notes.of_start(nodes, new))


def rename(registry: Registry, context: RequestContext, name: str, new_name: str) -> Outcome:
    node = find_node(registry, name)
    ownership.check_owned([node], context.account)
    if node.name == new_name:
        raise Conflict(f"node '{node.name}' has this name already")
    creation.check_names_free([new_name], registry.owners([new_name]))
    new = model.renamed(node, new_name)
    return save(registry, Action(event_texts.RENAME, context), [node], [new], notes.of_renaming(node, new))


def boot(
    registry: Registry, context: RequestContext, text: str, image: str, image_errors: Sequence[WaltError]
) -> Outcome:
    """image_errors: why the image cannot be used."""
    nodes = _select_owned(registry, context, text, image_errors)
    if image_errors:
        raise together(image_errors)
    new = [model.with_image(node, image, context) for node in nodes]
    action = Action("boot", context, f"image={image}")
    return save(registry, action, nodes, new, physical.notes_of_boot(nodes, new))


def remove(registry: Registry, context: RequestContext, text: str) -> Outcome:
    nodes = _select_owned(registry, context, text)
    action = Action("remove", context, _log_text(force=context.force))
    return save(registry, action, nodes, [model.removed(node) for node in nodes])


def acquire(registry: Registry, context: RequestContext, text: str, takeover: Takeover, may_take_over: bool) -> Outcome:
    nodes = _select_some(registry, context, text)
    ownership.check_acquirable(nodes, context.account, context.force, takeover)
    ownership.check_takeover(nodes, context.account, may_take_over)
    for node in nodes:
        if not node.is_free:
            log.warning("node taken over: node=%s from=%s by=%s", node.name, node.owner, context.user)
    new = [model.acquired(traces.without(node), context) for node in nodes]
    return save(registry, Action("acquire", context), nodes, new, _notes_of_change_of_owner(nodes, new))


def release(registry: Registry, context: RequestContext, text: str) -> Outcome:
    nodes = _select_some(registry, context, text)
    ownership.check_releasable(nodes, context.account)
    new = [model.released(node, context) for node in nodes]
    action = Action("release", context, _log_text(force=context.force))
    return save(registry, action, nodes, new, _notes_of_change_of_owner(nodes, new))


def register(registry: Registry, context: RequestContext, mac: str, ip: str, pool: HostPool) -> Outcome:
    """The physical node with this MAC; a new one when no node has it."""
    known = registry.with_mac(mac)
    if known is not None:
        registration.check_known(known, mac, ip)
        return save(registry, Action("power on", context), [known], [registration.switched_on(known)])
    new = registration.new_node(mac, ip, registry.with_ip(ip), registry.names(), pool, context)
    stored = registry.add_machine(new, mac)
    action = Action("register", context, f"mac={mac} ip={ip}")
    registry.events.add(event_texts.of_command(action, [new], [stored]))
    return Outcome([stored], registry.specs([stored]))


def release_all(registry: Registry, context: RequestContext, claim: Claim) -> Outcome:
    """An account that an administrator removes ends, and its nodes are free."""
    registry.accounts.end(claim)
    registry.labs.remove_all(claim.account.id)
    registry.traces.remove_all(claim.account.id)
    registry.answers.remove_all(claim.account.id)
    nodes = select_nodes(registry, MY_NODES, claim.account.id)
    new = [model.released(node, context) for node in nodes]
    action = Action("release", context, _log_text(f"{claim.account.name} leaves", force=context.force))
    return save(registry, action, nodes, new, notes.of_change_of_owner(nodes, new))


def _select_some(registry: Registry, context: RequestContext, text: str) -> list[Node]:
    nodes = select_nodes(registry, text, context.account)
    selection.check_not_empty(text, nodes)
    return nodes


def _select_owned(
    registry: Registry, context: RequestContext, text: str, errors: Sequence[WaltError] = ()
) -> list[Node]:
    """errors: of the request so far; raised together with those of the node set."""
    try:
        nodes = _select_some(registry, context, text)
        ownership.check_owned(nodes, context.account)
    except Refused as refused:
        raise together([*errors, refused]) from None
    return nodes


def _invalid(faults: Sequence[str]) -> list[WaltError]:
    return [InvalidRequest(*faults)] if faults else []


def _notes_of_change_of_owner(before: Sequence[Node], after: Sequence[Node]) -> list[str]:
    return [*notes.of_change_of_owner(before, after), *physical.notes_of_boot(before, after)]


def _log_text(text: str = "", **flags: bool) -> str:
    """'disks=none --force'."""
    return " ".join(filter(None, [text, *(f"--{name}" for name, is_given in flags.items() if is_given)]))


def save(
    registry: Registry,
    action: Action,
    before: Sequence[Node],
    after: Sequence[Node],
    command_notes: Sequence[str] = (),
) -> Outcome:
    """How every command ends: what it made of `before` is checked, stored and logged. New nodes are in both."""
    check_limits(registry, action.context, before, after)
    check_traces(registry, action.context, after)
    data_loss.check(action.context, before, after)
    pairs = list(zip(before, after, strict=True))
    nodes = [registry.save(new) if new is not old or not new.id else old for old, new in pairs]
    changed = [node for old, node in zip(before, nodes, strict=True) if node != old]
    registry.events.add(event_texts.of_command(action, before, nodes))
    return Outcome(nodes, registry.specs(changed), command_notes)


def check_limits(registry: Registry, context: RequestContext, before: Sequence[Node], after: Sequence[Node]) -> None:
    """Nobody gets more than he may have, by whatever command."""
    if not context.account:
        return  # a service asks, and what it makes is nobody's
    added, allowed = limits.growth(context.account, before, after), registry.accounts.limits(context.account)
    if limits.may_exceed(added, allowed):
        limits.check(context.user, allowed, limits.use(select_nodes(registry, MY_NODES, context.account)), added)


def check_traces(registry: Registry, context: RequestContext, nodes: Sequence[Node]) -> None:
    """Links follow what the account has."""
    of_account = [node for node in nodes if node.owner_account == context.account and node.is_present]
    traces.check_known(of_account, lambda: [one.name for one in registry.traces.of(context.account)])


Command = Callable[..., Outcome]
