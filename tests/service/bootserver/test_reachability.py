"""Nodes that have booted are looked at now and then: silent, and back (B34)."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from services.bootserver.boot import reachability
from services.bootserver.boot.boot_records import BootRecord
from services.bootserver.boot.reachability import ReachabilityWatch
from services.kit import tasks
from tests.service.bootserver.world import NODE_IP, REQUEST
from tests.support.fakes.fake_service import FakeService, serving
from tests.support.wait import wait_until
from walt.contracts import bootserver, serialization
from walt.contracts.bootserver import NodeReachable


class Hearer(FakeService):
    name = "hearer"

    def __init__(self) -> None:
        super().__init__()
        self.heard: list[NodeReachable] = []

    def hears(self) -> list[tuple[str, str, Callable[[Any], None]]]:
        return [(bootserver.SERVICE, bootserver.NODE_REACHABLE, self._on_reachable)]

    def _on_reachable(self, payload: Any) -> None:
        self.heard.append(serialization.load(NodeReachable, payload))

    def said(self) -> list[bool]:
        return [one.answers for one in self.heard]


@pytest.fixture
def hearer(amqp_uri, monkeypatch):
    for name, seconds in (("LOOK_S", 0.2), ("AGAIN_S", 0.05), ("SILENT_S", 0.05), ("TURN_S", 0.05)):
        monkeypatch.setattr(reachability, name, seconds)
    monkeypatch.setattr("services.bootserver.boot.boots.TURN_S", 0.05)
    with serving(amqp_uri, hearer := Hearer()):
        yield hearer


def test_fault_b34_silence_is_announced_once_and_so_is_its_end(server, network, hearer):
    network.answering = {NODE_IP}
    server.publish()
    wait_until(lambda: hearer.said() == [True], 5)  # after a start, what holds is told
    before = time.time()
    network.answering = set()
    wait_until(lambda: hearer.said() == [True, False], 5)
    silent = hearer.heard[1]
    assert (silent.node_id, silent.run) == (7, 1) and before <= silent.since <= time.time()
    network.wait_for_probes(NODE_IP)
    network.answering = {NODE_IP}
    wait_until(lambda: hearer.said() == [True, False, True], 5)
    network.answering = set()
    wait_until(lambda: len(hearer.heard) == 4, 5)
    server.restart()
    wait_until(lambda: hearer.said() == [True, False, True, False, False], 5)


def test_node_that_boots_again_is_not_silent(server, network, hearer):
    network.answering = {NODE_IP}
    server.publish()
    wait_until(lambda: hearer.said() == [True], 5)
    network.answering = set()
    server.publish(replace(REQUEST, run=2))
    network.wait_for_probes(NODE_IP, 10)
    network.answering = {NODE_IP}
    wait_until(lambda: len(hearer.heard) == 2, 5)
    assert [(one.run, one.answers) for one in hearer.heard] == [(1, True), (2, True)]


class Nodes:
    """Many, of which each probe takes a moment."""

    def __init__(self, count: int) -> None:
        self.records = {
            one: BootRecord(replace(REQUEST, node_id=one, ip=f"node {one}"), 1.0, 2.0) for one in range(count)
        }
        self.kernel_probes: list[str] = []
        self.banner_probes: list[str] = []
        self.silent: set[str] = set()
        self.now = self.most = 0

    def kernel_answers(self, address: str) -> bool:
        self.kernel_probes.append(address)
        return self._probe(address)

    def sends_banner(self, address: str) -> bool:
        self.banner_probes.append(address)
        return self._probe(address)

    def _probe(self, address: str) -> bool:
        self.now += 1
        self.most = max(self.most, self.now)
        tasks.sleep(0.02)
        self.now -= 1
        return address not in self.silent


def test_many_nodes_are_looked_at_a_few_at_a_time_and_cheaply(monkeypatch):
    monkeypatch.setattr(reachability, "LOOK_S", 0.0)
    monkeypatch.setattr(reachability, "MAX_AT_ONCE", 10)
    monkeypatch.setattr(reachability, "MAX_PER_TURN", 25)
    nodes, told = Nodes(200), []
    nodes.silent = {"node 3"}
    nodes.broker_is_away = True  # at the first word

    def tell(event):
        if nodes.broker_is_away:
            nodes.broker_is_away = False
            return False
        told.append(event)
        return True

    watch = ReachabilityWatch(nodes.records.get, nodes.kernel_answers, nodes.sends_banner, tell)
    for record in nodes.records.values():
        watch.watch(record)
    watch.turn()
    tasks.sleep(0)
    assert nodes.now == 10
    end = time.monotonic() + 20
    while len({*nodes.kernel_probes}) < 200 and time.monotonic() < end:
        watch.turn()
        tasks.sleep(0.005)
    assert len({*nodes.kernel_probes}) == 200 and nodes.most == 10
    asked = {address for address in nodes.banner_probes if nodes.kernel_probes.count(address) < 9}
    assert asked <= {"node 3"}  # the ssh servers of those that answer are left in peace
    nodes.records.clear()
    tasks.sleep(0.1)
    watch.turn()
    tasks.sleep(0.1)
    assert nodes.now == 0
