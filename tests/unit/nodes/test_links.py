"""The link of one network, changed option by option."""

from __future__ import annotations

from dataclasses import replace

import pytest

from services.nodes.domain import links
from services.nodes.domain.model import Node, Status
from walt.contracts.errors import InvalidRequest, NotFound
from walt.contracts.network_uses import format_networks, parse_networks
from walt.contracts.settings import NodeConfig
from walt.contracts.vmrunner import BOOTED

PLAIN = Node("plain", "h", "alice", "default", "10.0.0.2", NodeConfig(), Status(BOOTED, 0.0, ""), id=1)


def node(name, networks):
    return replace(PLAIN, name=name, config=NodeConfig(networks=parse_networks(networks)))


N = node("n", "walt-net,home-net[lat=10ms,bw=5Mbps],lab[lat=1ms]")


def networks(options, from_plain=False, network="home-net"):
    return format_networks(links.linked([N], links.parse(network, options, from_plain))[0].config.networks)


@pytest.mark.parametrize(
    ("options", "from_plain", "home_net"),
    [
        (["lat=20ms"], False, "home-net[lat=20ms,bw=5Mbps]"),
        (["loss=1%", "lat=0us"], False, "home-net[bw=5Mbps,loss=1%]"),
        (["bw.down=1Mbps"], False, "home-net[lat=10ms,bw.up=5Mbps,bw.down=1Mbps]"),
        (["loss=1%"], True, "home-net[loss=1%]"),
        ([], True, "home-net"),
        (["carrier=down"], False, "home-net[lat=10ms,bw=5Mbps,carrier=down]"),
        (["carrier=up"], False, "home-net[lat=10ms,bw=5Mbps]"),
        (["addr=10.1.2.7/24"], False, "home-net[lat=10ms,bw=5Mbps,addr=10.1.2.7/24]"),
        (["addr=none", "lat=1ms"], True, "home-net[lat=1ms,addr=none]"),
    ],
)
def test_options_go_onto_the_present_link_or_a_plain_one(options, from_plain, home_net):
    assert networks(options, from_plain) == f"walt-net,{home_net},lab[lat=1ms]"


def test_the_platforms_network_has_a_link_too():
    assert networks(["lat=5ms"], network="walt-net").startswith("walt-net[lat=5ms],home-net[lat=10ms,bw=5Mbps]")


def test_the_platforms_network_keeps_its_carrier():
    (fault,) = refusal(InvalidRequest, [N], "walt-net", ["carrier=down"])
    assert fault == (
        "n: the link to walt-net is not possible: 'carrier=down' is not for walt-net; "
        "allowed: up, as the node boots and is reached over it"
    )
    assert networks(["carrier=up"], network="walt-net").startswith("walt-net,")


def test_an_address_stays_unless_another_is_given():
    (kept,) = links.linked([node("a", "walt-net,home-net[addr=10.1.2.7/24]")], links.parse("home-net", [], True))
    assert format_networks(kept.config.networks) == "walt-net,home-net[addr=10.1.2.7/24]"
    (fault,) = refusal(InvalidRequest, [N], "walt-net", ["addr=10.1.2.7/24"])
    assert fault.startswith("'addr=10.1.2.7/24' is not for walt-net; allowed: without")
    faults = refusal(InvalidRequest, [N], "home-net", ["addr=10.1.2.7", "addr=none", "lat=x"])
    assert [one.split(" is ")[0] for one in faults] == ["'lat=x'", "'addr=10.1.2.7'", "addr"]


def test_link_that_is_as_before_changes_nothing():
    assert links.linked([N], links.parse("home-net", ["lat=10ms"], False))[0] is N
    assert links.linked([N], links.parse("home-net", ["lat=11ms"], False))[0].version == N.version + 1


def refusal(error, nodes, network, options):
    with pytest.raises(error) as refused:
        links.linked(nodes, links.parse(network, options, False))
    return refused.value.args


def test_all_faults_of_the_options_are_told():
    faults = refusal(
        InvalidRequest, [N], "home-net", ["lat=x", "speed=1", "loss", "bw=1Mbps", "bw=2Mbps", "lat.in=1ms"]
    )
    assert [sentence.split(" is ")[0] for sentence in faults] == [
        "'lat=x'",
        "'speed=1'",
        "'loss'",
        "'lat.in=1ms'",
        "bw",
    ]
    assert all("allowed: " in sentence for sentence in faults)


def test_no_option_at_all_is_a_mistake():
    assert "--replace" in refusal(InvalidRequest, [N], "home-net", [])[0]


def test_every_node_where_it_would_not_go_together_is_told():
    other = node("m", "walt-net,home-net[lat=1s]")
    (faults,) = refusal(InvalidRequest, [N, other], "home-net", ["jitter=50ms"])
    assert faults.startswith("n: the link to home-net") and "jitter=50ms exceeds lat=10ms" in faults


def test_bad_options_and_nodes_without_the_network_are_told_together():
    faults = refusal(InvalidRequest, [N, PLAIN], "home-net", ["lat=x"])
    assert faults[0].startswith("'lat=x'") and faults[1].startswith("node 'plain' has no network")


def test_every_node_without_the_network_is_told():
    faults = refusal(NotFound, [N, PLAIN, node("m", "lab,walt-net")], "home-net", ["lat=1ms"])
    assert faults == (
        "node 'plain' has no network 'home-net'; it has walt-net",
        "node 'm' has no network 'home-net'; it has lab, walt-net",
    )
