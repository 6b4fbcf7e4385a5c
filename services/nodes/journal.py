"""Pure: what the log of events says of a command and of a report."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from services.contracts.errors import InvalidRequest
from services.contracts.nodes import Event
from services.contracts.settings import SETTINGS, NodeConfig
from services.nodes.model import Asked, Node

STATE = "state"
ACQUIRE = "acquire"
TAKEOVER = "takeover"
RENAME = "rename"

MAX_EVENTS = 10_000  # of one answer
EVENTS_KEPT = 100_000
NOTICE_AGE_S = 86_400

_NUMBER = re.compile(r"\d+")


@dataclass(frozen=True)
class Deed:
    """A command, by whom and when it was asked; text: what was asked, in words."""

    kind: str
    asked: Asked
    text: str = ""


@dataclass(frozen=True)
class Query:
    """since: seconds of the epoch. limit: the newest so many or, after an event, the next so many."""

    since: float
    after: int
    limit: int


def entries(deed: Deed, before: Sequence[Node], after: Sequence[Node]) -> list[Event]:
    """One event for each node that the command made or changed; one for each of its names when it has a new one."""
    pairs = [(old, new) for old, new in zip(before, after, strict=True) if new != old]
    return [event for old, new in pairs for event in _entries(deed, old, new)]


def _entries(deed: Deed, old: Node, new: Node) -> list[Event]:
    if deed.kind == RENAME:
        return [
            _entry(deed, old, old.name, RENAME, f"to {new.name}"),
            _entry(deed, old, new.name, RENAME, f"from {old.name}"),
        ]
    if deed.kind == ACQUIRE and not old.is_free:
        return [_entry(deed, old, old.name, TAKEOVER, f"from {old.owner} to {new.owner}")]
    owned = new if old.is_free else old
    return [_entry(deed, owned, old.name, deed.kind, deed.text)]


def _entry(deed: Deed, owned: Node, name: str, kind: str, text: str) -> Event:
    return Event(0, deed.asked.now, name, owned.owner, deed.asked.user, kind, text)


def transition(before: Node, after: Node, now: float) -> list[Event]:
    """What a report has changed; nothing when it only counts on (seconds left, retries, megabytes)."""
    old, new = before.status, after.status
    if (old.state, old.boot, _uncounted(old.reason)) == (new.state, new.boot, _uncounted(new.reason)):
        return []
    at = new.since if new.since != old.since else now  # a new reason within the same state
    text = f"{new.state}: {new.reason}" if new.reason else new.state
    return [Event(0, at, after.name, after.owner, "", STATE, text)]


def _uncounted(reason: str) -> str:
    return _NUMBER.sub("", reason)


def settings_text(values: dict[str, Any]) -> str:
    """'ram=2G networks=walt-net,home-net[lat=10ms]', from the values of `parse_settings`."""
    asked = [one for one in SETTINGS.values() if one.field in values]
    return " ".join(f"{one.name}={one.format(values[one.field])}" for one in asked)


def link_text(network: str, options: Sequence[str], from_plain: bool) -> str:
    """'home-net lat=10ms loss=1%'."""
    return " ".join([network, *options, *(["(else plain)"] if from_plain else [])])


def creation_text(image: str, config: NodeConfig) -> str:
    """The image, and the settings that are not the usual ones."""
    usual = NodeConfig()
    values = {one.field: getattr(config, one.field) for one in SETTINGS.values()}
    asked = {field: value for field, value in values.items() if value != getattr(usual, field)}
    return f"image={image} {settings_text(asked)}".rstrip()


def events_kept(text: str) -> int:
    """WALT_EVENTS_KEPT."""
    if not re.fullmatch(r"[1-9][0-9]{0,17}", text, re.ASCII):
        raise InvalidRequest(f"WALT_EVENTS_KEPT={text} is not a number of events; allowed: a whole number above 0")
    return int(text)
