"""What each command does to the registry, within one transaction: select, check all, change all."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from services.contracts.errors import Conflict, InvalidRequest, Refused, WaltError, together
from services.contracts.names import MY_NODES, split_selection
from services.contracts.nodes import Event, NodeTarget, NodeView
from services.contracts.vmrunner import VmReport
from services.nodes import (
    creation,
    holdings,
    journal,
    linking,
    model,
    notes,
    ownership,
    physical,
    registration,
    request,
)
from services.nodes.journal import Deed, Query
from services.nodes.model import Asked, Node
from services.nodes.ownership import Watchers
from services.nodes.request import Limits, Requested
from services.nodes.selection import find, select, select_names, select_some
from services.nodes.store import Registry

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outcome:
    """named: the nodes of the command, as they are now; changed: those of them that are not as before."""

    named: Sequence[Node]
    changed: Sequence[Node]
    notes: Sequence[str] = ()


def create(registry: Registry, asked: Asked, wish: creation.Wish, place: creation.Place, limits: Limits) -> Outcome:
    new = creation.new_nodes(wish, registry.nodes(), place, asked)
    deed = Deed("create", asked, journal.creation_text(wish.image, wish.config))
    return _save(registry, deed, new, new, notes.of_creation(new, limits))


def configure(registry: Registry, asked: Asked, selection: str, requested: Requested, limits: Limits) -> Outcome:
    nodes = _owned_with(_invalid(requested.faults), registry, asked, selection)
    configs = request.configured(nodes, requested, limits)
    new = [model.configured(node, config) for node, config in zip(nodes, configs, strict=True)]
    said = notes.of_configuration(nodes, new, limits)
    words = _words(journal.settings_text(requested.values), force=asked.force)
    return _save(registry, Deed("config", asked, words), nodes, new, said)


def link(
    registry: Registry, asked: Asked, selection: str, network: str, options: Sequence[str], from_plain: bool
) -> Outcome:
    nodes = _owned_with(_invalid(linking.option_faults(options, from_plain)), registry, asked, selection)
    physical.check_links(nodes)
    new = linking.linked(nodes, network, options, from_plain)
    return _save(registry, Deed("link", asked, journal.link_text(network, options, from_plain)), nodes, new)


def reboot(registry: Registry, asked: Asked, selection: str, hard: bool) -> Outcome:
    nodes = _owned(registry, asked, selection)
    physical.check_soft(nodes, hard)
    new = [model.rebooted(node, asked, hard) for node in nodes]
    return _save(registry, Deed("reboot", asked, _words(hard=hard)), nodes, new, physical.notes_of_boot(nodes, new))


def stop(registry: Registry, asked: Asked, selection: str, hard: bool) -> Outcome:
    nodes = _owned(registry, asked, selection)
    physical.check_soft(nodes, hard)
    new = [model.stopped(node, asked, hard) for node in nodes]
    said = [*notes.of_stop(nodes, new), *physical.notes_of_stop(nodes)]
    return _save(registry, Deed("stop", asked, _words(hard=hard)), nodes, new, said)


def start(registry: Registry, asked: Asked, selection: str) -> Outcome:
    nodes = _owned(registry, asked, selection)
    physical.check_startable(nodes)
    new = [model.started(node, asked) for node in nodes]
    return _save(registry, Deed("start", asked), nodes, new, notes.of_start(nodes, new))


def rename(registry: Registry, asked: Asked, name: str, new_name: str) -> Outcome:
    present = registry.nodes()
    node = find(name, present)
    ownership.check_owned([node], asked.user)
    if node.name == new_name:
        raise Conflict(f"node '{node.name}' has this name already")
    creation.check_names_free([new_name], present)
    new = model.renamed(node, new_name)
    return _save(registry, Deed(journal.RENAME, asked), [node], [new], notes.of_renaming(node, new))


def boot(registry: Registry, asked: Asked, selection: str, image: str, wrong: Sequence[WaltError]) -> Outcome:
    """wrong: what is, with the image."""
    nodes = _owned_with(wrong, registry, asked, selection)
    if wrong:
        raise together(wrong)
    new = [model.given_image(node, image, asked) for node in nodes]
    return _save(registry, Deed("boot", asked, f"image={image}"), nodes, new, physical.notes_of_boot(nodes, new))


def remove(registry: Registry, asked: Asked, selection: str) -> Outcome:
    nodes = _owned(registry, asked, selection)
    return _save(
        registry, Deed("remove", asked, _words(force=asked.force)), nodes, [model.removed(node) for node in nodes]
    )


def acquire(registry: Registry, asked: Asked, selection: str) -> Outcome:
    nodes = select_some(selection, registry.nodes(), asked.user)
    ownership.check_acquirable(nodes, asked.user, asked.force)
    for node in nodes:
        if not node.is_free:
            log.warning("node taken over: node=%s from=%s by=%s", node.name, node.owner, asked.user)
    new = [model.acquired(node, asked) for node in nodes]
    return _save(registry, Deed("acquire", asked), nodes, new, _said_of_owners(nodes, new))


def release(registry: Registry, asked: Asked, selection: str) -> Outcome:
    nodes = select_some(selection, registry.nodes(), asked.user)
    ownership.check_releasable(nodes, asked.user)
    new = [model.released(node, asked) for node in nodes]
    return _save(registry, Deed("release", asked, _words(force=asked.force)), nodes, new, _said_of_owners(nodes, new))


def register(registry: Registry, asked: Asked, mac: str, ip: str, place: creation.Place) -> Outcome:
    """The physical node that this machine is, be it new."""
    present = registry.nodes()
    known = registration.find(mac, ip, present)
    if known is not None:
        return _save(registry, Deed("power on", asked), [known], [registration.switched_on(known)])
    new = registration.new_node(mac, ip, present, place, asked)
    stored = registry.add_machine(new, mac)
    registry.events.add(journal.entries(Deed("register", asked, f"mac={mac} ip={ip}"), [new], [stored]))
    return Outcome([stored], [stored])


def release_all(registry: Registry, asked: Asked, owner: str) -> Outcome:
    """The nodes of a user who leaves, asked by an administrator."""
    nodes = select(MY_NODES, registry.nodes(), owner)
    new = [model.released(node, asked) for node in nodes]
    words = _words(f"{owner} leaves", force=asked.force)
    return _save(registry, Deed("release", asked, words), nodes, new, notes.of_change_of_owner(nodes, new))


def chosen(registry: Registry, user: str, selection: str) -> list[Node]:
    return select(selection, registry.nodes(), user)


def views(registry: Registry, user: str, selection: str) -> list[NodeView]:
    return [model.view(node) for node in chosen(registry, user, selection)]


def events(registry: Registry, user: str, selection: str | None, query: Query) -> list[Event]:
    if selection is None:
        own = [node.name for node in select(MY_NODES, registry.nodes(), user)]
        return registry.events.of(own, query, owner=user)
    logged = registry.events.names(split_selection(selection))
    return registry.events.of(select_names(selection, registry.nodes(), logged, user), query)


def authorize(registry: Registry, user: str, name: str, action: str, watchers: Watchers) -> NodeTarget:
    node = find(name, registry.nodes())
    ownership.check_action(node, user, action, watchers)
    return model.target(node)


def take_report(registry: Registry, report: VmReport, now: float) -> None:
    node = registry.get(report.node_id)
    if node:
        new = model.reported(node, report)
        if new is not node:
            registry.save_status(new)
            registry.events.add(journal.transition(node, new, now))


def _owned(registry: Registry, asked: Asked, selection: str) -> list[Node]:
    nodes = select_some(selection, registry.nodes(), asked.user)
    ownership.check_owned(nodes, asked.user)
    return nodes


def _owned_with(wrong: Sequence[WaltError], registry: Registry, asked: Asked, selection: str) -> list[Node]:
    """As `_owned`, for a request with these faults: they are told together with those of the node set."""
    try:
        return _owned(registry, asked, selection)
    except Refused as refused:
        raise together([*wrong, refused]) from None


def _invalid(faults: Sequence[str]) -> list[WaltError]:
    return [InvalidRequest(*faults)] if faults else []


def _said_of_owners(before: Sequence[Node], after: Sequence[Node]) -> list[str]:
    return [*notes.of_change_of_owner(before, after), *physical.notes_of_boot(before, after)]


def _words(text: str = "", **flags: bool) -> str:
    """For the log: 'disks=none --force'."""
    return " ".join(filter(None, [text, *(f"--{name}" for name, given in flags.items() if given)]))


def _save(
    registry: Registry, deed: Deed, before: Sequence[Node], after: Sequence[Node], said: Sequence[str] = ()
) -> Outcome:
    holdings.check(deed.asked, before, after)
    named = [
        registry.save(new) if new is not old or not new.id else old for old, new in zip(before, after, strict=True)
    ]
    changed = [new for old, new in zip(before, named, strict=True) if new != old]
    registry.events.add(journal.entries(deed, before, named))
    return Outcome(named, changed, said)


Command = Callable[..., Outcome]
