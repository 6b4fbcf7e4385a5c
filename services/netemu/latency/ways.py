"""The way between hosts, as pings take it: half of a round trip is taken off what nodes send on a network that spans
hosts, as each node's own share is.

A port has one delay for all whom it reaches. A link must not become faster than requested: so the shortest way counts
where several hosts have nodes on a network, and none where two nodes on it are on this host. walt-net has all hosts.
"""

from __future__ import annotations

import statistics
from collections import Counter, defaultdict, deque
from collections.abc import Mapping, Set

from services.netemu.emulation import Emulation
from services.netemu.latency import compensation
from services.netemu.latency.calibration import Ping
from services.netemu.latency.ping import ping
from services.netemu.overlay.overlay import Overlay
from walt.contracts.nodes import WALT_NET_ID

KEPT_TIMES = 16  # of each host


def ways(
    remotes: Mapping[int, Set[str]], round_trips_us: Mapping[str, float], local: Mapping[int, int]
) -> dict[int, int]:
    """{network id: microseconds to take off}. remotes: addresses of hosts, by network; local: nodes here. Pure."""
    return {
        network_id: round(min(round_trips_us[one] for one in hosts) / 2) if local.get(network_id, 0) < 2 else 0
        for network_id, hosts in remotes.items()
        if hosts and hosts <= round_trips_us.keys()
    }


class Ways:
    def __init__(self, emulation: Emulation, overlay: Overlay, ping: Ping = ping) -> None:
        self._emulation = emulation
        self._overlay = overlay
        self._ping = ping
        self._times_us: dict[str, deque[float]] = defaultdict(lambda: deque(maxlen=KEPT_TIMES))
        self._applied_us: dict[int, int] = {}  # by network
        self._local = Counter[int]()  # nodes here, by network
        self._local_of = -1  # Emulation.ports_changed when these were counted

    def step(self) -> None:
        """Ping each other host once more, and apply what has changed by it."""
        self._measure()
        found = {address: statistics.median(times) for address, times in self._times_us.items() if times}
        stations, spanned = self._overlay.stations, set(self._overlay.spanned) - {WALT_NET_ID}
        if spanned:
            self._count_local()
        wanted = dict.fromkeys(self._applied_us, 0)
        wanted |= ways({one: stations.remotes(one) for one in spanned}, found, self._local)
        changed = {one: us for one, us in wanted.items() if self._is_news(one, us)}
        if changed:
            self._emulation.compensate_ways(changed)
            self._applied_us = {one: us for one, us in (self._applied_us | changed).items() if us}

    def _measure(self) -> None:
        others = {one.underlay for one in self._overlay.stations.others} if self._overlay.underlay else set[str]()
        for gone in self._times_us.keys() - others:
            del self._times_us[gone]
        if others:
            for address, times_us in self._ping(sorted(others), 1).items():
                self._times_us[address].extend(times_us)

    def _count_local(self) -> None:
        """Only after a port came or went: all interfaces are read for it."""
        changes = self._emulation.ports_changed
        if changes != self._local_of:
            ports = [state.port for state in self._emulation.snapshot().ports.values()]
            self._local = Counter(network_id for network_id, _ in {(one.network.id, one.node_id) for one in ports})
            self._local_of = changes

    def _is_news(self, network_id: int, way_us: int) -> bool:
        applied_us = self._applied_us.get(network_id, 0)
        return compensation.is_significant(applied_us, way_us) or (not way_us and bool(applied_us))
