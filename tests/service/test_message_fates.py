"""Requests and events that come twice, late and out of order: what holds in the end is what was said last."""

from __future__ import annotations

import json
import random
import time
from dataclasses import replace

import pytest

from services.netemu.filters import nat as nat_filter
from tests.service.netemu_agent import Agent
from tests.service.test_netemu import HOME, NODE, WALT
from tests.support.fakes.fake_service import serving
from tests.support.fakes.nodes import FakeNodes
from tests.support.hostile_delivery import SETTLED_S
from tests.support.wait import wait_until
from walt.contracts import nodes
from walt.contracts.links import Direction, LinkModel
from walt.contracts.nodes import NodeRemoved, NodeWanted
from walt.contracts.settings import NAT

pytestmark = pytest.mark.usefixtures("as_root")

HOSTILE = "tests.support.hostile_delivery"


@pytest.fixture(scope="module")
def fake_nodes(amqp_uri):
    fake = FakeNodes()
    with serving(amqp_uri, fake):
        yield fake


@pytest.fixture(params=[1, 2])
def agent(amqp_uri, fake_nodes, tmp_path, request):
    fake_nodes.specs.clear()
    agent = Agent(amqp_uri, tmp_path)
    agent.module = [HOSTILE, "services.netemu", str(request.param)]
    try:
        agent.start()
        yield agent
    finally:
        agent.close()


def with_latency(version: int, **changes: object) -> NodeWanted:
    interfaces = (WALT, replace(HOME, link=LinkModel(up=Direction(1000 * version))))
    return replace(NODE, version=version, interfaces=interfaces, **changes)


def nat_addresses(agent: Agent) -> set[str]:
    listed = json.loads(agent.run("nft", "-j", "list", "set", "inet", nat_filter.TABLE, nat_filter.NODES))
    (found,) = (one["set"] for one in listed["nftables"] if "set" in one)
    return set(found.get("elem", ()))


def test_netemu_keeps_the_newest_link_of_a_node(agent, fake_nodes):
    agent.attach(with_latency(1))
    for version in range(2, 12):
        fake_nodes.put(with_latency(version))
    wait_until(lambda: agent.ports() and agent.ports()[1].applied.up.latency_us == 11_000)
    time.sleep(SETTLED_S)
    assert [one.applied.up.latency_us for one in agent.ports()] == [0, 11_000]
    assert agent.interfaces() >= {"vn1e2", "vn1e3"}


def test_fault_nothing_is_left_of_a_removed_node(agent, fake_nodes):
    """A late spec gave its address a way out again, which was another node's by then."""
    node = with_latency(1, netsetup=NAT)
    agent.attach(node)
    for version in range(1, 5):
        fake_nodes.put(replace(node, version=version))
    wait_until(lambda: nat_addresses(agent) == {node.ip})
    fake_nodes.put(replace(node, version=5, power=nodes.ABSENT))
    fake_nodes.remove(node.id)
    wait_until(lambda: agent.ports() == [])
    time.sleep(SETTLED_S)
    fake_nodes.announce(nodes.NODE_WANTED, replace(node, version=4, registry=fake_nodes.registry))
    time.sleep(SETTLED_S)
    assert agent.ports() == [] and agent.interfaces() == {"walt-net"}
    assert nat_addresses(agent) == set()


def test_fault_the_next_node_with_an_address_keeps_its_way_out(agent, fake_nodes):
    """A late message about the former one took it."""
    former, following = with_latency(1, netsetup=NAT), replace(NODE, id=9, name="next", netsetup=NAT)
    fake_nodes.put(former)
    fake_nodes.put(replace(former, version=2, power=nodes.ABSENT))
    fake_nodes.remove(former.id)
    fake_nodes.put(following)
    time.sleep(2 * SETTLED_S)
    late = replace(former, version=2, power=nodes.ABSENT, registry=fake_nodes.registry)
    fake_nodes.announce(nodes.NODE_WANTED, late)
    time.sleep(SETTLED_S)
    assert nat_addresses(agent) == {following.ip}


def test_stations_of_other_hosts_end_with_their_nodes(agent, fake_nodes):
    elsewhere = replace(NODE, id=8, name="far", host="other", netsetup=NAT, ip="192.168.172.8")
    for version in range(1, 4):
        fake_nodes.put(replace(elsewhere, version=version))
    wait_until(lambda: nat_addresses(agent) == {elsewhere.ip})
    chance = random.Random(1)
    for event, payload in chance.sample(
        [
            (nodes.NODE_WANTED, replace(elsewhere, version=3)),
            (nodes.NODE_WANTED, replace(elsewhere, version=4, power=nodes.ABSENT)),
            (nodes.NODE_REMOVED, NodeRemoved(8, "far", "other", fake_nodes.registry)),
        ],
        3,
    ):
        fake_nodes.announce(event, payload)
    time.sleep(2 * SETTLED_S)
    assert nat_addresses(agent) == set()
