"""A node that moves: what its runner at either host does for it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import replace

from services.kit import tasks
from services.kit.bus.bus import Bus
from services.vmrunner.disks.moving import MovingDiskStore
from services.vmrunner.lifecycle import transitions
from services.vmrunner.lifecycle.transitions import VmRecord
from walt.contracts import serialization, units, vmrunner
from walt.contracts.errors import Conflict
from walt.contracts.nodes import ABSENT, POWER_OFF, NodeWanted
from walt.contracts.vmrunner import MovingDisks, MovingPiece

LIST_LIMIT_S = 60.0
LEAVES_LIMIT_S = 10.0
RETRY_S = 0.3
SAY_EVERY_S = 2.0


def seen_from(host: str, spec: NodeWanted) -> NodeWanted | None:
    """The spec for a host; None where it has no part in the node. One that leaves is off, and its disks are kept."""
    if spec.host == host:
        return spec
    if spec.moves_from == host and spec.power != ABSENT:
        return replace(spec, power=POWER_OFF, moves_from="")
    return None


def leaving(record: VmRecord, spec: NodeWanted, host: str) -> VmRecord:
    """It remembers that the node leaves, so that what is left of it here is no trash once it has arrived."""
    return replace(record, leaving=spec.move if spec.host != host else 0)


class NotComing(Exception):
    """A newer spec tells that the node stays where it was, or is removed."""


class Arrival:
    """The disks of one node on their way. say: keeps and announces a record; newest: the spec as it is now."""

    def __init__(
        self, bus: Bus, store: MovingDiskStore, say: Callable[[VmRecord], None], newest: Callable[[], NodeWanted]
    ) -> None:
        self._bus = bus
        self._store = store
        self._say = say
        self._newest = newest

    def receive(self, record: VmRecord, spec: NodeWanted) -> None:
        """WaltError or OSError when it must be tried again."""
        peer, move = vmrunner.service_on(spec.moves_from), {"node_id": spec.id, "move": spec.move}
        said_at = -SAY_EVERY_S

        def on_progress(done: int, total: int) -> None:
            nonlocal record, said_at
            self._check_still_coming(spec)
            if time.monotonic() - said_at >= SAY_EVERY_S:
                said_at = time.monotonic()
                record = transitions.arriving(record, spec, _sentence(spec, done, total), time.time())
                self._say(record)

        def read(name: str, offset: int) -> MovingPiece:
            piece = self._bus.call(peer, "read_moving", **move, name=name, offset=offset)
            return serialization.load(MovingPiece, piece)

        with contextlib.suppress(NotComing):
            on_progress(0, 0)
            found = self._list(peer, move, spec)
            self._store.receive(spec.id, found.files, read, on_progress)
            self._check_still_coming(spec)
            self._say(transitions.arrived(record, spec, found.run, time.time()))

    def _list(self, peer: str, move: dict[str, int], spec: NodeWanted) -> MovingDisks:
        """Its host may not have heard yet that it is to leave."""
        expires = time.monotonic() + LEAVES_LIMIT_S
        while True:
            try:
                found = self._bus.call(peer, "list_moving", timeout_s=LIST_LIMIT_S, **move)
                return serialization.load(MovingDisks, found)
            except Conflict:
                if time.monotonic() >= expires:
                    raise
            tasks.sleep(RETRY_S)
            self._check_still_coming(spec)

    def _check_still_coming(self, spec: NodeWanted) -> None:
        now = self._newest()
        if now.power == ABSENT or (now.moves_from, now.move) != (spec.moves_from, spec.move):
            raise NotComing


def _sentence(spec: NodeWanted, done: int, total: int) -> str:
    if not total:
        return f"its disks come from host {spec.moves_from}"
    part = min(done, total) * 100 // total
    return f"its disks come from host {spec.moves_from}: {part} % of {units.format_size(total)}"
