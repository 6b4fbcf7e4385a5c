"""Pure: the events that a command or a report adds to the log."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from services.nodes.domain.model import Node, RequestContext
from walt.contracts.errors import InvalidRequest
from walt.contracts.nodes import Event
from walt.contracts.settings import SETTINGS, NodeConfig

STATE = "state"
ACQUIRE = "acquire"
TAKEOVER = "takeover"
RENAME = "rename"

EVENTS_KEPT = 100_000
NOTICE_AGE_S = 86_400


@dataclass(frozen=True)
class Action:
    """A command and its context; text: what was requested, as it is shown in the log."""

    kind: str
    context: RequestContext
    text: str = ""


@dataclass(frozen=True)
class EventQuery:
    """since: epoch seconds; after: an Event.id, or 0. limit: at most so many, the newest or, with `after`, the next."""

    since: float
    after: int
    limit: int


def kept_of_each(counts: Iterable[int], kept: int) -> int:
    """How many events an account keeps at most, so that all together keep `kept`. counts: of each account. Who has few
    loses none for those who have many."""
    ascending = sorted(counts)
    for position, count in enumerate(ascending):
        share = kept // (len(ascending) - position)
        if count > share:
            return share
        kept -= count
    return max(ascending, default=0)


def of_command(action: Action, before: Sequence[Node], after: Sequence[Node]) -> list[Event]:
    """One event for each node that the command made or changed; two, one for each name, when it was renamed."""
    pairs = [(old, new) for old, new in zip(before, after, strict=True) if new != old]
    return [event for old, new in pairs for event in _of_node(action, old, new)]


def of_node(action: Action, node: Node) -> Event:
    """Of a command that changes what belongs to a node, not the node itself."""
    return _event(action, node, node.name, action.kind, action.text)


def _of_node(action: Action, old: Node, new: Node) -> list[Event]:
    if action.kind == RENAME:
        return [
            _event(action, old, old.name, RENAME, f"to {new.name}"),
            _event(action, old, new.name, RENAME, f"from {old.name}"),
        ]
    if action.kind == ACQUIRE and not old.is_free:
        return [_event(action, old, old.name, TAKEOVER, f"from {old.owner} to {new.owner}")]
    owned = new if old.is_free else old
    return [_event(action, owned, old.name, action.kind, action.text)]


def _event(action: Action, owned: Node, name: str, kind: str, text: str) -> Event:
    return Event(0, action.context.at, name, owned.owner, action.context.user, kind, text, owned.owner_account)


def transition(before: Node, after: Node, now: float) -> list[Event]:
    """The event of a report, unless only the figures of its reason have changed (seconds left, megabytes)."""
    old, new = before.status, after.status
    # An agent of the version before sends no cause: then only the state counts.
    is_same_cause = old.cause == new.cause or not (old.cause and new.cause)
    if (old.state, old.boot) == (new.state, new.boot) and is_same_cause:
        return []
    at = new.since if new.since != old.since else now  # a new cause within the same state
    text = f"{new.state}: {new.reason}" if new.reason else new.state
    return [Event(0, at, after.name, after.owner, "", STATE, text, after.owner_account)]


def settings_text(values: dict[str, Any]) -> str:
    """'ram=2G networks=walt-net,home-net[lat=10ms]', from values as `parse_settings` gives them."""
    given = [setting for setting in SETTINGS.values() if setting.field in values]
    return " ".join(f"{setting.name}={setting.format(values[setting.field])}" for setting in given)


def link_text(network: str, options: Sequence[str], from_plain: bool) -> str:
    """'home-net lat=10ms loss=1%'."""
    return " ".join([network, *options, *(["(else plain)"] if from_plain else [])])


def creation_text(image: str, config: NodeConfig) -> str:
    """The image, and the settings that differ from their defaults."""
    default = NodeConfig()
    values = {setting.field: getattr(config, setting.field) for setting in SETTINGS.values()}
    changed = {field: value for field, value in values.items() if value != getattr(default, field)}
    return f"image={image} {settings_text(changed)}".rstrip()


def events_kept(text: str) -> int:
    """WALT_EVENTS_KEPT."""
    if not re.fullmatch(r"[1-9][0-9]{0,17}", text, re.ASCII):
        raise InvalidRequest(f"WALT_EVENTS_KEPT={text} is not a number of events; allowed: a whole number above 0")
    return int(text)
