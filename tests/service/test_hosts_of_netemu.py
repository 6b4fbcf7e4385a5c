"""netemu on two hosts, each a process in a network namespace of its own, joined by a wire; only `nodes` is a fake."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.service.conftest import PASSWORD, SECOND
from tests.service.netemu_agent import HOST, Agent
from tests.support.fakes.fake_service import serving
from tests.support.fakes.nodes import FakeNodes
from tests.support.wait import wait_until
from walt.contracts import hosts, netemu, nodes, serialization
from walt.contracts.agent_rights import account_of_host
from walt.contracts.errors import Failed
from walt.contracts.hosts import AgentPresent, HostAddress, HostAddresses
from walt.contracts.nodes import Interface, Network, NodeWanted
from walt.contracts.settings import NAT

pytestmark = pytest.mark.usefixtures("as_root")  # network namespaces

OTHER = SECOND  # with an account of its own
SERVERS = HostAddress(HOST, "10.7.0.1", "192.168.172.1", "52:57:41:4c:54:00")
OTHERS = HostAddress(OTHER, "10.7.0.2", "192.168.172.2", "52:57:41:4c:54:02")
BOTH = HostAddresses(HOST, (SERVERS, OTHERS))
NAT_SET = "nft list set inet walt_nat nat_nodes"


def node(node_id: int, host: str, version: int = 1, netsetup: str = "LAN") -> NodeWanted:
    home = Interface(3, f"52:54:00:00:01:0{node_id}", Network(5, "home-net", "alice", vni=0xABC005))
    interfaces = (Interface(2, f"52:54:00:00:00:0{node_id}", Network(0, "walt-net", "")), home)
    values = (
        "alice",
        nodes.POWER_ON,
        1,
        version,
        "default",
        f"192.168.172.1{node_id}",
        1,
        2**29,
        0,
        180,
        9,
        interfaces,
    )
    return NodeWanted(node_id, f"vnode{node_id}", host, *values, netsetup=netsetup)


class Registry(FakeNodes):
    """present: what agents have announced."""

    def __init__(self) -> None:
        super().__init__()
        self.present: list[AgentPresent] = []

    def hears(self) -> list[Any]:
        return [
            (netemu.SERVICE, hosts.AGENT_PRESENT, lambda it: self.present.append(serialization.load(AgentPresent, it)))
        ]


@pytest.fixture
def registry(amqp_uri: str) -> Iterator[Registry]:
    registry = Registry()
    with serving(amqp_uri, registry):
        yield registry


@pytest.fixture
def pair(
    amqp_uri: str, broker_port: int, vhost: str, registry: Registry, tmp_path: Path
) -> Iterator[tuple[Agent, Agent]]:
    """That of the server's host, and another, of which nodes does not know yet."""
    registry.addresses = HostAddresses(HOST, (SERVERS,))
    account, agents = f"{account_of_host(OTHER)}:{PASSWORD}", []
    for address in (SERVERS, OTHERS):
        (tmp_path / address.name).mkdir()
        where = {"WALT_UNDERLAY": address.underlay, "WALT_SERVER_HOST": HOST}
        login = "" if address is SERVERS else f"amqp://{account}@127.0.0.1:{broker_port}/{vhost}"
        agents.append(Agent(amqp_uri, tmp_path / address.name, address.name, login, **where))
    first, second = agents
    first.run("ip", "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", second.pid)
    for agent, address in zip(agents, (SERVERS, OTHERS), strict=True):
        agent.run("ip", "addr", "add", f"{address.underlay}/24", "dev", "eth0")
        agent.run("ip", "link", "set", "eth0", "up")
    try:
        for agent in agents:
            agent.start()
        yield first, second
    finally:
        for agent in agents:
            agent.close()


def join(registry: Registry, other: Agent) -> None:
    registry.addresses = BOTH
    registry.announce(hosts.HOSTS_CHANGED, BOTH)
    wait_until(lambda: f"{OTHERS.ip}/22" in other.run("ip", "-o", "addr"), what=other.log)


def spans(agent: Agent) -> bool:
    return {"vx5", "vb5", "vt5"} <= agent.interfaces()


def test_a_host_joins_once_nodes_has_told_its_address(registry, pair):
    first, second = pair
    wait_until(
        lambda: {(one.host, one.underlay) for one in registry.present} >= {(HOST, "10.7.0.1"), (OTHER, "10.7.0.2")}
    )
    assert {one.agent for one in registry.present} == {netemu.SERVICE}
    mine = node(2, OTHER)
    registry.specs[2] = mine
    with pytest.raises(Failed, match="this host has not joined yet"):
        second.attach(mine)
    assert "has not joined yet" in second.checks()["walt-net"].found
    join(registry, second)
    assert OTHERS.mac in second.run("ip", "link", "show", "walt-net")
    second.attach(mine)
    second.run("ping", "-c", "1", "-W", "5", SERVERS.ip)
    second.kill()
    second.run("ip", "addr", "add", "192.168.172.99/22", "dev", "walt-net")
    second.start()
    wait_until(lambda: "192.168.172.99" not in second.run("ip", "-o", "addr"))
    assert f"{OTHERS.ip}/22" in second.run("ip", "-o", "addr")


def test_tunnels_come_and_go_with_what_is_heard(registry, pair):
    first, second = pair
    join(registry, second)
    registry.put(node(1, HOST))
    first.attach(node(1, HOST))
    assert not spans(first)
    registry.put(node(2, OTHER))
    wait_until(lambda: spans(first), what=first.log)
    second.attach(node(2, OTHER))
    assert spans(second)
    assert first.metric("walt_tunnels") == 2
    assert first.metric('walt_tunnel_frames_total{bridge="walt-net",direction="out"}') is not None
    check = first.checks()["underlay"]
    assert (check.status, "more than 1450 bytes" in check.found) == ("ok", True), check
    first.kill()
    assert spans(first)
    first.start()
    wait_until(lambda: first.metric("walt_tunnels") == 2)
    registry.put(node(2, OTHER, 2, netsetup=NAT))
    wait_until(lambda: "192.168.172.12" in first.run(*NAT_SET.split()))
    assert "192.168.172.12" not in second.run(*NAT_SET.split()), "the gateway is the server's host"
    first.kill()
    registry.specs[2] = node(2, OTHER, 3)
    first.start()
    wait_until(lambda: "192.168.172.12" not in first.run(*NAT_SET.split()), what=first.log)
    registry.remove(2)
    wait_until(lambda: not spans(first))
    assert "Traceback" not in first.log() + second.log()


def test_a_node_that_moves_away_leaves_nothing_and_is_reached_there(registry, pair):
    first, second = pair
    join(registry, second)
    for number in (1, 3):
        registry.put(node(number, HOST))
        first.attach(node(number, HOST))
    registry.put(node(1, OTHER, 2))
    wait_until(lambda: {one.node_id for one in first.ports()} == {3})
    wait_until(lambda: spans(first))
    registry.put(node(1, HOST, 1))  # late
    registry.put(node(3, HOST, 2))
    second.attach(node(1, OTHER, 2))
    entries = first.run("bridge", "fdb", "show", "dev", "vx5")
    assert f"{node(1, OTHER).interfaces[1].mac} dst 10.7.0.2 self permanent" in entries


def test_a_lost_event_and_a_foreign_change_are_made_good(registry, pair):
    first, second = pair
    join(registry, second)
    registry.put(node(1, HOST))
    first.attach(node(1, HOST))
    registry.specs[2] = node(2, OTHER)  # nobody was told
    first.kill()
    first.run("ip", "link", "del", "vx0")
    first.start()
    wait_until(lambda: spans(first) and "vx0" in first.interfaces(), what=first.log)
    first.run("ping", "-c", "1", "-W", "5", OTHERS.ip)
