"""Pure: from the text of a node set to the nodes it means."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace

from services.nodes.domain.model import Node
from walt.contracts.errors import NotFound
from walt.contracts.names import ALL_NODES, FREE_NODES, MY_NODES, NODE_SETS, check_one_node, split_selection

MAX_HINTS = 20  # finding a similar name takes milliseconds


@dataclass(frozen=True)
class Selection:
    """A node set. items: names and reserved sets, each once, in the order given; account: whose `my-nodes` is meant."""

    items: tuple[str, ...]
    account: str

    @property
    def names(self) -> list[str]:
        return [item for item in self.items if item not in NODE_SETS]

    @property
    def is_all(self) -> bool:
        return ALL_NODES in self.items

    @property
    def accounts(self) -> list[str]:
        """Those whose nodes are meant, whatever their names; "" for the free nodes."""
        sets = {MY_NODES: self.account, FREE_NODES: ""}
        return [sets[item] for item in self.items if item in sets]


def parse(text: str, account: str) -> Selection:
    return Selection(tuple(split_selection(text)), account)


def parse_one(name: str) -> str:
    """The name of one node as it is stored; a node set is refused."""
    return check_one_node(name).lower()


def resolve(selection: Selection, present: Iterable[Node]) -> list[Node]:
    """Each node once, in the order given, sets sorted by name. present: present nodes, those of the selection at least;
    names that are not among them are left out."""
    by_name = {node.name: node for node in sorted(present, key=lambda node: node.name)}
    chosen = {node.name: node for item in selection.items for node in _members(item, by_name, selection.account)}
    return list(chosen.values())


def without(selection: Selection, names: Collection[str]) -> Selection:
    return replace(selection, items=tuple(item for item in selection.items if item not in names))


def unknown_names(selection: Selection, present: Collection[str]) -> list[str]:
    return [name for name in selection.names if name not in present]


def not_found(unknown: Collection[str], present: Collection[str]) -> NotFound:
    """One sentence for each name, with the most similar name of `present`."""
    return NotFound(*(_not_found(name, present if index < MAX_HINTS else ()) for index, name in enumerate(unknown)))


def check_not_empty(text: str, nodes: Collection[Node]) -> None:
    """text: the node set. A command on an empty set does nothing, so it is refused."""
    if not nodes:
        raise NotFound(f"no node in '{text}'; list the nodes with: walt node show {ALL_NODES}")


def _members(item: str, by_name: dict[str, Node], account: str) -> list[Node]:
    if item == ALL_NODES:
        return list(by_name.values())
    if item in (MY_NODES, FREE_NODES):
        owner = account if item == MY_NODES else ""
        return [node for node in by_name.values() if node.owner_account == owner]
    return [by_name[item]] if item in by_name else []


def _not_found(name: str, present: Collection[str]) -> str:
    near = difflib.get_close_matches(name, present, n=1)
    return f"no node '{name}'" + (f" (did you mean {near[0]}?)" if near else "")
