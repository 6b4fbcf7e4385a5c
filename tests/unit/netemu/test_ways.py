"""What the way between hosts takes, by network."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from services.netemu.latency.ways import KEPT_TIMES, Ways, ways
from services.netemu.ports.plan import PortState, Snapshot
from services.netemu.ports.port import Port
from walt.contracts.links import LinkModel
from walt.contracts.netemu import CABLE, DIRECT
from walt.contracts.nodes import Network

NEAR, FAR = "10.7.0.2", "10.7.0.3"


def test_half_of_the_shortest_round_trip_counts():
    times = {NEAR: 400.0, FAR: 9000.0}
    assert ways({5: {NEAR}, 6: {FAR}, 7: {NEAR, FAR}, 8: set()}, times, {5: 1}) == {5: 200, 6: 4500, 7: 200}
    assert ways({5: {NEAR, "10.7.0.4"}}, times, {}) == {}, "one has not answered yet"
    assert ways({5: {FAR}}, times, {5: 2}) == {5: 0}, "two nodes here have no way between them"


class Rig:
    """times_us: what the next pings take, by host; applied: what Ways has changed."""

    def __init__(self) -> None:
        self.times_us = {NEAR: 400.0, FAR: 1000.0}
        self.remotes = {0: {NEAR, FAR}, 5: {NEAR}}
        self.applied: list[dict[int, int]] = []
        self.readings = 0
        self.ports = [port(1)]
        stations = SimpleNamespace(
            others=[SimpleNamespace(underlay=one) for one in (NEAR, FAR)], remotes=self.remotes.get
        )
        overlay = SimpleNamespace(underlay="10.7.0.1", stations=stations, spanned=self.remotes.keys())
        self.emulation = SimpleNamespace(snapshot=self.snapshot, compensate_ways=self.applied.append, ports_changed=1)
        self.ways = Ways(self.emulation, overlay, self.ping)

    def ping(self, addresses: list[str], pairs: int) -> dict[str, list[float]]:
        return {address: [self.times_us[address]] * 2 * pairs for address in addresses}

    def snapshot(self) -> Snapshot:
        self.readings += 1
        return Snapshot(CABLE, ports={one.tap: PortState(one, DIRECT, LinkModel()) for one in self.ports})


def port(node_id: int) -> Port:
    return Port(node_id, f"vnode{node_id}", "alice", 3, Network(5, "home-net", "alice"))


@pytest.fixture
def rig() -> Rig:
    return Rig()


def test_what_changes_is_applied_once(rig):
    for _ in range(3):
        rig.ways.step()
    assert (rig.applied, rig.readings) == ([{5: 200}], 1), "walt-net has hosts at all distances"
    rig.times_us[NEAR] = 420.0
    for _ in range(KEPT_TIMES):
        rig.ways.step()
    assert rig.applied == [{5: 200}], "too little to be worth it"


def test_one_slow_answer_is_not_the_way(rig):
    for _ in range(KEPT_TIMES):
        rig.ways.step()
    rig.times_us[NEAR] = 30_000.0
    rig.ways.step()
    assert rig.applied == [{5: 200}]
    for _ in range(KEPT_TIMES):
        rig.ways.step()
    assert rig.applied[-1] == {5: 15_000}


def test_a_network_that_spans_no_hosts_any_more_has_no_way(rig):
    rig.ways.step()
    del rig.remotes[5]
    rig.ways.step()
    rig.ways.step()
    assert rig.applied == [{5: 200}, {5: 0}]


def test_a_second_node_here_is_noticed(rig):
    rig.ways.step()
    rig.ports.append(port(2))
    rig.emulation.ports_changed += 1
    rig.ways.step()
    assert rig.applied == [{5: 200}, {5: 0}]
