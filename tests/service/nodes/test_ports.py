"""Links and ports of nodes, of which a fake netemu reports."""

from __future__ import annotations

import pytest

from services.nodes.peers import agents
from tests.service.nodes.world import HOST
from tests.support.fakes.netemu import FakeNetemu
from tests.support.wait import wait_until
from walt.contracts import links
from walt.contracts.bootserver import SetAddresses
from walt.contracts.links import LinkModel
from walt.contracts.netemu import CABLE, PortReport, Traffic
from walt.contracts.vmrunner import BOOTED


@pytest.fixture
def ports(platform):
    """What the netemu of the host reports."""
    netemu = FakeNetemu(HOST)
    platform.start(netemu)
    yield netemu.ports
    platform.stop(netemu)


def applied_port(platform, name, position, **changes):
    """The port of that interface as its netemu reports it once it has applied the spec."""
    spec = platform.spec(name)
    one = spec.interfaces[position]
    values = {"backend": CABLE, "requested": one.link, "applied": one.link, "compensation_us": 0, **changes}
    network, owner, tap = one.network.name, one.network.owner, f"vn{spec.id}e{one.slot}"
    return PortReport(spec.id, spec.name, spec.owner, network, owner, one.slot, tap, **values)


def create(platform, *names, networks="networks=walt-net,home-net[lat=10ms,bw=5Mbps]", user="alice"):
    platform.call(user, "create_nodes", list(names), settings=[networks])


def latency_us(spec):
    return spec.interfaces[1].link.up.latency_us


def test_link_changes_only_what_is_given_and_is_announced(platform):
    create(platform, "v1", "v2")
    answer = platform.call("alice", "link_nodes", "v1,v2", "home-net", ["lat=20ms", "loss=1%"])
    assert [one["config"]["networks"] for one in answer["nodes"]] == [
        "walt-net,home-net[lat=20ms,bw=5Mbps,loss=1%]"
    ] * 2
    assert answer["notes"] == []  # it is live
    wait_until(lambda: {spec.name for spec in platform.vmrunner.specs if latency_us(spec) == 20_000} == {"v1", "v2"})
    assert {one.boot for one in platform.vmrunner.specs} == {1}
    answer = platform.call("alice", "link_nodes", "v1", "home-net", [], replace=True)
    assert answer["nodes"][0]["config"]["networks"] == "walt-net,home-net"


def test_a_carrier_is_live_announced_and_shown(platform, ports):
    create(platform, "v1")
    platform.apply(platform.report("v1", BOOTED))
    answer = platform.call("alice", "link_nodes", "v1", "home-net", ["carrier=down"])
    assert answer["nodes"][0]["config"]["networks"] == "walt-net,home-net[lat=10ms,bw=5Mbps,carrier=down]"
    assert answer["notes"] == []
    wait_until(lambda: platform.vmrunner.specs[-1].interfaces[1].link.no_carrier)
    assert platform.vmrunner.specs[-1].boot == 1
    asked = platform.spec("v1").interfaces[1].link
    ports[:] = [applied_port(platform, "v1", 1, requested=asked.of_frames, applied=asked.of_frames)]
    (cut,) = [one for one in platform.call("alice", "get_ports", "v1") if one["network"] == "home-net"]
    assert (cut["asked"], cut["state"]) == ("lat=10ms,bw=5Mbps,carrier=down", "no carrier")
    refused = platform.refusal("alice", "link_nodes", "v1", "walt-net", ["carrier=down"])
    assert refused.startswith("InvalidRequest: v1: the link to walt-net is not possible: 'carrier=down'")
    setting = ["networks=walt-net,home-net[lat=10ms,bw=5Mbps]"]
    answer = platform.call("alice", "configure_nodes", "v1", setting)
    assert (answer["notes"], platform.spec("v1").interfaces[1].link.no_carrier) == ([], False)


def test_an_address_is_live_announced_and_shown(platform, ports):
    create(platform, "v1", "v2", networks="networks=walt-net,home-net")
    platform.apply(platform.report("v1", BOOTED))
    before = platform.spec("v1").interfaces[1]
    assert before.addresses[0] == "10.64.0.1/24"
    answer = platform.call("alice", "link_nodes", "v1", "home-net", ["addr=192.168.55.2/24"])
    assert answer["nodes"][0]["config"]["networks"] == "walt-net,home-net[addr=192.168.55.2/24]"
    assert answer["notes"] == []
    wait_until(lambda: platform.vmrunner.specs[-1].interfaces[1].addresses == ("192.168.55.2/24",))
    assert (platform.vmrunner.specs[-1].boot, platform.spec("v1").interfaces[1].mac) == (1, before.mac)
    refused = platform.refusal("alice", "link_nodes", "v2", "home-net", ["addr=192.168.55.2/24"])
    assert refused.startswith("Conflict: home-net: 192.168.55.2 is the address of another node there")
    given = SetAddresses(platform.spec("v1").id, before.mac, before.addresses, "it is being set")
    platform.bootserver.set_addresses.append(given)
    home_net = platform.call("alice", "get_ports", "v1")[1]
    assert home_net["addresses"] == ["192.168.55.2/24"]
    assert (home_net["applied_addresses"], home_net["address_reason"]) == (list(before.addresses), "it is being set")
    automatic = platform.call("alice", "link_nodes", "v1", "home-net", ["addr=auto"])
    assert automatic["nodes"][0]["config"]["networks"] == "walt-net,home-net"
    assert platform.spec("v1").interfaces[1].addresses == before.addresses


def test_link_is_its_owners_and_all_or_nothing(platform):
    create(platform, "a1", "a2")
    create(platform, "b1", user="bob")
    refused = platform.refusal("alice", "link_nodes", "a1,b1", "home-net", ["lat=1ms"])
    assert refused == "NotOwner: node 'b1' belongs to bob"
    platform.call("alice", "configure_nodes", "a2", ["networks=walt-net"])
    refused = platform.refusal("alice", "link_nodes", "a1,a2", "home-net", ["lat=1ms"])
    assert refused == "NotFound: node 'a2' has no network 'home-net'; it has walt-net"
    refused = platform.refusal("alice", "link_nodes", "a1", "home-net", ["lat=1", "wet=1%"])
    assert refused.startswith("InvalidRequest") and "'lat=1'" in refused and "'wet=1%'" in refused
    assert platform.spec("a1").interfaces[1].link.up.latency_us == 10_000


@pytest.mark.parametrize(
    "args", [["v1", "home-net", "lat=1ms"], ["v1", 5, []], ["v1", "home-net", [], "yes"], [None, "home-net", []]]
)
def test_arguments_of_any_kind_are_refused_with_a_sentence(platform, args):
    assert platform.refusal("alice", "link_nodes", *args).startswith("InvalidRequest")


def test_ports_are_those_of_the_nodes_asked_for(platform, ports):
    create(platform, "v1")
    create(platform, "b1", user="bob")
    platform.apply(platform.report("v1", BOOTED))
    applied = links.parse_options(LinkModel(), ["lat=9600us", "bw=5Mbps"])
    up = Traffic(10, 900, 1, 2)
    ports[:] = [
        applied_port(platform, "v1", 0),
        applied_port(platform, "v1", 1, applied=applied, compensation_us=400, up=up),
    ]
    walt_net, home_net = platform.call("alice", "get_ports", "my-nodes")
    assert (walt_net["network"], walt_net["interface"], walt_net["state"]) == ("walt-net", "ens2", "up")
    assert (home_net["asked"], home_net["applied"]) == ("lat=10ms,bw=5Mbps", "lat=9.6ms,bw=5Mbps")
    assert (home_net["owner"], home_net["backend"], home_net["state"]) == ("alice", CABLE, "up")
    assert home_net["up"] == {"frames": 10, "bytes": 900, "dropped": 1, "late": 2}
    seen = platform.call("bob", "get_ports", "all-nodes")
    assert [(one["node"], one["state"]) for one in seen] == [
        ("b1", "its node is delaying"),
        ("b1", "its node is delaying"),
        ("v1", "up"),
        ("v1", "up"),
    ]
    platform.call("alice", "link_nodes", "v1", "home-net", ["lat=30ms"])
    behind = platform.call("alice", "get_ports", "v1")[1]
    assert (behind["asked"], behind["state"]) == ("lat=30ms,bw=5Mbps", "its link has not followed yet")


def test_ports_of_a_host_that_is_away_are_as_asked(platform, monkeypatch):
    monkeypatch.setattr(agents, "ANSWER_S", 1.0)
    create(platform, "v1")
    (_, home_net) = platform.call("alice", "get_ports", "v1")
    assert (home_net["state"], home_net["applied"]) == (f"host {HOST} does not answer", None)
    assert platform.refusal("alice", "get_ports", "nix") == "NotFound: no node 'nix'"
    assert platform.call("alice", "get_ports", "free-nodes") == []
