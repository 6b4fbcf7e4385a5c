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
    TakeAsOff,
    decide,
    farewell,
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
        (machine(STOPPED), False, {"boot": 2}, Begin("powered on", 0)),
        (machine(STOPPED), False, {}, Rest()),  # its guest has powered off, and no boot was asked for since
        # a late wish of a former number changes nothing
        (machine(BOOTED, boot=4), True, {"boot": 3}, Rest()),
        # the way up
        (machine(DELAYING, due=NOW + 2.5), False, {}, Count(3)),
        (machine(DELAYING, due=NOW), False, {}, Load()),
        (machine(LOADING), False, {}, Load()),
        (machine(BOOTED), True, {}, Rest()),
        # its end, whatever it was, starts it again
        (machine(BOOTED), False, {}, Begin(GONE, 0)),
        (machine(BOOTING, retries=2), False, {"boot_retries": 0}, Begin(GONE, 2)),  # there is no watch
        # vmrunner died between the start of qemu and the note of it
        (machine(LOADING), True, {}, Recognise()),
        (machine(FAILED, due=NOW - 1), True, {}, Recognise()),
        # the host could not: tried again when due
        (machine(FAILED, due=NOW + 4), False, {}, Rest(NOW + 4)),
        (machine(FAILED, due=NOW), False, {}, Load()),
        # no memory: no countdown, no attempt before it is due
        (machine(DELAYING, due=NOW + 2, waits=True), False, {}, Rest(NOW + 2)),
        (machine(DELAYING, due=NOW, waits=True), False, {}, Load()),
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
        one = lifecycle.started(lifecycle.load(lifecycle.begin(one, wish, action, 0, now), 0, now), now)
        now += 60
    action = decide(one, wish, True, "", now)
    one = lifecycle.given_up(one, action.sentence, now)
    assert (seen, one.state, one.run) == ([0, 1, 2], FAILED, 3)
    assert decide(one, wish, True, "", now + 1000) == Rest()
    one = lifecycle.booted(one, 3, now + 5, now + 5)
    assert (one.state, one.retries) == (BOOTED, 0)


def test_time_of_a_copy_to_a_disk_is_not_the_boots():
    one, wish = machine(BOOTING, cause="powered on", since=NOW), wanted(boot_timeout_s=60)
    copies = lifecycle.copying(one, 3, NOW + 45)
    assert (copies.state, copies.since, copies.sequence > one.sequence) == (BOOTING, NOW, True)
    assert copies.reason == "powered on; its system copies the image to its disk"
    still = lifecycle.copying(copies, 3, NOW + 55)
    assert still == replace(copies, cycle_start=NOW + 55)
    assert decide(still, wish, True, "", NOW + 70) == Rest(NOW + 55 + 60)
    assert decide(still, wish, True, "", NOW + 55 + 60) == Begin("no boot within 60 s; retry 1 of 2", 1)
    for old in (lifecycle.copying(still, 3, NOW + 50), lifecycle.copying(still, 2, NOW + 60)):
        assert old == still
    for state in (DELAYING, LOADING, BOOTED, FAILED):
        assert lifecycle.copying(machine(state), 3, NOW) == machine(state)


@pytest.mark.parametrize("state", [BOOTING, BOOTED, FAILED])
def test_fault_02_a_guest_that_powers_off_is_stopped(state):
    """Until a boot is asked for; also if that number was known before."""
    ended, wish = lifecycle.GUEST_POWERED_OFF, wanted(boot=1)
    assert decide(machine(state), wish, False, ended, NOW) == TakeAsOff()
    one = lifecycle.stopped(machine(state), wish, NOW, ended)
    assert (one.state, one.reason, one.boot) == (STOPPED, "the guest powered off", 1)
    assert decide(one, wish, False, ended, NOW) == Rest()
    assert decide(one, wanted(boot=2), False, ended, NOW) == Begin("powered on", 0)


SPENT = "the guest rebooted before it was booted, 2 retries spent; left as it is"


@pytest.mark.parametrize(
    ("before", "changes", "action"),
    [
        (machine(BOOTING), {}, Begin("the guest rebooted before it was booted; retry 1 of 2", 1)),
        (machine(BOOTING), {"boot_timeout_s": None}, Begin("the guest rebooted before it was booted; retry 1 of 2", 1)),
        (machine(BOOTING, retries=1), {}, Begin("the guest rebooted before it was booted; retry 2 of 2", 2)),
        (machine(BOOTING, retries=2), {}, GiveUp(SPENT)),
        (machine(FAILED, retries=2), {}, Rest()),
        (
            machine(FAILED, retries=2),
            {"boot_retries": 3},
            Begin("the guest rebooted before it was booted; retry 3 of 3", 3),
        ),
        (machine(FAILED, retries=2), {"boot": 2}, Begin("reboot asked", 0)),
    ],
)
def test_fault_25_a_guest_that_reboots_for_ever_is_given_up(before, changes, action):
    assert decide(before, wanted(**changes), False, GONE, NOW) == action


@pytest.mark.parametrize(
    ("state", "changes", "has_disks", "asked"),
    [
        (BOOTED, {}, True, lifecycle.POWER_OFF_GUEST),
        (BOOTED, {"power": "off"}, True, lifecycle.POWER_OFF_GUEST),
        (BOOTED, {}, False, lifecycle.SYNC_GUEST),
        (BOOTED, {"hard": True}, True, ""),
        (BOOTED, {"power": "absent"}, True, ""),
        (BOOTING, {}, True, ""),  # there is nobody yet to ask
        (FAILED, {}, True, ""),
    ],
)
def test_what_a_guest_is_asked_before_its_end(state, changes, has_disks, asked):
    assert farewell(machine(state), wanted(**changes), has_disks) == asked


def test_waiting_for_memory_is_said_once_and_is_no_part_of_the_boot():
    full = "waits for memory: host lab has promised 20.0 of 24.0 GiB, this node wants 8.0"
    one = lifecycle.waiting(machine(DELAYING, due=NOW, reason="powered on"), full, NOW)
    assert (one.state, one.reason, one.since, one.due) == (DELAYING, full, NOW, NOW + 2)
    again = lifecycle.waiting(one, full, NOW + 500)
    assert (again.sequence, again.since) == (one.sequence, one.since)
    assert (
        lifecycle.waiting(lifecycle.failed(one, "no", NOW), full, NOW + 9).failures == 0
    )  # it is no fault of the host
    other = lifecycle.waiting(again, "waits for memory: something else", NOW + 502)
    assert other.sequence > one.sequence and other.since == one.since
    up = lifecycle.started(lifecycle.load(other, 2**30, NOW + 504), NOW + 504)
    assert not up.waits and up.ram_bytes == 2**30
    assert decide(up, wanted(), True, "", NOW + 504) == Rest(NOW + 502 + 180)


def test_failures_of_the_host_back_off_and_keep_their_reason():
    one = machine(LOADING)
    pauses, now = [], NOW
    for _ in range(6):
        one = lifecycle.failed(lifecycle.load(one, 0, now), "qemu is not installed", now)
        pauses.append(one.due - now)
        now = one.due
    assert pauses == [2, 4, 8, 16, 30, 30]
    assert one.state == FAILED and one.reason == "qemu is not installed; next try in 30 s"
    assert one.since == NOW
    assert lifecycle.load(one, 0, now).state == FAILED  # the reason stays in sight while it is tried
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
    assert lifecycle.begin(one, wish, Begin("reboot asked", 0), 0, NOW).reason == "reboot asked"
    one = lifecycle.load(one, 0, NOW + 7)
    assert (one.state, one.run, one.due) == (LOADING, 4, 0)
    one = lifecycle.started(one, NOW + 8)
    assert one.state == BOOTING and one.reason.startswith("reboot asked")


def test_a_new_cycle_remembers_nothing_of_the_one_before():
    waited = replace(machine(DELAYING, due=NOW + 2), waits=True, failures=3, retries=2)
    new = lifecycle.begin(waited, wanted(boot=2), Begin("reboot asked", 0), 5, NOW)
    assert (new.waits, new.failures, new.retries, new.cycle_start) == (False, 0, 0, NOW)
    assert decide(new, wanted(boot=2), False, "", NOW) == Count(5)


def test_an_end_answers_the_newest_wish_and_nothing_is_due_after_it():
    failing = machine(FAILED, due=NOW + 20, boot=3)
    for boot in (2, 4):
        off = lifecycle.stopped(failing, wanted(boot=boot, power="off"), NOW)
        assert (off.boot, off.due) == (max(3, boot), 0)
        assert decide(off, wanted(boot=boot), False, GONE, NOW + 30) == Rest()


def test_reports_stay_in_order_when_the_clock_of_the_host_goes_back():
    late = lifecycle.given_up(machine(BOOTING), "a", NOW)
    early = lifecycle.given_up(machine(BOOTING, sequence=late.sequence), "b", NOW - 500)
    assert early.sequence > late.sequence
    assert lifecycle.given_up(early, "c", NOW + 1).sequence >= (NOW + 1) * 1e9, "also after its memory was lost"


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


EVENTS = ["wish", "off", "reset", "poweroff", "boot", "fail", "full", "time"]


@given(st.lists(st.sampled_from(EVENTS), max_size=30), st.integers(0, 3))
def test_sequence_grows_and_something_is_always_decided(events, boot_retries):
    """Whatever happens in whatever order: reports are ordered, and no state is a dead end."""
    one, wish, runs, now, ended = Machine(5, "vnode1"), wanted(boot_retries=boot_retries), False, NOW, GONE
    for event in events:
        before = one
        if event == "wish":
            wish = replace(wish, boot=wish.boot + 1, power="on")
        elif event == "off":
            wish = replace(wish, power="off")
        elif event in ("reset", "poweroff") and runs:
            runs, ended = False, GONE if event == "reset" else lifecycle.GUEST_POWERED_OFF
        elif event == "boot" and runs:
            one = lifecycle.booted(one, one.run, now, now)
        elif event == "time":
            now += 100
        match decide(one, wish, runs, ended, now):
            case Begin() as action:
                runs, one = False, lifecycle.begin(one, wish, action, 0, now)
                assert action.retries <= boot_retries
            case Stop():
                runs, one = False, lifecycle.stopped(one, wish, now)
            case TakeAsOff():
                assert not runs and ended == lifecycle.GUEST_POWERED_OFF
                one = lifecycle.stopped(one, wish, now, ended)
            case Load() if event == "full":
                one = lifecycle.waiting(one, "full", now)
                assert decide(one, wish, runs, ended, now) == Rest(now + lifecycle.WAIT_RETRY_S)
            case Load():
                one = lifecycle.load(one, 0, now)
                runs = event != "fail"
                one = lifecycle.started(one, now) if runs else lifecycle.failed(one, "no", now)
            case GiveUp(sentence):
                one = lifecycle.given_up(one, sentence, now)
            case Recognise():
                one = lifecycle.started(one, now)
            case Rest(until):
                assert until is None or until > now
                assert until or one.state in (STOPPED, BOOTED, FAILED) or boot_retries == 0
                assert wish.power == "off" or one.state != STOPPED or ended == lifecycle.GUEST_POWERED_OFF
        assert one.run >= before.run
        assert one.sequence > before.sequence or (one.state, one.reason) == (before.state, before.reason)
