"""What others did to one's nodes, told to whoever looks at them. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from cli.output import age

_DONE = {"takeover": "was taken over by"}


def sentences(events: Iterable[dict[str, Any]], now: float) -> list[str]:
    """'vnode1 was taken over by bob 3m ago (walt log show vnode1)', the newest last."""
    return [
        f"{event['node']} {_done(event)} {event['user']} {age(now - event['at'])} ago (walt log show {event['node']})"
        for event in events
    ]


def _done(event: dict[str, Any]) -> str:
    """A kind of event that is younger than this program is told by its name."""
    return _DONE.get(event["kind"], f"saw '{event['kind']}' by")
