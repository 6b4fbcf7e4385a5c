"""What chance does to the frames of one direction, and that the same seed does it again."""

import itertools
import statistics
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.netemu.cable.impairments import ImpairmentSequence, corrupted, impairments_of
from services.netemu.cable.model import Wire
from walt.contracts.links import DIRECTION_OPTIONS, JITTER_REACH, Direction, Distribution

PPM = 1_000_000
ALL = Direction(latency_us=1000, jitter_us=500, loss_ppm=100_000, duplicate_ppm=50_000, corrupt_ppm=20_000, seed=7)

directions = st.builds(
    Direction, **{option.field: st.integers(0, option.maximum) for option in DIRECTION_OPTIONS.values()}
)


def first(direction, count=200):
    impairments = ImpairmentSequence(direction)
    return [impairments.next() for _ in range(count)]


@given(directions.filter(lambda one: one.seed))
def test_the_same_seed_draws_the_same(direction):
    assert first(direction, 20) == first(direction, 20)


def test_impairments_of_a_seed_are_the_same_on_every_machine_and_in_every_version():
    """Experiments are repeated years later."""
    lost = [
        number
        for number, impairment in enumerate(first(Direction(loss_ppm=100_000, seed=7), 60))
        if not impairment.copies
    ]
    assert lost == LOST_BY_SEED_7


LOST_BY_SEED_7 = [1, 13, 30, 49, 58, 59]


def test_without_a_seed_it_is_drawn_anew():
    assert first(Direction(loss_ppm=PPM // 2)) != first(Direction(loss_ppm=PPM // 2))


def test_a_value_has_no_say_in_what_the_others_draw():
    """2 % of loss loses all that 1 % lost; what is duplicated stays so."""
    few, many = first(Direction(loss_ppm=10_000, seed=3), 5000), first(Direction(loss_ppm=20_000, seed=3), 5000)
    assert all(not more.copies for less, more in zip(few, many, strict=True) if not less.copies)
    assert [one.corrupt_at for one in first(ALL)] == [
        one.corrupt_at for one in first(Direction(corrupt_ppm=20_000, seed=7))
    ]


@pytest.mark.parametrize("share", [0, PPM])
def test_none_and_all_are_exact(share):
    impairments = first(Direction(loss_ppm=share, jitter_us=1, seed=1), 1000)
    assert {one.copies for one in impairments} == ({0} if share else {1})


def test_lost_and_duplicated_at_once_arrives_once():
    assert {one.copies for one in first(Direction(loss_ppm=PPM, duplicate_ppm=PPM))} == {1}


@given(st.integers(1, 60_000_000))
def test_uniform_jitter_is_within_its_bounds(jitter_us):
    assert all(abs(one.jitter_ns) <= jitter_us * 1000 for one in first(Direction(jitter_us, jitter_us=jitter_us), 50))


@pytest.mark.parametrize("distribution", Distribution)
def test_jitter_has_the_mean_deviation_and_reach_that_are_said(distribution):
    """A million frames in virtual time; each bound is exceeded by chance less than once in a million runs."""
    direction = Direction(100_000, jitter_us=10_000, distribution=distribution, seed=5)
    drawn = [one.jitter_ns / 10_000_000 for one in first(direction, 200_000)]
    asked = 3**-0.5 if distribution == Distribution.UNIFORM else 1
    assert abs(statistics.fmean(drawn)) < 4.9 * asked / 200_000**0.5
    assert statistics.pstdev(drawn) == pytest.approx(asked, rel=0.02)
    assert -JITTER_REACH[distribution] <= min(drawn) < -0.9 * JITTER_REACH[distribution]


@pytest.mark.parametrize("loss_ppm, burst", [(10_000, 8), (200_000, 3), (500_000, 1), (900_000, 20)])
def test_losses_come_in_runs_of_the_mean_length_asked_for(loss_ppm, burst):
    direction = Direction(loss_ppm=loss_ppm, burst_frames=burst, seed=11)
    fates = [one.copies for one in first(direction, 400_000)]
    runs = [len(list(run)) for lost, run in itertools.groupby(fates, key=lambda copies: not copies) if lost]
    assert fates.count(0) / len(fates) == pytest.approx(loss_ppm / PPM, rel=0.1)
    assert statistics.fmean(runs) == pytest.approx(burst, rel=0.1)


@given(directions.filter(lambda one: one.loss_ppm in (0, PPM)))
def test_a_burst_changes_neither_none_nor_all(direction):
    assert {one.copies > 1 or one.copies for one in first(replace(direction, duplicate_ppm=0), 50)} == {
        direction.loss_ppm == 0
    }


@pytest.mark.parametrize("plain", [Direction(), Direction(10_000, 1_000_000, limit_frames=5, seed=9)])
def test_where_nothing_is_left_to_chance_nothing_is_drawn(plain):
    assert impairments_of(plain) is None
    assert Wire(plain).impairments is None


@given(st.binary(min_size=24, max_size=200), st.floats(0, 1, exclude_max=True))
def test_one_bit_behind_the_addresses_is_inverted(frame, place):
    changed = corrupted(frame, 10, place) if len(frame) > 22 else frame
    assert changed[:10] == bytes(10)
    assert changed[10:22] == frame[10:22]
    assert (int.from_bytes(changed[22:]) ^ int.from_bytes(frame[22:])).bit_count() == 1


def test_the_sequence_goes_on_while_the_rest_changes():
    whole, changed = Wire(ALL), Wire(ALL)
    expected = [whole.impairments.next() for _ in range(40)]
    seen = [changed.impairments.next() for _ in range(20)]
    changed.set(Direction(**{**vars(ALL), "latency_us": 7000, "rate_bps": 1_000_000, "limit_frames": 9}))
    assert seen + [changed.impairments.next() for _ in range(20)] == expected


def test_the_sequence_begins_anew_with_another_random_part():
    wire = Wire(ALL)
    [wire.impairments.next() for _ in range(20)]
    wire.set(Direction(**{**vars(ALL), "loss_ppm": 1}))
    wire.set(ALL)
    assert [wire.impairments.next() for _ in range(20)] == first(ALL, 20)
