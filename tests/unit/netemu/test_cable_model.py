"""One direction of a cable, on virtual time."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.netemu.cable.model import QUEUE_BYTES, RunningMean, Wire, wire_size
from walt.contracts.links import MAX_DELAYED_BYTES, MAX_DELAYED_FRAMES, Direction

MS = 1_000_000


def test_nothing_asked_nothing_done():
    assert Wire(Direction()).admit(5 * MS, 1500) == 5 * MS


def test_latency():
    wire = Wire(Direction(latency_us=10_000))
    assert [wire.admit(now * MS, 1500) for now in (0, 1, 7)] == [10 * MS, 11 * MS, 17 * MS]


def test_rate_puts_frames_one_after_the_other():
    wire = Wire(Direction(rate_bps=8_000_000))  # 1000 bytes are 1 ms
    assert [wire.admit(0, 1000), wire.admit(0, 500), wire.admit(10 * MS, 1000)] == [1 * MS, int(1.5 * MS), 11 * MS]


def test_rate_then_latency():
    wire = Wire(Direction(latency_us=20_000, rate_bps=8_000_000))
    assert [wire.admit(0, 1000), wire.admit(0, 1000)] == [21 * MS, 22 * MS]


def test_queue_holds_100_ms_at_high_rates_and_then_drops():
    wire = Wire(Direction(rate_bps=80_000_000))  # 1 MB in 100 ms
    taken = sum(wire.admit(0, 1000) is not None for _ in range(2000))
    assert 1000 <= taken <= 1001
    assert wire.dropped == 2000 - taken


def test_queue_holds_the_bandwidth_delay_product():
    wire = Wire(Direction(latency_us=1_000_000, rate_bps=8_000_000))
    assert all(wire.admit(0, 1000) is not None for _ in range(1000))


def test_queue_takes_a_whole_offloaded_frame_at_any_rate():
    wire = Wire(Direction(rate_bps=1000))
    assert wire.admit(0, 65536 + 54) is not None
    assert wire.admit(0, 1000) is None or QUEUE_BYTES > 65536


def test_a_delay_without_a_rate_is_no_memory_leak():
    wire = Wire(Direction(latency_us=60_000_000))
    frames = MAX_DELAYED_BYTES // 65536
    assert all(wire.admit(0, 65536) is not None for _ in range(frames))
    assert wire.admit(0, 65536) is None
    wire.depart(0, 0, 65536, taken=True)
    assert wire.admit(0, 65536) is not None


def test_nor_are_small_frames_in_it():
    wire = Wire(Direction(latency_us=60_000_000))
    assert sum(wire.admit(0, 60) is not None for _ in range(MAX_DELAYED_FRAMES + 5)) == MAX_DELAYED_FRAMES
    wire.set(Direction(latency_us=60_000_000, limit_frames=MAX_DELAYED_FRAMES + 1))
    assert wire.admit(0, 60) is not None, "the user's own limit holds"


def test_jitter_varies_the_delay_and_keeps_the_order():
    wire = Wire(Direction(10_000, jitter_us=4_000))
    assert [wire.admit(now * MS, 100, jitter * MS) for now, jitter in ((0, 4), (1, -4), (20, -4))] == [
        14 * MS,
        14 * MS,
        26 * MS,
    ]


def test_no_frame_departs_before_it_came_though_compensation_leaves_less_than_the_jitter():
    assert Wire(Direction(1_000, jitter_us=4_000)).admit(0, 100, -4 * MS) == 0


def test_a_frame_that_overtakes_skips_the_delay_but_not_the_rate():
    wire = Wire(Direction(20_000, 8_000_000, reorder_ppm=1))
    assert wire.admit(0, 1000) == 21 * MS
    assert wire.admit(0, 1000, overtakes=True) == 2 * MS
    assert wire.admit(0, 1000) == 23 * MS


def test_a_limit_counts_all_that_wait_or_are_under_way():
    wire = Wire(Direction(10_000, limit_frames=3))
    assert [wire.admit(0, 100) is not None for _ in range(5)] == [True] * 3 + [False] * 2
    wire.depart(0, 0, 100, taken=True)
    assert wire.admit(0, 100) is not None
    assert wire.dropped == 2


def test_a_limit_takes_the_place_of_the_queue_sized_by_the_rate():
    wire = Wire(Direction(rate_bps=1_000_000, limit_frames=500))
    assert sum(wire.admit(0, 1500) is not None for _ in range(600)) == 500


directions = st.builds(
    Direction,
    st.integers(0, 100_000),
    st.sampled_from([0, 1_000_000, 10**9]),
    jitter_us=st.integers(0, 50_000),
    limit_frames=st.sampled_from([0, 5]),
)


@given(
    st.lists(
        st.tuples(
            st.integers(0, 5 * MS), st.integers(60, 1514), st.integers(-50 * MS, 50 * MS), st.none() | directions
        ),
        max_size=60,
    )
)
def test_order_is_kept_whatever_changes(steps):
    wire, now, last = Wire(Direction(50_000)), 0, 0
    for gap, size, jitter_ns, change in steps:
        now += gap
        if change is not None:
            wire.set(change)
        due = wire.admit(now, size, jitter_ns)
        if due is not None:
            assert due >= max(last, now, now + wire.latency_ns + jitter_ns)
            last = due


def test_the_delay_of_a_link_is_measured_anew_when_it_changes():
    wire = Wire(Direction(10_000))
    wire.delay.observe(10 * MS)
    wire.set(Direction(20_000))
    assert not wire.delay.seen


def test_counts():
    wire = Wire(Direction())
    wire.admit(0, 100)
    wire.admit(0, 100)
    wire.depart(0, 0, 100, taken=True)
    wire.depart(2 * MS, 0, 100, taken=False)
    assert (wire.frames, wire.bytes, wire.dropped, wire.late, wire.in_flight_bytes) == (1, 100, 1, 1, 0)


def whole(gso_type, headers, segment, *, hint=None, payload=0, is_checksummed=True):
    """A large frame of segmentation offload, with its virtio_net_hdr; headers: as (up to TCP or UDP, that one)."""
    before, transport = headers
    numbers = (before + transport if hint is None else hint, segment, before if is_checksummed else 0, 16)
    virtio = bytes((is_checksummed, gso_type)) + b"".join(number.to_bytes(2, "little") for number in numbers)
    tcp = bytes(12) + bytes((transport // 4 << 4,)) + bytes(transport - 13) if gso_type & 127 != 5 else bytes(transport)
    return virtio + bytes(before) + tcp + bytes(payload)


def test_wire_size():
    assert wire_size(bytes(10) + bytes(1514), 10) == 1514
    assert wire_size(whole(1, (34, 20), 1460, payload=2920), 10) == 2 * 1514
    assert wire_size(whole(1, (34, 20), 1460, payload=2921), 10) == 2 * 1514 + 55
    assert wire_size(whole(4, (54, 32), 1428, payload=2856), 10) == 2 * 1514, "IPv6, with options of TCP"
    assert wire_size(whole(129, (34, 20), 1460, payload=2920), 10) == 2 * 1514, "with ECN"
    assert wire_size(whole(5, (42 - 8, 8), 1472, payload=2944), 10) == 2 * 1514, "UDP"
    assert wire_size(whole(1, (34, 20), 1460, payload=2920, is_checksummed=False), 10) == 2 * 1514


@pytest.mark.parametrize("hint", [0, 14, 1514, 54 + 2920, 65535])
def test_wire_size_trusts_no_hint(hint):
    """As hdr_len the kernel gives what it has in one piece: a small frame, or the first of those merged by GRO."""
    assert wire_size(whole(1, (34, 20), 1460, hint=hint, payload=2920), 10) == 2 * 1514


@given(st.binary(min_size=24, max_size=100))
def test_wire_size_of_nonsense_is_a_size(frame):
    assert len(frame) - 10 <= wire_size(frame, 10)


def test_a_cost_is_known_from_the_first_samples_and_one_hiccup_hardly_counts():
    cost = RunningMean(500_000)
    cost.observe(80_000)
    assert cost.mean_ns == 80_000
    for _ in range(100):
        cost.observe(60_000)
    assert 60_000 <= cost.mean_ns < 65_000
    cost.observe(50_000_000)
    assert cost.mean_ns < 72_000
