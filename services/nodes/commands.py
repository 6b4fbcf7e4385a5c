"""What each command does to the registry, within one transaction: select, check all, change all."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from services.contracts.names import MY_NODES, split_selection
from services.contracts.nodes import Event, NodeTarget, NodeView
from services.contracts.settings import NodeConfig
from services.contracts.vmrunner import VmReport
from services.nodes import creation, journal, linking, model, ownership
from services.nodes.journal import Deed, Query
from services.nodes.model import Asked, Node
from services.nodes.selection import find, select, select_names, select_some
from services.nodes.store import Registry

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outcome:
    """named: the nodes of the command, as they are now; changed: those of them that are not as before."""

    named: Sequence[Node]
    changed: Sequence[Node]
    notes: Sequence[str] = ()


def create(
    registry: Registry, asked: Asked, names: Sequence[str], config: NodeConfig, image: str, place: creation.Place
) -> Outcome:
    new = creation.new_nodes(names, config, image, registry.nodes(), place, asked)
    return _save(registry, Deed("create", asked, journal.creation_text(image, config)), new, new)


def configure(registry: Registry, asked: Asked, selection: str, values: dict[str, Any]) -> Outcome:
    nodes = _owned(registry, asked, selection)
    new = model.configured(nodes, values)
    notes = [note for before, after in zip(nodes, new, strict=True) for note in model.effect_notes(before, after)]
    return _save(registry, Deed("config", asked, journal.settings_text(values)), nodes, new, notes)


def link(
    registry: Registry, asked: Asked, selection: str, network: str, options: Sequence[str], from_plain: bool
) -> Outcome:
    nodes = _owned(registry, asked, selection)
    new = linking.linked(nodes, network, options, from_plain)
    return _save(registry, Deed("link", asked, journal.link_text(network, options, from_plain)), nodes, new)


def reboot(registry: Registry, asked: Asked, selection: str) -> Outcome:
    nodes = _owned(registry, asked, selection)
    return _save(registry, Deed("reboot", asked), nodes, [model.rebooted(node, asked) for node in nodes])


def boot(registry: Registry, asked: Asked, selection: str, image: str) -> Outcome:
    nodes = _owned(registry, asked, selection)
    new = [model.given_image(node, image, asked) for node in nodes]
    return _save(registry, Deed("boot", asked, f"image={image}"), nodes, new)


def remove(registry: Registry, asked: Asked, selection: str) -> Outcome:
    nodes = _owned(registry, asked, selection)
    return _save(registry, Deed("remove", asked), nodes, [model.removed(node) for node in nodes])


def acquire(registry: Registry, asked: Asked, selection: str, force: bool) -> Outcome:
    nodes = select_some(selection, registry.nodes(), asked.user)
    ownership.check_acquirable(nodes, asked.user, force)
    for node in nodes:
        if not node.is_free:
            log.warning("node taken over: node=%s from=%s by=%s", node.name, node.owner, asked.user)
    return _save(registry, Deed("acquire", asked), nodes, [model.acquired(node, asked) for node in nodes])


def release(registry: Registry, asked: Asked, selection: str) -> Outcome:
    nodes = select_some(selection, registry.nodes(), asked.user)
    ownership.check_releasable(nodes, asked.user)
    return _save(registry, Deed("release", asked), nodes, [model.released(node, asked) for node in nodes])


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


def authorize(registry: Registry, user: str, name: str, action: str) -> NodeTarget:
    node = find(name, registry.nodes())
    ownership.check_action(node, user, action)
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


def _save(
    registry: Registry, deed: Deed, before: Sequence[Node], after: Sequence[Node], notes: Sequence[str] = ()
) -> Outcome:
    named = [
        registry.save(new) if new is not old or not new.id else old for old, new in zip(before, after, strict=True)
    ]
    changed = [new for old, new in zip(before, named, strict=True) if new != old]
    registry.events.add(journal.entries(deed, before, named))
    return Outcome(named, changed, notes)


Command = Callable[..., Outcome]
