"""The adapter that measures each node's own share of a round trip, by pinging it on walt-net."""

from __future__ import annotations

import time
from collections.abc import Callable

from services.contracts.nodes import WALT_NET_ID
from services.netemu import compensation
from services.netemu.compensation import Share
from services.netemu.emulation import Emulation
from services.netemu.ping import ping
from services.netemu.plan import Action, World

SERVER = "127.0.0.1"  # this namespace, which sends the pings

Ping = Callable[[list[str], int], dict[str, list[float]]]


class Calibration:
    def __init__(self, emulation: Emulation, ping: Ping = ping) -> None:
        self._emulation = emulation
        self._ping = ping
        self._shares: dict[int, Share] = {}

    def measure(self, node_id: int, ip: str) -> None:
        """Begin anew: the node has booted."""
        self._shares[node_id] = Share(node_id, ip, due_s=time.monotonic())

    def measure_unknown(self, node_id: int, ip: str) -> None:
        """It may be running since before this process: see whether it answers."""
        if node_id not in self._shares:
            self.measure(node_id, ip)

    def forget(self, node_id: int) -> None:
        self._shares.pop(node_id, None)

    def step(self) -> list[Action]:
        """One round for every node that is due; what changed on their ports."""
        now_s = time.monotonic()
        due = [share for share in self._shares.values() if share.due_s <= now_s]
        if not due:
            return []
        times = self._ping([SERVER, *(share.ip for share in due)], compensation.PAIRS)
        server_us = compensation.server_share_us(times[SERVER])
        world = self._emulation.world()
        done: list[Action] = []
        for share in due:
            if self._shares.get(share.node_id) is not share:  # removed or booted anew meanwhile
                continue
            shaped_us = _shaped_us(world, share.node_id)
            if shaped_us is None:
                self._shares[share.node_id] = compensation.later(share, now_s)
                continue
            seen = compensation.observe(share, times[share.ip], shaped_us + server_us, time.monotonic())
            self._shares[share.node_id] = seen
            applied = [state.port.compensation_us for state in world.of_node(share.node_id)]
            if seen.share_us is not None and any(compensation.is_worth_it(one, seen.share_us) for one in applied):
                done += self._emulation.compensate(share.node_id, seen.share_us)
        return done


def _shaped_us(world: World, node_id: int) -> int | None:
    """What the node's walt-net port delays on purpose, both ways."""
    links = [state.applied for state in world.of_node(node_id) if state.port.network.id == WALT_NET_ID]
    return compensation.shaped_us(links[0]) if links else 0
