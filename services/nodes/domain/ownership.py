"""Pure: who may do what to which node. Each check names every node at fault, in a sentence of its own."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import Enum
from typing import TypeVar

from services.nodes.domain.model import Node
from walt.contracts.errors import Conflict, Denied, InvalidRequest, NotOwner, OwnerNeedsForce
from walt.contracts.nodes import ACTIONS, PING, WATCH_CONSOLE

TAKEOVERS_AT_ONCE = 10

Rule = TypeVar("Rule", bound=Enum)


class Takeover(Enum):
    """Who may take nodes from their owners (acquire --force)."""

    ALL = "all"
    ADMINISTRATORS = "administrators"
    NOBODY = "nobody"


def check_owned(nodes: Iterable[Node], account: str) -> None:
    """account: the id of the user's. For every command except create, acquire and those that change nothing."""
    refused = [_not_yours(node) for node in nodes if node.owner_account != account]
    if refused:
        raise NotOwner(*refused)


def check_acquirable(nodes: Sequence[Node], account: str, force: bool, takeover: Takeover) -> None:
    owned = [f"node '{node.name}' is already yours" for node in nodes if node.owner_account == account]
    if owned:
        raise Conflict(*owned)
    others = [node for node in nodes if not node.is_free]
    if others and not force and takeover is Takeover.NOBODY:
        raise NotOwner(*map(_not_yours, others))
    if others and not force:
        who = "an administrator may " if takeover is Takeover.ADMINISTRATORS else ""
        raise OwnerNeedsForce(*(f"{_not_yours(node)}; {who}take it over with --force" for node in others))


def check_releasable(nodes: Sequence[Node], account: str) -> None:
    free = [f"node '{node.name}' is free already" for node in nodes if node.is_free]
    if free:
        raise Conflict(*free)
    check_owned(nodes, account)


def parse_takeover(text: str) -> Takeover:
    """The value of WALT_TAKEOVER; ValueError that says what is allowed."""
    return _parse_rule(Takeover, "WALT_TAKEOVER", text, ", ")


def check_takeover(nodes: Iterable[Node], account: str, is_allowed: bool) -> None:
    """Of nodes that were asked for with force: those of others are for whom the operator allows it, and few at once."""
    others = [node for node in nodes if not node.is_free and node.owner_account != account]
    if others and not is_allowed:
        sentence = "this platform does not let you take it over (WALT_TAKEOVER)"
        raise Denied(*(f"{_not_yours(node)}; {sentence}" for node in others))
    if len(others) > TAKEOVERS_AT_ONCE:
        raise Conflict(
            f"{len(others)} of these nodes belong to others; allowed: to take over {TAKEOVERS_AT_ONCE} at once, by name"
        )


class Watchers(Enum):
    """Who may watch the console of a node that has an owner."""

    OWNER = "owner"
    ALL = "all"


def parse_watchers(text: str) -> Watchers:
    """The value of WALT_WATCH_CONSOLES; ValueError that says what is allowed."""
    return _parse_rule(Watchers, "WALT_WATCH_CONSOLES", text, " or ")


def check_action(node: Node, account: str, action: str, watchers: Watchers) -> None:
    """Every user may ping any node and watch the console of a free node; that of another's node where `watchers` allows
    it. All other actions are for its owner only."""
    if action not in ACTIONS:
        raise InvalidRequest(f"'{action}' is not an action on a node; allowed: {', '.join(ACTIONS)}")
    watchable = action == WATCH_CONSOLE and (node.is_free or watchers is Watchers.ALL)
    if action != PING and not watchable:
        check_owned([node], account)


def _parse_rule(rules: type[Rule], variable: str, text: str, separator: str) -> Rule:
    try:
        return rules(text)
    except ValueError:
        allowed = separator.join(rule.value for rule in rules)
        raise ValueError(f"{variable}={text} is not accepted; allowed: {allowed}") from None


def _not_yours(node: Node) -> str:
    if node.is_free:
        return f"node '{node.name}' is free; acquire it first (walt node acquire {node.name})"
    return f"node '{node.name}' belongs to {node.owner}"
