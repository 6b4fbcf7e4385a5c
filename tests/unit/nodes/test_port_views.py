"""Ports of specs, joined with the reports of their host."""

from __future__ import annotations

from dataclasses import replace

import pytest

from services.nodes.domain.model import Node, Status
from services.nodes.domain.port_views import COMES, COMES_LATER, GOES, LAGS, NO_CARRIER, UP, views
from walt.contracts import links
from walt.contracts.bootserver import SetAddresses
from walt.contracts.links import LinkModel
from walt.contracts.netemu import CABLE, DIRECT, PortReport, Traffic
from walt.contracts.nodes import Interface, Network
from walt.contracts.settings import NodeConfig
from walt.contracts.vmrunner import BOOTED, BOOTING, DELAYING, STOPPED


def link(*options):
    return links.parse_options(LinkModel(), options)


WALT_NET, HOME_NET = Network(0, "walt-net", ""), Network(7, "home-net", "alice")
INTERFACES = (
    Interface(2, "52:54:00:00:00:01", WALT_NET),
    Interface(3, "52:54:00:00:00:02", HOME_NET, link("lat=10ms")),
)
NODE = Node("n", "h", "alice", "default", "10.0.0.2", NodeConfig(), Status(BOOTED, 0.0, ""), 5, interfaces=INTERFACES)


def report(slot=3, network=HOME_NET, **changes):
    values = {"backend": CABLE, "requested": link("lat=10ms"), "applied": link("lat=9700us"), "compensation_us": 300}
    return PortReport(5, "n", "alice", network.name, network.owner, slot, f"vn5e{slot}", **{**values, **changes})


WALT_PORT = report(2, WALT_NET, backend=DIRECT, requested=LinkModel(), applied=LinkModel(), compensation_us=0)


def states(*reports, state=BOOTED):
    node = replace(NODE, status=Status(state, 0.0, ""))
    return {(one.network, one.interface): one.state for one in views([node], {"h": [WALT_PORT, *reports]})}


def test_all_of_a_port():
    up, down = Traffic(10, 1000, 1, 2), Traffic(20, 2000, 3, 4)
    plain, home = views([NODE], {"h": [report(measured_latency_us=10_012, up=up, down=down), WALT_PORT]})
    assert (plain.network, plain.backend, plain.asked, plain.applied, plain.state) == ("walt-net", DIRECT, "", "", UP)
    assert (home.node, home.owner, home.network, home.interface) == ("n", "alice", "home-net", "ens3")
    assert (home.mac, home.backend, home.state) == ("52:54:00:00:00:02", CABLE, UP)
    assert (home.asked, home.applied, home.compensation_us) == ("lat=10ms", "lat=9.7ms", 300)
    assert (home.measured_latency_us, home.up, home.down) == (10_012, up, down)


@pytest.mark.parametrize(
    ("ports", "state", "shown"),
    [
        ([report()], BOOTED, UP),
        ([report(requested=link("lat=5ms"))], BOOTED, LAGS),
        ([report(backend="broken")], BOOTED, "broken: it passes nothing and is being repaired"),
        ([report()], STOPPED, "its node is stopped"),
        ([], BOOTED, COMES),
        ([], BOOTING, COMES),
        ([], DELAYING, "its node is delaying"),
        ([replace(report(), node_id=6)], BOOTED, COMES),
    ],
)
def test_state(ports, state, shown):
    assert states(*ports, state=state)["home-net", "ens3"] == shown


def test_interface_without_a_carrier_says_so():
    """Its host realises the rest of the link."""
    cut = replace(NODE, interfaces=(INTERFACES[0], replace(INTERFACES[1], link=link("lat=10ms", "carrier=down"))))
    (shown,) = [one for one in views([cut], {"h": [WALT_PORT, report()]}) if one.network == "home-net"]
    assert (shown.state, shown.asked, shown.applied) == (NO_CARRIER, "lat=10ms,carrier=down", "lat=9.7ms")
    off = replace(cut, status=Status(STOPPED, 0.0, ""))
    assert views([off], {"h": [WALT_PORT, report()]})[1].state == "its node is stopped"


def test_interface_keeps_its_slot_until_the_next_boot():
    assert states(report(4)) == {("walt-net", "ens2"): UP, ("home-net", "ens4"): "it is ens3 from the next boot on"}


def test_interface_of_another_network_is_another_one():
    """The slot of a running machine is taken until it is free."""
    others = report(network=Network(9, "home-net", "bob"))
    assert [one.state for one in views([NODE], {"h": [WALT_PORT, others]})] == [UP, COMES_LATER, GOES]


def test_interface_that_the_settings_no_longer_have_is_still_shown():
    left = views([replace(NODE, interfaces=INTERFACES[:1])], {"h": [WALT_PORT, report()]})[1]
    assert (left.network, left.interface, left.mac, left.state, left.asked) == (
        "home-net",
        "ens3",
        "",
        GOES,
        "lat=10ms",
    )


def test_addresses_that_the_running_system_was_given():
    asked = replace(NODE, interfaces=(INTERFACES[0], replace(INTERFACES[1], addresses=("10.64.0.2/24",))))
    given = SetAddresses(5, "52:54:00:00:00:02", ("10.64.0.1/24",), "it is being set")

    def home(node, *set_addresses):
        found = views([node], {"h": [WALT_PORT, report()]}, set_addresses)[1]
        return found.addresses, found.applied_addresses, found.address_reason

    assert home(asked, given) == (("10.64.0.2/24",), ("10.64.0.1/24",), "it is being set")
    assert home(asked, replace(given, node_id=6)) == (("10.64.0.2/24",), None, "")
    assert home(replace(asked, status=Status(BOOTING, 0.0, "")), given) == (("10.64.0.2/24",), None, "")


def test_host_that_does_not_answer():
    other = replace(NODE, id=6, name="m", host="lab2", interfaces=INTERFACES[:1])
    both = views([NODE, other], {"h": None, "lab2": [replace(WALT_PORT, node_id=6)]})
    assert [(one.node, one.state, one.applied) for one in both] == [
        ("n", "host h does not answer", None),
        ("n", "host h does not answer", None),
        ("m", UP, ""),
    ]
