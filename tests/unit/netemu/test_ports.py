"""Names and labels: what is written on an interface is read back as it was."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.netemu.ports.port import Port, bridge_name, helpers, network_alias, parse_port_alias, port_alias
from walt.contracts.links import DIRECTION_OPTIONS, Direction, LinkModel
from walt.contracts.nodes import Network
from walt.contracts.trace_names import MAX_ID

LONGEST = "x" * 63, "o" * 32, "w" * 32, "p" * 32
MAXIMA = {option.field: option.maximum for option in DIRECTION_OPTIONS.values()} | {"trace": MAX_ID}
MOST = Direction(**MAXIMA)
IFALIAS_BYTES = 254  # the kernel's, less the NUL that is sent along

directions = st.builds(
    Direction,
    **{name: st.sampled_from([0, 1, min(7, maximum), maximum]) for name, maximum in MAXIMA.items()},
)
directions |= st.builds(Direction, **{name: st.integers(0, maximum) for name, maximum in MAXIMA.items()})
ids = st.integers(0, 2**31 - 1)
ports = st.builds(
    Port,
    node_id=ids,
    node=st.sampled_from(["vnode1", "a", "ort", LONGEST[0]]),
    owner=st.sampled_from(["", "alice", LONGEST[1]]),
    slot=st.integers(2, 31),
    network=st.builds(
        Network, ids, st.sampled_from(["home-net", LONGEST[2]]), st.sampled_from(["", "bob", LONGEST[3]])
    ),
    link=st.builds(LinkModel, directions, directions),
    compensation_us=st.integers(0, 1_000_000),
)


@given(ports)
def test_alias_is_read_back_and_fits_the_kernel(port):
    alias = port_alias(port)
    assert parse_port_alias(port.tap, alias) == port
    assert len(alias.encode()) <= IFALIAS_BYTES


def test_the_longest_alias_fits_the_kernel():
    node, owner, network, network_owner = LONGEST
    port = Port(2**31 - 1, node, owner, 31, Network(2**31 - 1, network, network_owner), LinkModel(MOST, MOST), 10**6)
    assert parse_port_alias(port.tap, port_alias(port)) == port
    assert 230 < len(port_alias(port)) <= IFALIAS_BYTES


SHAPED = Port(
    1,
    "vnode1",
    "alice",
    3,
    Network(5, "home-net", "bob"),
    LinkModel(Direction(10_000, 8_000_000, seed=7), Direction(0, 8_000_000)),
    600,
)


def test_the_link_is_written_as_users_write_it():
    assert port_alias(SHAPED) == "walt port vnode1 alice 5 home-net bob 600:lat=10ms,bw=8Mbps,seed.up=7"


def test_what_a_later_version_added_to_a_link_is_packed_too():
    """The label of the longest names has no room for a link in words."""
    node, owner, network, network_owner = LONGEST
    up = Direction(loss_ppm=1, burst_frames=8)
    down = Direction(10_000, jitter_us=1, distribution=1, seed=2**31 - 1)
    port = Port(1, node, owner, 2, Network(2**31 - 1, network, network_owner), LinkModel(up, down))
    assert port_alias(port).startswith(f"walt p{node} ")
    assert parse_port_alias(port.tap, port_alias(port)) == port


def test_a_port_that_an_older_version_labelled_is_known():
    """Ports outlive an upgrade of netemu: one that was not known would be wired anew, and lose frames."""
    older = "walt port vnode1 alice 5 home-net bob EX5|{EX(;l^^wlJ$xbV%2J8SV1{B~k;*hQ_Ir!xgqC$H`F8"
    assert parse_port_alias("vn1e3", older) == SHAPED


PACKED = "walt port vnode1 alice 0 walt-net - 00"
PLAIN = port_alias(Port(1, "vnode1", "alice", 2, Network(0, "walt-net", "")))


@pytest.mark.parametrize(
    "name, alias",
    [
        ("vn1e2", ""),
        ("vn1e2", "tap to home-net"),
        ("cn1e2", "walt helper vn1e2"),
        ("net5", network_alias(Network(5, "n", ""))),
        ("eth0", PLAIN),
        ("vn1e2", PACKED + "zzzzz" * 30),
        ("vn1e2", PACKED[:-1] + "\N{SNOWMAN}"),
        ("vn1e2", PACKED[:-1] + '"'),
        ("vn1e2", PLAIN + "lat"),
        ("vn1e2", PLAIN + "lat=fast"),
        ("vn1e2", PLAIN + "latency=1ms"),
        ("vn1e2", PLAIN.replace("0:", "x:")),
    ],
)
def test_other_interfaces_are_no_port(name, alias):
    assert parse_port_alias(name, alias) is None


def test_kernel_names():
    port = Port(7, "a", "", 3, Network(5, "home-net", "alice"))
    assert (port.tap, port.bridge, bridge_name(0)) == ("vn7e3", "net5", "walt-net")
    assert helpers(port.tap) == {"node_end": "cn7e3", "bridge_end": "cb7e3", "ifb": "ib7e3"}


@pytest.mark.parametrize("asked_us, share_us, applied_us", [(10_000, 600, 9_400), (500, 600, 0), (0, 600, 0)])
def test_the_share_of_the_platform_is_taken_off(asked_us, share_us, applied_us):
    link = LinkModel(Direction(asked_us, 1_000_000), Direction(3_000, 2_000_000))
    port = Port(1, "a", "", 2, Network(5, "n", ""), link, share_us)
    assert port.applied == LinkModel(Direction(applied_us, 1_000_000), Direction(3_000, 2_000_000))


def test_the_share_of_the_platform_is_taken_off_the_delays_of_a_trace():
    port = Port(1, "a", "", 2, Network(5, "n", ""), LinkModel(Direction(500, trace=7)), 600)
    assert port.applied.up == Direction(-100, trace=7)
