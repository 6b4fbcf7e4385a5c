"""Pure: from the text of a node set to the nodes it means."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable

from services.contracts.errors import NotFound
from services.contracts.names import ALL_NODES, FREE_NODES, MY_NODES, check_one_node, split_selection
from services.nodes.model import Node

MOST_HINTS = 20


def select(text: str, nodes: Iterable[Node], user: str) -> list[Node]:
    """Each node once, in the order given, sets sorted by name; NotFound names every unknown name."""
    present = {node.name: node for node in sorted(nodes, key=lambda node: node.name) if node.is_present}
    chosen: dict[str, Node] = {}
    unknown = []
    for item in split_selection(text):
        members = _members(item, present, user)
        if members is None:
            unknown.append(item)
        else:
            chosen.update((node.name, node) for node in members)
    if unknown:
        # To look for a name that is near takes milliseconds.
        near = [_no_such_node(item, present) for item in unknown[:MOST_HINTS]]
        raise NotFound(*near, *(_no_such_node(item, ()) for item in unknown[MOST_HINTS:]))
    return list(chosen.values())


def select_some(text: str, nodes: Iterable[Node], user: str) -> list[Node]:
    """As `select`, for a command: a set that is empty is refused, as nothing would be done."""
    chosen = select(text, nodes, user)
    if not chosen:
        raise NotFound(f"no node in '{text}'; see the nodes there are with: walt node show {ALL_NODES}")
    return chosen


def select_names(text: str, nodes: Iterable[Node], logged: Collection[str], user: str) -> list[str]:
    """As `select`, for the log: names, also those in `logged` whose node is gone."""
    items = split_selection(text)
    gone = [item for item in items if item in logged]
    here = [item for item in items if item not in logged]
    return gone + ([node.name for node in select(",".join(here), nodes, user)] if here else [])


def find(name: str, nodes: Iterable[Node]) -> Node:
    """The node of this name; a node set is refused, as one node is meant."""
    present = {node.name: node for node in nodes if node.is_present}
    if check_one_node(name).lower() not in present:
        raise NotFound(_no_such_node(name, present))
    return present[name.lower()]


def _members(item: str, present: dict[str, Node], user: str) -> list[Node] | None:
    if item == ALL_NODES:
        return list(present.values())
    if item in (MY_NODES, FREE_NODES):
        owner = user if item == MY_NODES else ""
        return [node for node in present.values() if node.owner == owner]
    return [present[item]] if item in present else None


def _no_such_node(name: str, present: Collection[str]) -> str:
    near = difflib.get_close_matches(name, present, n=1)
    return f"no node '{name}'" + (f" (did you mean {near[0]}?)" if near else "")
