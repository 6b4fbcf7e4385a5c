"""Which interface joins walt-net, and when there is nothing to do."""

import pytest

from services.contracts.errors import Failed
from services.contracts.nodes import Network
from services.netemu.physical import find, is_in
from services.netemu.plan import Link
from services.netemu.ports import network_alias

MAC = "52:57:41:4c:54:aa"
WALT_NET = Link("walt-net", "bridge", network_alias(Network(0, "walt-net", "")), "")
ETH1 = Link("eth1", "macvlan", "", "", MAC, True)
LINKS = (WALT_NET, ETH1, Link("eth0", "veth", "", "", "02:00:00:00:00:01", True))


@pytest.mark.parametrize("wanted", ["eth1", MAC, MAC.upper()])
def test_it_is_found_by_name_and_by_mac(wanted):
    assert find(LINKS, wanted) == ETH1


@pytest.mark.parametrize(
    "links, wanted, why",
    [
        (LINKS, "eth2", "eth2"),
        ((*LINKS, Link("eth1.5", "vlan", "", "", MAC)), MAC, "eth1, eth1.5"),
        (LINKS, "walt-net", "no interface to the outside"),
        ((*LINKS, Link("lo", "", "", "")), "lo", "no interface to the outside"),
        ((WALT_NET, Link("eth1", "veth", "", "br0")), "eth1", "part of br0"),
        ((ETH1,), "eth1", "no walt-net"),
        ((ETH1, Link("walt-net", "bridge", "", "")), "eth1", "no walt-net"),
    ],
)
def test_what_cannot_join_is_said(links, wanted, why):
    with pytest.raises(Failed, match=why):
        find(links, wanted)


def test_it_is_in_when_it_is_a_port_up_and_has_no_address():
    joined = Link("eth1", "veth", "", "walt-net", MAC, True)
    assert is_in(joined, {"walt-net"})
    assert not is_in(joined, {"walt-net", "eth1"})
    assert not is_in(Link("eth1", "veth", "", "walt-net", MAC, False), ())
    assert not is_in(ETH1, ())
