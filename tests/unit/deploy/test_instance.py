import itertools
from ipaddress import IPv4Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.local.instance import (
    MAX_HOSTS,
    UNDERLAY,
    UPLINK_POOL,
    Instance,
    Uplink,
    choose_uplink,
    host_label,
    local_hosts,
    networks_of,
)
from services.vmrunner.uids import VM_UIDS, parse_range


@pytest.mark.parametrize("name", ["local", "a", "test12345", "abcdefghij"])
def test_names_that_make_an_interface_name(name: str) -> None:
    instance = Instance(name)
    assert len(instance.host_link) <= 15
    assert instance.namespace_file.name == instance.namespace == f"walt-{name}"


@pytest.mark.parametrize("name", ["", "abcdefghijk", "1a", "Local", "a-b", "a/b", "..", "a b", "é"])
def test_other_names_are_refused_with_the_rule(name: str) -> None:
    with pytest.raises(ValueError, match=f"'{name}' is not an instance name; allowed: .*10 characters"):
        Instance(name)


def test_instances_share_nothing_but_the_cache() -> None:
    one, other = Instance("one"), Instance("other")
    for name in ("state", "runtime", "namespace_file", "host_link", "supervisor_socket", "broker", "logs"):
        assert getattr(one, name) != getattr(other, name)


def test_the_uplink_of_a_name_is_always_the_same() -> None:
    assert choose_uplink("local", []) == choose_uplink("local", [IPv4Network("0.0.0.0/0"), IPv4Network("10.0.0.0/8")])


def test_a_default_route_is_no_clash_but_an_address_in_it_is() -> None:
    first = choose_uplink("local", [])
    second = choose_uplink("local", [IPv4Network(f"{first.inside}/32")])
    assert not second.network.overlaps(first.network)


@given(st.text(alphabet="abc123", min_size=1, max_size=9), st.lists(st.integers(0, 2**15 - 1), max_size=40))
def test_the_uplink_never_overlaps_what_is_taken(name: str, blocks: list[int]) -> None:
    taken = [IPv4Network((int(UPLINK_POOL.network_address) + 4 * block, 30)) for block in blocks]
    uplink = choose_uplink(name, taken)
    assert uplink.network.subnet_of(UPLINK_POOL)
    assert not any(uplink.network.overlaps(network) for network in (*taken, UNDERLAY))


def test_a_full_pool_is_refused() -> None:
    with pytest.raises(ValueError, match=r"198\.18\.0\.0/15 is in use"):
        choose_uplink("local", [UPLINK_POOL])


def test_both_ends_are_hosts_of_the_network() -> None:
    uplink = Uplink(IPv4Network("198.18.0.4/30"))
    assert (str(uplink.host), str(uplink.inside)) == ("198.18.0.5", "198.18.0.6")


def test_vms_of_two_instances_have_no_user_in_common() -> None:
    blocks = [IPv4Network(f"198.18.0.{4 * number}/30") for number in (0, 1, 2)] + [IPv4Network("198.19.255.252/30")]
    hosts = range(1, MAX_HOSTS + 1)
    ranges = [parse_range(Uplink(block).vm_uids(number)) for block in blocks for number in hosts]
    assert all(one.last < other.first for one, other in itertools.pairwise(ranges))
    assert ranges[0].first == 0x70000000 and ranges[-1].last <= 0x77FFFFFF < parse_range(VM_UIDS).first


def test_hosts_of_an_instance_share_nothing_but_their_wire() -> None:
    hosts = local_hosts(Instance("one"), "lab", 3)
    assert [host.label for host in hosts] == ["lab", "lab-2", "lab-3"]
    for name in ("state", "runtime", "namespace", "underlay"):
        assert len({getattr(host, name) for host in hosts}) == 3
    assert all(host.underlay in UNDERLAY for host in hosts)
    assert not hosts[0].enter and hosts[1].enter[1] == "--net=/run/netns/walt-one-2"


@pytest.mark.parametrize(
    ("hostname", "label"),
    [("lab1", "lab1"), ("Lab1.example.org", "lab1"), ("my_host", "local"), ("", "local"), ("-x", "local")],
)
def test_host_label(hostname: str, label: str) -> None:
    assert host_label(hostname) == label


def test_what_ip_prints_as_networks() -> None:
    found = networks_of(["default", "10.0.0.0/8", "192.0.2.2", "198.18.0.5/30", "ff00::/8", "fe80::1"])
    assert [str(network) for network in found] == ["0.0.0.0/0", "10.0.0.0/8", "192.0.2.2/32", "198.18.0.4/30"]
