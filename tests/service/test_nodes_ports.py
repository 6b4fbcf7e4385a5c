"""Links and ports of nodes on a real RabbitMQ, with a netemu that says what the tests tell it."""

from __future__ import annotations

import pytest

from services.contracts import links, wire
from services.contracts.links import LinkModel
from services.contracts.netemu import CABLE, PortReport, Traffic
from services.contracts.vmrunner import BOOTED, VM_CHANGED
from services.kit.entrypoints import internal
from services.nodes import hosts
from tests.service.test_nodes import HOST, FakeRunner, platform, refusal, running, until  # noqa: F401


class FakeNetemu:
    name = f"netemu@{HOST}"
    ports: list[PortReport] = []

    @internal
    def list_ports(self):
        return wire.dump_all(self.ports)


@pytest.fixture
def netemu(platform):  # noqa: F811
    FakeNetemu.ports.clear()
    platform.start(FakeNetemu)
    return FakeNetemu.ports


def real(platform, name, place, **changes):  # noqa: F811
    """The port of that interface as a netemu would report it that has followed."""
    wish = platform.wish(name)
    one = wish.interfaces[place]
    values = {"backend": CABLE, "asked": one.link, "applied": one.link, "compensation_us": 0, **changes}
    network, owner, tap = one.network.name, one.network.owner, f"vn{wish.id}e{one.slot}"
    return PortReport(wish.id, wish.name, wish.owner, network, owner, one.slot, tap, **values)


def create(platform, *names, networks="networks=walt-net,home-net[lat=10ms,bw=5Mbps]", user="alice"):  # noqa: F811
    platform.ask(user, "create_nodes", list(names), settings=[networks])


def latency_us(wanted):
    return wanted.interfaces[1].link.up.latency_us


def test_link_changes_only_what_is_given_and_is_announced(platform):  # noqa: F811
    create(platform, "v1", "v2")
    answer = platform.ask("alice", "link_nodes", "v1,v2", "home-net", ["lat=20ms", "loss=1%"])
    assert [one["config"]["networks"] for one in answer["nodes"]] == [
        "walt-net,home-net[lat=20ms,bw=5Mbps,loss=1%]"
    ] * 2
    assert answer["notes"] == []  # it is live
    until(lambda: {one.name for one in FakeRunner.wanted if latency_us(one) == 20_000} == {"v1", "v2"})
    assert {one.boot for one in FakeRunner.wanted} == {1}
    answer = platform.ask("alice", "link_nodes", "v1", "home-net", [], replace=True)
    assert answer["nodes"][0]["config"]["networks"] == "walt-net,home-net"


def test_link_is_its_owners_and_all_or_nothing(platform):  # noqa: F811
    create(platform, "a1", "a2")
    create(platform, "b1", user="bob")
    said = refusal(platform, "alice", "link_nodes", "a1,b1", "home-net", ["lat=1ms"])
    assert said == "NotOwner: node 'b1' belongs to bob"
    platform.ask("alice", "configure_nodes", "a2", ["networks=walt-net"])
    said = refusal(platform, "alice", "link_nodes", "a1,a2", "home-net", ["lat=1ms"])
    assert said == "NotFound: node 'a2' has no network 'home-net'; it has walt-net"
    said = refusal(platform, "alice", "link_nodes", "a1", "home-net", ["lat=1", "wet=1%"])
    assert said.startswith("InvalidRequest") and "'lat=1'" in said and "'wet=1%'" in said
    assert platform.wish("a1").interfaces[1].link.up.latency_us == 10_000


@pytest.mark.parametrize(
    "args", [["v1", "home-net", "lat=1ms"], ["v1", 5, []], ["v1", "home-net", [], "yes"], [None, "home-net", []]]
)
def test_arguments_of_any_kind_are_refused_with_a_sentence(platform, args):  # noqa: F811
    assert refusal(platform, "alice", "link_nodes", *args).startswith("InvalidRequest")


def test_ports_are_those_of_the_nodes_asked_for(platform, netemu):  # noqa: F811
    create(platform, "v1")
    create(platform, "b1", user="bob")
    platform.say(VM_CHANGED, platform.report("v1", BOOTED))
    until(lambda: platform.node("v1")["state"] == BOOTED)
    applied = links.parse_options(LinkModel(), ["lat=9600us", "bw=5Mbps"])
    up = Traffic(10, 900, 1, 2)
    netemu[:] = [real(platform, "v1", 0), real(platform, "v1", 1, applied=applied, compensation_us=400, up=up)]
    walt_net, home_net = platform.ask("alice", "get_ports", "my-nodes")
    assert (walt_net["network"], walt_net["interface"], walt_net["state"]) == ("walt-net", "ens2", "up")
    assert (home_net["asked"], home_net["applied"]) == ("lat=10ms,bw=5Mbps", "lat=9.6ms,bw=5Mbps")
    assert (home_net["owner"], home_net["backend"], home_net["state"]) == ("alice", CABLE, "up")
    assert home_net["up"] == {"frames": 10, "bytes": 900, "dropped": 1, "late": 2}
    seen = platform.ask("bob", "get_ports", "all-nodes")
    assert [(one["node"], one["state"]) for one in seen] == [
        ("b1", "its node is delaying"),
        ("b1", "its node is delaying"),
        ("v1", "up"),
        ("v1", "up"),
    ]
    platform.ask("alice", "link_nodes", "v1", "home-net", ["lat=30ms"])
    late = platform.ask("alice", "get_ports", "v1")[1]
    assert (late["asked"], late["state"]) == ("lat=30ms,bw=5Mbps", "its link has not followed yet")


def test_ports_of_a_host_that_is_away_are_as_asked(platform, monkeypatch):  # noqa: F811
    if f"netemu@{HOST}" in platform.containers:
        platform.stop(f"netemu@{HOST}")
    monkeypatch.setattr(hosts, "ANSWER_S", 1.0)
    create(platform, "v1")
    (_, home_net) = platform.ask("alice", "get_ports", "v1")
    assert (home_net["state"], home_net["applied"]) == (f"host {HOST} does not answer", None)
    assert refusal(platform, "alice", "get_ports", "nix") == "NotFound: no node 'nix'"
    assert platform.ask("alice", "get_ports", "free-nodes") == []
