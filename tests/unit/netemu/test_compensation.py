"""A node's own share of a round trip, from pings."""

import pytest

from services.netemu.latency.compensation import (
    BUSY_PAUSE_S,
    CONVERGED_PAUSE_S,
    FIRST_CONVERGED_PAUSE_S,
    MAX_ROUNDS,
    Share,
    is_significant,
    observe,
    postpone,
    server_share_us,
    shaped_us,
    typical,
)
from walt.contracts.links import Direction, LinkModel

NEW = Share(1, "192.168.172.2", due_s=0)


def after(*rounds_us, shaped_us=0, share=NEW):
    for us in rounds_us:
        share = observe(share, [us] * 10, shaped_us, 100)
    return share


def test_the_slowest_pings_do_not_count():
    assert typical([600] * 8 + [9000, 50000]) == 600


def test_a_busy_node_is_measured_until_it_is_calm():
    busy = after(5000, 2000)
    assert not busy.converged and busy.due_s == 100 + BUSY_PAUSE_S
    converged = after(5000, 2000, 620, 600)
    assert converged.converged and converged.share_us == 610 and converged.due_s == 100 + FIRST_CONVERGED_PAUSE_S


@pytest.mark.parametrize(
    ("rounds_us", "converged"),
    [((200, 260), True), ((200, 261), False), ((2000, 2200), True), ((2000, 2201), False), ((2200, 2000), True)],
)
def test_two_rounds_agree_within_a_tenth_or_60_us(rounds_us, converged):
    assert after(*rounds_us).converged is converged


def test_the_best_so_far_is_used_meanwhile():
    assert after(5000, 2000, 3000).share_us == 2000
    assert observe(NEW, [700, 5000, 6000], 0, 100).share_us == 700


def test_a_node_that_never_calms_down_is_left_alone():
    share = after(*(1000 * (2 + number % 2) for number in range(MAX_ROUNDS)))
    assert share.converged and share.share_us == 2000


def test_what_the_link_delays_on_purpose_is_not_the_platforms():
    assert after(10_600, 10_600, shaped_us=10_000).share_us == 600
    assert after(400, 400, shaped_us=10_000).share_us == 0


def test_no_answer_changes_nothing_and_is_asked_again():
    share = observe(after(600, 600), [], 0, 200)
    assert share.share_us == 600
    assert observe(NEW, [], 0, 200).due_s == 200 + BUSY_PAUSE_S
    silent = NEW
    for _ in range(MAX_ROUNDS):
        silent = observe(silent, [], 0, 200)
    assert (silent.share_us, silent.due_s) == (None, 200 + CONVERGED_PAUSE_S)


def test_a_calm_share_drifts_and_ignores_a_node_at_work():
    converged = after(600, 600)
    assert after(680, share=converged).share_us == 620
    assert after(5000, share=converged).share_us == 600
    assert (after(1200, share=converged).share_us, after(1201, share=converged).share_us) == (750, 600)
    assert observe(converged, LOADED[:3], 0, 100).share_us == 600


@pytest.mark.parametrize(
    "applied, share, worth", [(0, None, False), (600, 614, False), (600, 585, True), (600, 615, True), (0, 600, True)]
)
def test_small_changes_are_not_worth_a_word(applied, share, worth):
    assert is_significant(applied, share) is worth


def test_a_calm_node_is_looked_at_less_and_less_often() -> None:
    share = after(600, 600)
    pauses = []
    for _ in range(6):
        share = observe(share, [600] * 10, 0, 100)
        pauses.append(share.due_s - 100)
    assert pauses == sorted(pauses)
    assert (pauses[0], pauses[-1]) == (FIRST_CONVERGED_PAUSE_S * 2, CONVERGED_PAUSE_S)


def test_what_is_not_the_nodes_own_is_left_out() -> None:
    assert server_share_us([90] * 10) == 45
    assert server_share_us([]) == 0
    assert observe(NEW, [700] * 10, 45, 100).share_us == 655
    assert observe(NEW, LOADED, 45, 100).share_us == 455
    assert observe(NEW, [700], 45, 100).share_us == 655


LOADED = [500, 900, 1500, 2500, 2600, 2700, 3000, 4000, 6000, 9000]


def test_a_loaded_host_takes_only_the_least_off():
    share = NEW
    for _ in range(MAX_ROUNDS + 3):
        share = observe(share, LOADED, 0, 100)
    assert share.share_us == 500


def test_load_does_not_change_what_was_measured_in_calm():
    converged = after(600, 600)
    assert observe(converged, LOADED, 0, 100).share_us == 600


def test_what_a_link_adds_to_a_ping_on_purpose():
    slow = Direction(10_000, 1_000_000)
    assert shaped_us(LinkModel(slow, Direction(rate_bps=2_000_000))) == 10_000 + 784 + 392
    assert shaped_us(LinkModel()) == 0


@pytest.mark.parametrize(
    "chance", [Direction(10_000, jitter_us=5), Direction(10_000, reorder_ppm=5), Direction(trace=1)]
)
def test_where_delays_are_left_to_chance_a_ping_tells_nothing(chance):
    assert shaped_us(LinkModel(up=chance)) is None
    assert postpone(after(600, 600), 300).due_s == 300 + CONVERGED_PAUSE_S
