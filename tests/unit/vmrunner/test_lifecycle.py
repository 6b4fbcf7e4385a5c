"""Every transition of the life cycle, as tables."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.contracts.vmrunner import BOOTED, BOOTING, DELAYING, FAILED, LOADING, STATES, STOPPED
from services.vmrunner import lifecycle
from services.vmrunner.lifecycle import (
    Begin,
    Count,
    GiveUp,
    Load,
    Machine,
    Recognise,
    Remove,
    Rest,
    Stop,
    decide,
)
from tests.unit.vmrunner.sample import wanted

NOW = 1000.0
GONE = "the guest rebooted"


def machine(state, **changes):
    return replace(
        Machine(5, "vnode1", boot=1, run=3, state=state, cycle_start=NOW - 10, powered_at=NOW - 8), **changes
    )


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("runs", [True, False])
def test_absent_ends_everything(state, runs):
    assert decide(machine(state), wanted(power="absent"), runs, GONE, NOW) == Remove()


@pytest.mark.parametrize(
    ("state", "runs", "boot", "action"),
    [
        (STOPPED, False, 1, Rest()),
        (STOPPED, False, 2, Stop()),  # to answer the wish of that number
        (STOPPED, True, 1, Stop()),
        (BOOTED, True, 1, Stop()),
        (FAILED, False, 1, Stop()),
        (DELAYING, False, 1, Stop()),
    ],
)
def test_power_off(state, runs, boot, action):
    assert decide(machine(state), wanted(power="off", boot=boot), runs, GONE, NOW) == action


@pytest.mark.parametrize(
    ("before", "runs", "changes", "action"),
    [
        # a reboot that was asked for ends any state, at once
        (machine(BOOTED), True, {"boot": 2}, Begin("reboot asked", 0)),
        (machine(BOOTING, retries=2), True, {"boot": 2}, Begin("reboot asked", 0)),
        (machine(FAILED, due=NOW + 20), False, {"boot": 2}, Begin("reboot asked", 0)),
        (machine(DELAYING, due=NOW + 5), False, {"boot": 2}, Begin("reboot asked", 0)),
        (machine(LOADING), False, {"boot": 2}, Begin("reboot asked", 0)),
        (machine(STOPPED), False, {}, Begin("powered on", 0)),
        # a late wish of a former number changes nothing
        (machine(BOOTED, boot=4), True, {"boot": 3}, Rest()),
        # the way up
        (machine(DELAYING, due=NOW + 2.5), False, {}, Count(3)),
        (machine(DELAYING, due=NOW), False, {}, Load()),
        (machine(LOADING), False, {}, Load()),
        (machine(BOOTED), True, {}, Rest()),
        # its end, whatever it was, starts it again
        (machine(BOOTED), False, {}, Begin(GONE, 0)),
        (machine(BOOTING, retries=1), False, {}, Begin(GONE, 1)),
        (machine(FAILED), False, {}, Begin(GONE, 0)),
        # vmrunner died between the start of qemu and the note of it
        (machine(LOADING), True, {}, Recognise()),
        (machine(FAILED, due=NOW - 1), True, {}, Recognise()),
        # the host could not: tried again when due
        (machine(FAILED, due=NOW + 4), False, {}, Rest(NOW + 4)),
        (machine(FAILED, due=NOW), False, {}, Load()),
    ],
)
def test_what_next(before, runs, changes, action):
    assert decide(before, wanted(**changes), runs, GONE, NOW) == action


LATE = machine(BOOTING, cycle_start=NOW - 180)


@pytest.mark.parametrize(
    ("before", "changes", "action"),
    [
        (machine(BOOTING), {}, Rest(NOW - 10 + 180)),
        (machine(BOOTING), {"boot_timeout_s": 60}, Rest(NOW - 10 + 60)),
        (LATE, {}, Begin("no boot within 180 s; retry 1 of 2", 1)),
        (replace(LATE, retries=1), {}, Begin("no boot within 180 s; retry 2 of 2", 2)),
        (replace(LATE, retries=2), {}, GiveUp("no boot within 180 s, 2 retries spent; left as it is")),
        (replace(LATE, retries=2, state=FAILED), {}, Rest()),
        (replace(LATE, retries=2, state=FAILED), {"boot_retries": 3}, Begin("no boot within 180 s; retry 3 of 3", 3)),
        (LATE, {"boot_retries": 0}, Rest()),
        (LATE, {"boot_timeout_s": None}, Rest()),
    ],
)
def test_boot_watch(before, changes, action):
    assert decide(before, wanted(**changes), True, "", NOW) == action


def test_a_boot_that_hangs_is_retried_then_left_and_may_still_arrive():
    now, one, wish = NOW, Machine(5, "vnode1"), wanted(boot_timeout_s=60, boot_retries=2)
    seen = []
    for _ in range(3):
        action = decide(one, wish, one.state == BOOTING, "", now)
        seen.append(action.retries)
        one = lifecycle.started(lifecycle.load(lifecycle.begin(one, wish, action, 0, now), now), now)
        now += 60
    action = decide(one, wish, True, "", now)
    one = lifecycle.given_up(one, action.sentence, now)
    assert (seen, one.state, one.run) == ([0, 1, 2], FAILED, 3)
    assert decide(one, wish, True, "", now + 1000) == Rest()
    one = lifecycle.booted(one, 3, now + 5, now + 5)
    assert (one.state, one.retries) == (BOOTED, 0)


def test_failures_of_the_host_back_off_and_keep_their_reason():
    one = machine(LOADING)
    pauses, now = [], NOW
    for _ in range(6):
        one = lifecycle.failed(lifecycle.load(one, now), "qemu is not installed", now)
        pauses.append(one.due - now)
        now = one.due
    assert pauses == [2, 4, 8, 16, 30, 30]
    assert one.state == FAILED and one.reason == "qemu is not installed; next try in 30 s"
    assert one.since == NOW
    assert lifecycle.load(one, now).state == FAILED  # the reason stays in sight while it is tried
    assert lifecycle.started(one, now).failures == 0


@pytest.mark.parametrize(
    ("before", "run", "state"),
    [
        (machine(BOOTING), 3, BOOTED),
        (machine(BOOTING), 2, BOOTING),
        (machine(BOOTED, reason="x"), 3, BOOTED),
        (machine(DELAYING), 3, DELAYING),
        (machine(FAILED), 3, BOOTED),
        (machine(FAILED, due=NOW), 3, FAILED),
    ],
)
def test_news_of_a_boot(before, run, state):
    after = lifecycle.booted(before, run, NOW + 2.44, NOW + 3)
    assert after.state == state
    assert (after == before) == (state == before.state)
    if after != before:
        assert after.reason == "ssh answers after 10.4 s"


def test_reasons_of_a_cycle():
    wish, one = wanted(boot=2), machine(BOOTED)
    one = lifecycle.begin(one, wish, Begin("reboot asked", 0), 7, NOW)
    assert (one.state, one.reason, one.boot, one.due) == (DELAYING, "reboot asked; boots in 7 s", 2, NOW + 7)
    one = lifecycle.load(one, NOW + 7)
    assert (one.state, one.run, one.due) == (LOADING, 4, 0)
    one = lifecycle.started(one, NOW + 8)
    assert one.state == BOOTING and one.reason.startswith("reboot asked")


@pytest.mark.parametrize(
    ("event", "sentence"),
    [
        ("guest-reset", "the guest rebooted"),
        ("guest-shutdown", "the guest powered off"),
        (None, "qemu crashed"),
        ("something-new", "qemu: something-new"),
    ],
)
def test_endings(event, sentence):
    assert lifecycle.ending(event) == sentence


@given(st.lists(st.sampled_from(["wish", "off", "end", "boot", "fail", "time"]), max_size=30))
def test_sequence_grows_and_something_is_always_decided(events):
    """Whatever happens in whatever order: reports are ordered, and no state is a dead end."""
    one, wish, runs, now = Machine(5, "vnode1"), wanted(), False, NOW
    for event in events:
        before = one
        if event == "wish":
            wish = replace(wish, boot=wish.boot + 1, power="on")
        elif event == "off":
            wish = replace(wish, power="off")
        elif event == "end":
            runs = False
        elif event == "boot" and runs:
            one = lifecycle.booted(one, one.run, now, now)
        elif event == "time":
            now += 100
        match decide(one, wish, runs, GONE, now):
            case Begin() as action:
                runs, one = False, lifecycle.begin(one, wish, action, 0, now)
            case Stop():
                runs, one = False, lifecycle.stopped(one, wish, now)
            case Load():
                one = lifecycle.load(one, now)
                runs = event != "fail"
                one = lifecycle.started(one, now) if runs else lifecycle.failed(one, "no", now)
            case GiveUp(sentence):
                one = lifecycle.given_up(one, sentence, now)
            case Recognise():
                one = lifecycle.started(one, now)
            case Rest(until):
                assert until is None or until > now
                assert until or one.state in (STOPPED, BOOTED, FAILED)
                assert wish.power == "off" or one.state != STOPPED
        assert one.run >= before.run
        assert one.sequence > before.sequence or (one.state, one.reason) == (before.state, before.reason)
