"""Links that follow a trace: in virtual time, against mahimahi's algorithm written out, and against sums by hand."""

import math
import random
import time
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.netemu.cable.model import Wire
from services.netemu.cable.trace import Playback, TraceData, TraceFiles, encode, playback_of
from tests.support.mahimahi import MahimahiLink
from walt import trace_formats
from walt.contracts.links import Direction
from walt.contracts.traces import Trace

MS, S = 1_000_000, 1_000_000_000
START = 5 * S + 123
DEEP = Direction(trace=1, limit_frames=100_000)


def data_of(trace, loops=True):
    return TraceData(encode(trace.columns, loops))


def wire_of(trace, direction=DEEP, loops=True):
    return Wire(direction, Playback(data_of(trace, loops), 1, START))


def mahimahi(*milliseconds, loops=True):
    text = "".join(f"{one}\n" for one in milliseconds)
    return trace_formats.parse(text, trace_formats.MAHIMAHI, loops)


def departures(wire, arrivals):
    """[(after the start, size)] of frames that arrive so: when each leaves, None for one that is dropped."""
    found = []
    for after_ns, size in arrivals:
        due_ns = wire.admit(START + after_ns, size)
        if due_ns is not None:
            wire.depart(due_ns, due_ns, size, taken=True)
        found.append(None if due_ns is None else due_ns - START)
    return found


def per_100_ms(moments):
    """Bytes by tenth of a second."""
    found: dict[int, int] = {}
    for moment_ns, size in moments:
        found[moment_ns // (100 * MS)] = found.get(moment_ns // (100 * MS), 0) + size
    return found


schedules = st.lists(st.integers(0, 40), min_size=1, max_size=60).map(sorted).filter(lambda one: one[-1] > 0)
offered = st.lists(st.tuples(st.integers(0, 300), st.integers(1, 1504)), max_size=80).map(sorted)


@given(schedules, offered, st.booleans())
def test_a_trace_of_mahimahi_is_carried_out_as_mahimahi_does(schedule, frames, loops):
    arrivals = [(ms * MS, size) for ms, size in frames]
    oracle = MahimahiLink(schedule, loops).departures(frames)
    found = departures(wire_of(mahimahi(*schedule, loops=loops), loops=loops), arrivals)
    assert [None if one is None else one // MS for one in found] == oracle
    assert not [one for one in found if one is not None and one % MS]


def test_bytes_in_each_tenth_of_a_second_are_those_of_mahimahi():
    """A minute of a link as of LTE: its rate wanders, now and then nothing passes; it is offered more than that."""
    draw, ms, rate, schedule = random.Random(11), 0.0, 8.0, []
    while ms < 20_000:
        rate = min(40.0, max(0.5, rate * math.exp(draw.gauss(0, 0.05))))
        ms += draw.expovariate(rate / 12) + (500 if draw.random() < 0.0005 else 0)
        schedule.append(int(ms))
    frames = [(ms, draw.choice([60, 590, 1500, 1504])) for ms in range(60_000) for _ in range(draw.choice([0, 1, 3]))]
    oracle = MahimahiLink(schedule, loops=True).departures(frames)
    sizes = [size for _, size in frames]
    expected = per_100_ms((one * MS, size) for one, size in zip(oracle, sizes, strict=True) if one is not None)
    found = departures(wire_of(mahimahi(*schedule)), [(ms * MS, size) for ms, size in frames])
    assert len(expected) > 500 and per_100_ms(zip(found, sizes, strict=True)) == expected, (
        "not within 1 %, but the same"
    )


STEPS = Trace((1_000_000, 500_000, 1_500_000), rate_bps=(8_000_000, 0, 80_000_000))


def test_a_rate_that_changes_while_a_frame_passes():
    """1 MB in the first second, nothing in the next half, then 10 MB a second; each run is 16 MB in 3 s."""
    wire = wire_of(STEPS)
    assert departures(wire, [(0, 500_000)]) == [500 * MS]
    assert departures(wire, [(900 * MS, 1_100_000)]) == [1_600 * MS]
    assert departures(wire, [(1_000 * MS, 14_000_000)]) == [3_000 * MS]
    assert departures(wire, [(2_900 * MS, 1_000_000 + 5_000_000)]) == [5_000 * MS]


@given(
    st.lists(st.tuples(st.integers(1, 10**6), st.integers(0, 10**9)), min_size=1, max_size=20),
    st.lists(st.tuples(st.integers(0, 10**10), st.integers(1, 10**6)), min_size=1, max_size=30).map(sorted),
)
def test_no_rate_is_ever_exceeded_and_none_is_left_unused(rows, arrivals):
    trace = Trace(tuple(keep for keep, _ in rows), rate_bps=tuple(rate for _, rate in rows))
    if not trace.total_bytes:
        return
    data = data_of(trace)
    last = 0.0
    for (after_ns, size), left_ns in zip(arrivals, departures(wire_of(trace), arrivals), strict=True):
        last = max(last, data.passed(after_ns)) + size
        if left_ns is not None:
            assert data.passed(left_ns + 2) >= last - 1, "it left before its last byte could"
            assert left_ns == after_ns or data.passed(left_ns - 2) <= last + 1, "it left later than it could"


def test_a_trace_that_does_not_loop_keeps_its_last_row():
    trace = Trace((1_000_000, 1_000), rate_bps=(8_000_000, 16_000_000), latency_us=(0, 7_000))
    assert departures(wire_of(trace, loops=False), [(10 * S, 2_000_000)]) == [11 * S + 7 * MS]


def test_after_the_last_moment_of_mahimahi_nothing_passes():
    wire = wire_of(mahimahi(1, 2, loops=False), loops=False)
    assert departures(wire, [(0, 1500), (1 * MS, 1500), (2 * MS, 1500)]) == [MS, 2 * MS, None]
    assert wire.dropped == 1


def test_delays_of_a_trace_are_added_to_the_link_and_the_order_is_kept():
    trace = Trace((10_000, 10_000), latency_us=(20_000, 5_000))
    wire = wire_of(trace, Direction(1_000, trace=1))
    assert departures(wire, [(0, 100), (9 * MS, 100), (10 * MS, 100), (19 * MS, 100)]) == [
        21 * MS,
        30 * MS,
        30 * MS,
        30 * MS,
    ]
    assert departures(wire, [(35 * MS, 100)]) == [41 * MS], "in the second run, its second row"


def test_losses_of_a_trace_take_the_place_of_those_of_the_link():
    trace = Trace((1_000_000, 1_000_000), loss_ppm=(0, 1_000_000))
    wire = wire_of(trace, Direction(loss_ppm=500_000, seed=3, trace=1))
    lost = [not wire.impair(START + tenth * 100 * MS).copies for tenth in range(40)]
    assert lost == [False] * 10 + [True] * 10 + [False] * 10 + [True] * 10


def test_shares_of_losses_are_exact_and_bursts_stay():
    trace = Trace((1_000_000, 1_000_000), loss_ppm=(10_000, 100_000))
    wire = wire_of(trace, Direction(loss_ppm=1, burst_frames=8, seed=3, trace=1))
    per_row = 400_000
    for row, share in enumerate((0.01, 0.1)):
        lost = [not wire.impair(START + row * S + number).copies for number in range(per_row)]
        # of runs of 8 on average the variance is about 2 * 8 - 1 times that of single frames
        deviation = (15 * share * (1 - share) / per_row) ** 0.5
        assert abs(sum(lost) / per_row - share) < 4.9 * deviation


def test_the_queue_is_bounded_as_that_of_a_rate():
    """80 Mb/s in the mean: 100 ms of it wait at most, so that an outage costs no memory without end."""
    trace = Trace((1_000_000, 1_000_000), rate_bps=(0, 160_000_000))
    wire = wire_of(trace, Direction(trace=1))
    found = [wire.admit(START, 1000) for _ in range(2000)]
    assert found.index(None) == 1000 and wire.dropped == 1000


def test_another_option_leaves_the_trace_where_it_is():
    wire = wire_of(STEPS)
    wire.admit(START, 500_000)
    wire.set(replace(DEEP, latency_us=1_000), wire.playback)
    assert departures(wire, [(500 * MS, 100_000)]) == [601 * MS]


def test_frames_in_flight_keep_their_departure_when_the_trace_goes():
    wire = wire_of(STEPS)
    assert departures(wire, [(0, 500_000)]) == [500 * MS]
    wire.set(Direction())
    assert wire.admit(START + 10 * MS, 100) == START + 500 * MS, "behind it, as the order is kept"


def test_a_file_is_read_as_it_was_written(tmp_path):
    (tmp_path / "7").write_bytes(encode(STEPS.columns, loops=False))
    found = TraceFiles(tmp_path).open(7)
    assert (list(found.at_ns), found.total, found.loops, found.delays) == (
        [0, S, S * 3 // 2],
        16_000_000.0,
        False,
        False,
    )


@pytest.mark.parametrize("content", [b"walttrc1" + bytes(16), encode(STEPS.columns, loops=True)[:-1], bytes(100)])
def test_another_file_is_refused(content):
    with pytest.raises((ValueError, Exception), match="not the file|requires a buffer"):
        TraceData(content)


SCHEDULE = Trace((1_000_000, 1_000_000), rate_bps=(8_000_000, 80_000_000), latency_us=(0, -30_000))


def scheduled(direction=replace(DEEP, latency_us=50_000)):  # noqa: B008  # it is immutable
    return Wire(direction, Playback(TraceData(encode(SCHEDULE.columns, False, start_us=1)), 1, START))


def test_before_a_start_that_is_set_the_first_row_holds():
    wire = scheduled()
    assert departures(wire, [(-2 * S, 1_000_000), (-100 * MS, 100_000)]) == [-1 * S + 50 * MS, 50 * MS]
    assert departures(wire, [(0, 900_000), (950 * MS, 50_000)]) == [950 * MS, 1020 * MS]


def test_a_change_is_in_force_from_its_moment_on_to_the_nanosecond():
    plain = Trace((1_000_000, 1_000_000), latency_us=(0, 30_000))
    wire = Wire(Direction(50_000, trace=1), Playback(TraceData(encode(plain.columns, False, start_us=1)), 1, START))
    assert departures(wire, [(S - 1, 100), (S, 100), (10 * S, 100)]) == [
        S - 1 + 50 * MS,
        S + 80 * MS,
        10 * S + 80 * MS,
    ]


def test_only_rows_with_a_limit_say_how_much_may_wait():
    trace = Trace((1_000_000, 1_000_000), rate_bps=(100_000_000_000, 8_000_000))
    assert data_of(trace).mean_bps == 8_000_000


def test_links_that_start_at_one_moment_do_so_whenever_they_are_set(tmp_path):
    wall_us = time.time_ns() // 1000 + 5_000_000
    (tmp_path / "7").write_bytes(encode(SCHEDULE.columns, False, start_us=wall_us))
    starts = []
    for _ in range(20):
        starts.append(playback_of(TraceFiles(tmp_path), 7, time.monotonic_ns()).start_ns)
        time.sleep(0.002)
    assert abs(starts[0] - time.monotonic_ns() - 5 * S) < 500 * MS
    assert sorted(starts)[-3] - sorted(starts)[2] < MS
