"""Pure: who may do what to which node. Each check reports every node at fault, a sentence each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import Enum

from services.contracts.errors import Conflict, InvalidRequest, NotOwner
from services.contracts.nodes import ACTIONS, PING, WATCH_CONSOLE
from services.nodes.model import Node


def check_owned(nodes: Iterable[Node], user: str) -> None:
    """The rule of every command but create, acquire and those that only look."""
    refused = [_not_yours(node) for node in nodes if node.owner != user]
    if refused:
        raise NotOwner(*refused)


def check_acquirable(nodes: Sequence[Node], user: str, force: bool) -> None:
    own = [f"node '{node.name}' is already yours" for node in nodes if node.owner == user]
    if own:
        raise Conflict(*own)
    others = [node for node in nodes if not node.is_free]
    if others and not force:
        raise NotOwner(*(f"{_not_yours(node)}; take it over with --force" for node in others))


def check_releasable(nodes: Sequence[Node], user: str) -> None:
    free = [f"node '{node.name}' is free already" for node in nodes if node.is_free]
    if free:
        raise Conflict(*free)
    check_owned(nodes, user)


class Watchers(Enum):
    """Who may watch the console of a node that somebody owns."""

    OWNER = "owner"
    ALL = "all"


def parse_watchers(text: str) -> Watchers:
    """ValueError(what is allowed)."""
    try:
        return Watchers(text)
    except ValueError:
        allowed = " or ".join(one.value for one in Watchers)
        raise ValueError(f"WALT_WATCH_CONSOLES={text} is not accepted; allowed: {allowed}") from None


def check_action(node: Node, user: str, action: str, watchers: Watchers) -> None:
    """All may ping any node, and watch the console of a free one; of another's where that is allowed. The rest is its
    owner's."""
    if action not in ACTIONS:
        raise InvalidRequest(f"'{action}' is not an action on a node; allowed: {', '.join(ACTIONS)}")
    watchable = action == WATCH_CONSOLE and (node.is_free or watchers is Watchers.ALL)
    if action != PING and not watchable:
        check_owned([node], user)


def _not_yours(node: Node) -> str:
    if node.is_free:
        return f"node '{node.name}' is free; acquire it first (walt node acquire {node.name})"
    return f"node '{node.name}' belongs to {node.owner}"
