"""What the kernel's netem is told, and what it is not asked to do."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.netemu.kernel.netem_attributes import _NetemOptions
from services.netemu.ports.netem import MAX_JITTER_US, exceeds_netem, options, queue_frames
from walt.contracts.links import DIRECTION_OPTIONS, MAX_DELAYED_FRAMES, MAX_RATE_BPS, Direction, Distribution, LinkModel

U32 = 2**32 - 1
directions = st.builds(
    Direction, **{option.field: st.integers(0, option.maximum) for option in DIRECTION_OPTIONS.values()}
)


def attributes(direction):
    return dict(options(direction)["attrs"])


def test_times_are_exact():
    told = attributes(Direction(10_150, jitter_us=7))
    assert (told["TCA_NETEM_LATENCY64"], told["TCA_NETEM_JITTER64"]) == (10_150_000, 7_000)


@pytest.mark.parametrize("ppm, told", [(0, 0), (1_000_000, U32), (500_000, U32 // 2)])
def test_shares(ppm, told):
    asked = Direction(1, loss_ppm=ppm, duplicate_ppm=ppm, corrupt_ppm=ppm, reorder_ppm=ppm)
    assert (options(asked)["loss"], options(asked)["duplicate"]) == (told, told)
    assert attributes(asked)["TCA_NETEM_CORRUPT"]["prob_corrupt"] == told
    assert attributes(asked)["TCA_NETEM_REORDER"]["prob_reorder"] == told
    assert options(asked)["gap"] == bool(ppm)


def test_there_is_always_a_rate_so_that_the_order_is_kept():
    told = attributes(Direction(10_000))
    assert told["TCA_NETEM_RATE"]["rate"] == U32
    assert 1514 * 1_000_000_000 / told["TCA_NETEM_RATE64"] < 2, "a frame takes next to no time"


def test_rates_of_more_than_32_bits():
    assert attributes(Direction(rate_bps=8_000_000))["TCA_NETEM_RATE"]["rate"] == 1_000_000
    assert attributes(Direction(rate_bps=MAX_RATE_BPS))["TCA_NETEM_RATE64"] == MAX_RATE_BPS // 8


def test_what_was_asked_before_is_taken_back_word_for_word():
    told = attributes(Direction())
    assert told.keys() == attributes(Direction(1, 1000, 1, 1, 1, 1, 1, 1)).keys()
    rate = told.pop("TCA_NETEM_RATE64")
    assert told.pop("TCA_NETEM_RATE") == {
        "rate": min(rate, U32),
        "packet_overhead": 0,
        "cell_size": 0,
        "cell_overhead": 0,
    }
    assert {value for one in told.values() for value in (one.values() if isinstance(one, dict) else [one])} == {0}
    assert (options(Direction())["delay"], options(Direction())["jitter"]) == (0, 0)


@given(directions)
def test_everything_fits_its_field(direction):
    told = options(direction)
    assert all(0 <= told[name] <= U32 for name in ("limit", "loss", "gap", "duplicate"))
    known = {name for name, _ in _NetemOptions.nla_map}
    assert {name for name, _ in told["attrs"]} <= known


def test_a_limit_is_passed_on_and_else_there_is_room_for_all_that_is_delayed():
    assert options(Direction(100_000, limit_frames=7))["limit"] == 7
    assert options(Direction(100_000))["limit"] == queue_frames(Direction(100_000)) > 80_000
    assert queue_frames(Direction(60_000_000)) == MAX_DELAYED_FRAMES, "a flood must not take the memory of the host"
    assert queue_frames(Direction(100_000, jitter_us=100_000)) > queue_frames(Direction(100_000))
    assert queue_frames(Direction(rate_bps=121_120_000)) == 1000, "100 ms of full frames wait, also without a delay"
    assert queue_frames(Direction(1_000_000, rate_bps=51_200_000)) == 100_000 + 4227
    assert queue_frames(Direction(rate_bps=8_000)) == 100


@pytest.mark.parametrize(
    "direction, beyond",
    [
        (Direction(10_000, 1_000_000, 5_000, 1, 1, 1, 0, 9), False),
        (Direction(10_000, reorder_ppm=1), False),
        (Direction(10_000, 1_000_000, reorder_ppm=1), True),
        (Direction(loss_ppm=1, seed=1), True),
        (Direction(loss_ppm=1, burst_frames=1), True),
        (Direction(trace=1), True),
        (Direction(10_000, jitter_us=1, distribution=Distribution.NORMAL), True),
        (Direction(60_000_000, jitter_us=MAX_JITTER_US), False),
        (Direction(60_000_000, jitter_us=MAX_JITTER_US + 1), True),
    ],
)
def test_what_netem_cannot_do(direction, beyond):
    assert exceeds_netem(LinkModel(up=direction)) is exceeds_netem(LinkModel(down=direction)) is beyond
