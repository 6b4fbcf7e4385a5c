"""Which interface joins walt-net, and when there is nothing to do."""

import pytest

from services.netemu.ports.plan import KernelInterface
from services.netemu.ports.port import network_alias
from services.netemu.uplink import find_interface, is_joined
from walt.contracts.errors import Failed
from walt.contracts.nodes import Network

MAC = "52:57:41:4c:54:aa"
WALT_NET = KernelInterface("walt-net", "bridge", network_alias(Network(0, "walt-net", "")), "")
ETH1 = KernelInterface("eth1", "macvlan", "", "", MAC, True)
INTERFACES = (WALT_NET, ETH1, KernelInterface("eth0", "veth", "", "", "02:00:00:00:00:01", True))


@pytest.mark.parametrize("wanted", ["eth1", MAC, MAC.upper()])
def test_it_is_found_by_name_and_by_mac(wanted):
    assert find_interface(INTERFACES, wanted) == ETH1


@pytest.mark.parametrize(
    "interfaces, wanted, why",
    [
        (INTERFACES, "eth2", "eth2"),
        ((*INTERFACES, KernelInterface("eth1.5", "vlan", "", "", MAC)), MAC, "eth1, eth1.5"),
        (INTERFACES, "walt-net", "not an interface to the outside"),
        ((*INTERFACES, KernelInterface("lo", "", "", "")), "lo", "not an interface to the outside"),
        ((WALT_NET, KernelInterface("eth1", "veth", "", "br0")), "eth1", "part of br0"),
        ((ETH1,), "eth1", "no walt-net"),
        ((ETH1, KernelInterface("walt-net", "bridge", "", "")), "eth1", "no walt-net"),
    ],
)
def test_what_cannot_join_is_said(interfaces, wanted, why):
    with pytest.raises(Failed, match=why):
        find_interface(interfaces, wanted)


def test_it_is_in_when_it_is_a_port_up_and_has_no_address():
    joined = KernelInterface("eth1", "veth", "", "walt-net", MAC, True)
    assert is_joined(joined, {"walt-net"})
    assert not is_joined(joined, {"walt-net", "eth1"})
    assert not is_joined(KernelInterface("eth1", "veth", "", "walt-net", MAC, False), ())
    assert not is_joined(ETH1, ())
