"""What bootserver has seen of a node's system, and what follows from it for the record of its VM."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from services.vmrunner.lifecycle import transitions
from services.vmrunner.lifecycle.transitions import VmRecord
from walt.contracts.bootserver import NodeBooted, NodeCopying, NodeReachable

GuestEvent = NodeBooted | NodeCopying | NodeReachable
Change = Callable[[VmRecord], VmRecord]


def _moment(event: NodeReachable) -> tuple[int, float]:
    return event.run, event.since


class GuestEvents:
    """The newest of each kind, in whatever order they come. They are kept, as they may come before the VM is found, and
    change nothing twice."""

    def __init__(self) -> None:
        self._copying: tuple[NodeCopying, float] | None = None  # and when it came
        self._booted: NodeBooted | None = None
        self._reachable: NodeReachable | None = None

    def put(self, event: GuestEvent) -> None:
        match event:
            case NodeCopying():
                if self._copying is None or event.run >= self._copying[0].run:
                    self._copying = event, time.time()
            case NodeBooted():
                if self._booted is None or event.run >= self._booted.run:
                    self._booted = event
            case NodeReachable():
                if self._reachable is None or _moment(event) >= _moment(self._reachable):
                    self._reachable = event

    def changes(self, is_paused: bool, console_clue: Callable[[], str]) -> Iterator[Change]:
        """To be made one after the other. console_clue: why the system is silent, as its console shows it."""
        if self._copying is not None:
            copying, at = self._copying
            yield lambda record: transitions.copying(record, copying.run, at)
        if self._booted is not None:
            booted = self._booted
            yield lambda record: transitions.booted(record, booted.run, booted.at, time.time())
        yield lambda record: transitions.paused(record, is_paused, time.time())
        if self._reachable is not None:
            seen = self._reachable
            clue = "" if seen.answers else console_clue()
            yield lambda record: transitions.reachable(record, seen, clue)
