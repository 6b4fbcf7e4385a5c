"""Tells users what others did to their nodes. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from walt.contracts.nodes import Event

from .messages import age

_VERBS = {"takeover": "was taken over by"}


def sentences(events: Iterable[Event], now: float) -> list[str]:
    """'vnode1 was taken over by bob 3m ago (walt log show vnode1)', the newest last."""
    return [
        f"{event.node} {_verb(event)} {event.user} {age(now - event.at)} ago (walt log show {event.node})"
        for event in events
    ]


def _verb(event: Event) -> str:
    """A kind of event that this version does not know is shown by its name."""
    return _VERBS.get(event.kind, f"saw '{event.kind}' by")
