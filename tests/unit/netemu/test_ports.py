"""Names and labels: what is written on an interface is read back as it was."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.contracts.links import Direction, LinkModel
from services.contracts.nodes import Network
from services.netemu.ports import Port, bridge_name, helpers, network_alias, parse_port_alias, port_alias

numbers = st.integers(0, 10**6)
links = st.builds(
    LinkModel,
    up=st.builds(Direction, st.integers(0, 60_000_000), st.integers(0, 10_000).map(lambda k: k * 1000)),
    down=st.builds(Direction, st.integers(0, 60_000_000), st.integers(0, 10_000).map(lambda k: k * 1000)),
)
people = st.sampled_from(["", "alice", "bob"])
ports = st.builds(
    Port,
    node_id=numbers,
    node=st.just("vnode1"),
    owner=people,
    slot=st.integers(2, 30),
    network=st.builds(Network, numbers, st.just("home-net"), people),
    link=links,
    compensation_us=numbers,
)


@given(ports)
def test_alias_is_read_back(port):
    assert parse_port_alias(port_alias(port)) == port


@pytest.mark.parametrize("alias", ["", "tap to home-net", "walt helper vn1e2", network_alias(Network(5, "n", ""))])
def test_other_aliases_are_no_port(alias):
    assert parse_port_alias(alias) is None


def test_an_alias_fits_the_kernels_256_bytes():
    link = LinkModel(Direction(59_999_999, 99_999_999_000), Direction(58_999_999, 98_999_999_000))
    port = Port(10**6, "n" * 63, "o" * 32, 30, Network(10**6, "w" * 32, "p" * 32), link, 10**6)
    assert len(port_alias(port)) < 256


def test_kernel_names():
    port = Port(7, "a", "", 3, Network(5, "home-net", "alice"))
    assert (port.tap, port.bridge, bridge_name(0)) == ("vn7e3", "net5", "walt-net")
    assert helpers(port.tap) == {"node_end": "cn7e3", "bridge_end": "cb7e3", "ifb": "ib7e3"}


@pytest.mark.parametrize("asked_us, share_us, applied_us", [(10_000, 600, 9_400), (500, 600, 0), (0, 600, 0)])
def test_the_share_of_the_platform_is_taken_off(asked_us, share_us, applied_us):
    link = LinkModel(Direction(asked_us, 1_000_000), Direction(3_000, 2_000_000))
    port = Port(1, "a", "", 2, Network(5, "n", ""), link, share_us)
    assert port.applied == LinkModel(Direction(applied_us, 1_000_000), Direction(3_000, 2_000_000))
