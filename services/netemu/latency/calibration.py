"""The adapter that measures each node's own share of a round trip, by pinging it on walt-net."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

from services.netemu.latency import compensation
from services.netemu.latency.compensation import Share
from services.netemu.latency.ping import ping
from services.netemu.ports.plan import Action, Snapshot
from walt.contracts.nodes import WALT_NET_ID

SERVER = "127.0.0.1"  # the pings come from this namespace

Ping = Callable[[list[str], int], dict[str, list[float]]]


class Compensator(Protocol):
    """What applies the measured shares: the emulation of this host."""

    def snapshot(self) -> Snapshot: ...

    def compensate(self, node_id: int, share_us: int) -> list[Action]: ...

    def way_us(self, network_id: int) -> int: ...


class Calibration:
    def __init__(self, emulation: Compensator, ping: Ping = ping) -> None:
        self._emulation = emulation
        self._ping = ping
        self._shares: dict[int, Share] = {}

    def measure(self, node_id: int, ip: str) -> None:
        """Start from scratch: the node has booted."""
        self._shares[node_id] = Share(node_id, ip, due_s=time.monotonic())

    def measure_if_new(self, node_id: int, ip: str) -> None:
        """It may have been running since before this process: see whether it answers."""
        if node_id not in self._shares:
            self.measure(node_id, ip)

    def forget(self, node_id: int) -> None:
        self._shares.pop(node_id, None)

    def step(self) -> list[Action]:
        """Ping every node that is due once more; what that changed on their ports."""
        now_s = time.monotonic()
        due = [share for share in self._shares.values() if share.due_s <= now_s]
        if not due:
            return []
        times = self._ping([SERVER, *(share.ip for share in due)], compensation.PAIRS)
        server_us = compensation.server_share_us(times[SERVER])
        snapshot = self._emulation.snapshot()
        done: list[Action] = []
        for share in due:
            if self._shares.get(share.node_id) is not share:  # removed or rebooted meanwhile
                continue
            shaped_us = _shaped_us(snapshot, share.node_id)
            if shaped_us is None:
                self._shares[share.node_id] = compensation.postpone(share, now_s)
                continue
            seen = compensation.observe(share, times[share.ip], shaped_us + server_us, time.monotonic())
            self._shares[share.node_id] = seen
            ports = [state.port for state in snapshot.of_node(share.node_id)]
            applied = [port.compensation_us - self._emulation.way_us(port.network.id) for port in ports]
            if seen.share_us is not None and any(compensation.is_significant(one, seen.share_us) for one in applied):
                done += self._emulation.compensate(share.node_id, seen.share_us)
        return done


def _shaped_us(snapshot: Snapshot, node_id: int) -> int | None:
    """The delay that the link of the node's walt-net port adds to a round trip."""
    links = [state.applied for state in snapshot.of_node(node_id) if state.port.network.id == WALT_NET_ID]
    return compensation.shaped_us(links[0]) if links else 0
