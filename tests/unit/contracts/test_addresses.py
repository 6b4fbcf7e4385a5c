"""Addresses of walt-net: no two of server, virtual nodes and machines share one."""

import ipaddress

import pytest

from walt.contracts import walt_net_addresses


@pytest.mark.parametrize("subnet", ["192.168.172.0/22", "10.0.0.0/24", "10.77.0.0/28", "10.0.0.8/29"])
def test_every_address_is_of_one_kind(subnet):
    network = ipaddress.ip_network(subnet)
    machines = [one for one in network.hosts() if walt_net_addresses.is_of_machine(subnet, str(one))]
    virtual = list(walt_net_addresses.of_virtual_nodes(subnet))
    assert sorted([walt_net_addresses.server(subnet), *virtual, *machines]) == list(network.hosts())
    assert len({*virtual} & {*machines}) == 0
    assert (machines[0], machines[-1]) == walt_net_addresses.of_machines(subnet)


def test_the_upper_quarter_is_of_machines():
    first, last = walt_net_addresses.of_machines("192.168.172.0/22")
    assert (str(first), str(last)) == ("192.168.175.0", "192.168.175.254")
    assert str(next(walt_net_addresses.of_virtual_nodes("192.168.172.0/22"))) == "192.168.172.2"


def test_the_smallest_net_has_one_virtual_node():
    assert [str(one) for one in walt_net_addresses.of_virtual_nodes("10.0.0.0/30")] == ["10.0.0.2"]
    assert not walt_net_addresses.is_of_machine("10.0.0.0/30", "10.0.0.2")
