"""Every transition of the life cycle, as tables."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.vmrunner.lifecycle import transitions
from services.vmrunner.lifecycle.decision import (
    POWER_OFF_GUEST,
    SYNC_GUEST,
    Adopt,
    GiveUp,
    Idle,
    Load,
    MarkStopped,
    Remove,
    ShowCountdown,
    StartBootCycle,
    Stop,
    decide,
    shutdown_command,
)
from services.vmrunner.lifecycle.transitions import VmRecord
from services.vmrunner.qemu.endings import GUEST_POWERED_OFF, QEMU_QUIT, Ending, ending
from tests.support.specs import spec
from walt.contracts.vmrunner import (
    BOOTED,
    BOOTING,
    CAUSE_CANNOT_START,
    CAUSE_COPYING_IMAGE,
    CAUSE_CRASHED,
    CAUSE_ENDED,
    CAUSE_GUEST_POWERED_OFF,
    CAUSE_GUEST_REBOOTED,
    CAUSE_NO_BOOT,
    CAUSE_NO_MEMORY,
    CAUSE_POWERED_ON,
    CAUSE_REBOOT_REQUESTED,
    CAUSE_SSH_ANSWERS,
    CAUSE_STOP_REQUESTED,
    CAUSE_WAITS_FOR_SLOT,
    DELAYING,
    FAILED,
    LOADING,
    STATES,
    STOPPED,
)

NOW = 1000.0
REBOOTED = ending("guest-reset")
RUNS = None
REBOOT = StartBootCycle(CAUSE_REBOOT_REQUESTED, "reboot requested", 0)
POWER_ON = StartBootCycle(CAUSE_POWERED_ON, "powered on", 0)


def record(state, **changes):
    return replace(
        VmRecord(5, "vnode1", boot=1, run=3, state=state, cycle_start=NOW - 10, powered_at=NOW - 8), **changes
    )


def begin(before, node, action, delay_s, now):
    return transitions.begin(before, node, action.cause, action.reason, action.retries, delay_s, now)


def stop(before, node, now):
    return transitions.stopped(before, node, CAUSE_STOP_REQUESTED, "powered off as requested", now)


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("ended", [RUNS, REBOOTED])
def test_absent_ends_everything(state, ended):
    assert decide(record(state), spec(power="absent"), ended, NOW) == Remove()


@pytest.mark.parametrize(
    ("state", "ended", "boot", "action"),
    [
        (STOPPED, REBOOTED, 1, Idle()),
        (STOPPED, REBOOTED, 2, Stop()),  # to answer the spec of that number
        (STOPPED, RUNS, 1, Stop()),
        (BOOTED, RUNS, 1, Stop()),
        (FAILED, REBOOTED, 1, Stop()),
        (DELAYING, REBOOTED, 1, Stop()),
    ],
)
def test_power_off(state, ended, boot, action):
    assert decide(record(state), spec(power="off", boot=boot), ended, NOW) == action


@pytest.mark.parametrize(
    ("before", "ended", "changes", "action"),
    [
        # a reboot that was requested ends any state, at once
        (record(BOOTED), RUNS, {"boot": 2}, REBOOT),
        (record(BOOTING, retries=2), RUNS, {"boot": 2}, REBOOT),
        (record(FAILED, due=NOW + 20), REBOOTED, {"boot": 2}, REBOOT),
        (record(DELAYING, due=NOW + 5), REBOOTED, {"boot": 2}, REBOOT),
        (record(LOADING), REBOOTED, {"boot": 2}, REBOOT),
        (record(STOPPED), REBOOTED, {"boot": 2}, POWER_ON),
        (record(STOPPED), REBOOTED, {}, Idle()),  # its guest has powered off, and no boot was requested since
        # a late spec of a former number changes nothing
        (record(BOOTED, boot=4), RUNS, {"boot": 3}, Idle()),
        # the way up
        (record(DELAYING, due=NOW + 2.5), REBOOTED, {}, ShowCountdown(3)),
        (record(DELAYING, due=NOW), REBOOTED, {}, Load()),
        (record(LOADING), REBOOTED, {}, Load()),
        (record(BOOTED), RUNS, {}, Idle()),
        # its end, whatever it was, starts it again
        (record(BOOTED), REBOOTED, {}, StartBootCycle(CAUSE_GUEST_REBOOTED, "the guest rebooted", 0)),
        (
            record(BOOTING, retries=2),
            REBOOTED,
            {"boot_retries": 0},
            StartBootCycle(CAUSE_GUEST_REBOOTED, "the guest rebooted", 2),
        ),  # there is no watch
        # vmrunner died between the start of qemu and the note of it
        (record(LOADING), RUNS, {}, Adopt()),
        (record(FAILED, due=NOW - 1), RUNS, {}, Adopt()),
        # the host could not: tried again when due
        (record(FAILED, due=NOW + 4), REBOOTED, {}, Idle(NOW + 4)),
        (record(FAILED, due=NOW), REBOOTED, {}, Load()),
        # no memory: no countdown, no attempt before it is due
        (record(DELAYING, due=NOW + 2, waits=True), REBOOTED, {}, Idle(NOW + 2)),
        (record(DELAYING, due=NOW, waits=True), REBOOTED, {}, Load()),
    ],
)
def test_what_next(before, ended, changes, action):
    assert decide(before, spec(**changes), ended, NOW) == action


LATE = record(BOOTING, cycle_start=NOW - 180)


@pytest.mark.parametrize(
    ("before", "changes", "action"),
    [
        (record(BOOTING), {}, Idle(NOW - 10 + 180)),
        (record(BOOTING), {"boot_timeout_s": 60}, Idle(NOW - 10 + 60)),
        (LATE, {}, StartBootCycle(CAUSE_NO_BOOT, "no boot within 180 s; retry 1 of 2", 1)),
        (replace(LATE, retries=1), {}, StartBootCycle(CAUSE_NO_BOOT, "no boot within 180 s; retry 2 of 2", 2)),
        (replace(LATE, retries=2), {}, GiveUp(CAUSE_NO_BOOT, "no boot within 180 s, 2 retries spent; left as it is")),
        (replace(LATE, retries=2, state=FAILED), {}, Idle()),
        (
            replace(LATE, retries=2, state=FAILED),
            {"boot_retries": 3},
            StartBootCycle(CAUSE_NO_BOOT, "no boot within 180 s; retry 3 of 3", 3),
        ),
        (LATE, {"boot_retries": 0}, Idle()),
        (LATE, {"boot_timeout_s": None}, Idle()),
    ],
)
def test_boot_watch(before, changes, action):
    assert decide(before, spec(**changes), RUNS, NOW) == action


def test_a_boot_that_hangs_is_retried_then_left_and_may_still_arrive():
    now, one, node = NOW, VmRecord(5, "vnode1"), spec(boot_timeout_s=60, boot_retries=2)
    seen = []
    for _ in range(3):
        action = decide(one, node, RUNS if one.state == BOOTING else REBOOTED, now)
        seen.append(action.retries)
        one = transitions.started(transitions.load(begin(one, node, action, 0, now), 0, now), now)
        now += 60
    action = decide(one, node, RUNS, now)
    one = transitions.given_up(one, action.cause, action.reason, now)
    assert (seen, one.state, one.cause, one.run) == ([0, 1, 2], FAILED, CAUSE_NO_BOOT, 3)
    assert decide(one, node, RUNS, now + 1000) == Idle()
    one = transitions.booted(one, 3, now + 5, now + 5)
    assert (one.state, one.cause, one.retries) == (BOOTED, CAUSE_SSH_ANSWERS, 0)


def test_time_of_a_copy_to_a_disk_is_not_the_boots():
    one, node = record(BOOTING, since=NOW), spec(boot_timeout_s=60)
    copies = transitions.copying(one, 3, NOW + 45)
    assert (copies.state, copies.cause, copies.since) == (BOOTING, CAUSE_COPYING_IMAGE, NOW)
    assert copies.sequence > one.sequence
    assert copies.reason == "powered on; its system copies the image to its disk"
    still = transitions.copying(copies, 3, NOW + 55)
    assert still == replace(copies, cycle_start=NOW + 55)
    assert decide(still, node, RUNS, NOW + 70) == Idle(NOW + 55 + 60)
    retry = StartBootCycle(CAUSE_NO_BOOT, "no boot within 60 s; retry 1 of 2", 1)
    assert decide(still, node, RUNS, NOW + 55 + 60) == retry
    for old in (transitions.copying(still, 3, NOW + 50), transitions.copying(still, 2, NOW + 60)):
        assert old == still
    for state in (DELAYING, LOADING, BOOTED, FAILED):
        assert transitions.copying(record(state), 3, NOW) == record(state)


@pytest.mark.parametrize("state", [BOOTING, BOOTED, FAILED])
def test_fault_02_a_guest_that_powers_off_is_stopped(state):
    """Until a boot is requested; also if that number was known before."""
    node = spec(boot=1)
    assert decide(record(state), node, GUEST_POWERED_OFF, NOW) == MarkStopped()
    one = transitions.stopped(record(state), node, CAUSE_GUEST_POWERED_OFF, "the guest powered off", NOW)
    assert (one.state, one.reason, one.boot) == (STOPPED, "the guest powered off", 1)
    assert decide(one, node, GUEST_POWERED_OFF, NOW) == Idle()
    assert decide(one, spec(boot=2), GUEST_POWERED_OFF, NOW) == POWER_ON


SPENT = "the guest rebooted before it was booted, 2 retries spent; left as it is"


@pytest.mark.parametrize(
    ("before", "changes", "action"),
    [
        (
            record(BOOTING),
            {},
            StartBootCycle(CAUSE_GUEST_REBOOTED, "the guest rebooted before it was booted; retry 1 of 2", 1),
        ),
        (
            record(BOOTING),
            {"boot_timeout_s": None},
            StartBootCycle(CAUSE_GUEST_REBOOTED, "the guest rebooted before it was booted; retry 1 of 2", 1),
        ),
        (
            record(BOOTING, retries=1),
            {},
            StartBootCycle(CAUSE_GUEST_REBOOTED, "the guest rebooted before it was booted; retry 2 of 2", 2),
        ),
        (record(BOOTING, retries=2), {}, GiveUp(CAUSE_GUEST_REBOOTED, SPENT)),
        (record(FAILED, retries=2), {}, Idle()),
        (
            record(FAILED, retries=2),
            {"boot_retries": 3},
            StartBootCycle(CAUSE_GUEST_REBOOTED, "the guest rebooted before it was booted; retry 3 of 3", 3),
        ),
        (record(FAILED, retries=2), {"boot": 2}, REBOOT),
    ],
)
def test_fault_25_a_guest_that_reboots_for_ever_is_given_up(before, changes, action):
    assert decide(before, spec(**changes), REBOOTED, NOW) == action


@pytest.mark.parametrize(
    ("state", "changes", "has_disks", "command"),
    [
        (BOOTED, {}, True, POWER_OFF_GUEST),
        (BOOTED, {"power": "off"}, True, POWER_OFF_GUEST),
        (BOOTED, {}, False, SYNC_GUEST),
        (BOOTED, {"hard": True}, True, ""),
        (BOOTED, {"power": "absent"}, True, ""),
        (BOOTING, {}, True, ""),  # no guest answers yet
        (FAILED, {}, True, ""),
    ],
)
def test_what_a_guest_is_told_before_its_end(state, changes, has_disks, command):
    assert shutdown_command(record(state), spec(**changes), has_disks) == command


def test_waiting_for_memory_is_reported_once_and_is_no_part_of_the_boot():
    full = "waits for memory: host lab has promised 20.0 of 24.0 GiB, this node needs 8.0"
    one = transitions.waiting(record(DELAYING, due=NOW, reason="powered on"), CAUSE_NO_MEMORY, full, NOW)
    assert (one.state, one.cause, one.reason) == (DELAYING, CAUSE_NO_MEMORY, full)
    assert (one.since, one.due) == (NOW, NOW + 2)
    again = transitions.waiting(one, CAUSE_NO_MEMORY, full, NOW + 500)
    assert (again.sequence, again.since) == (one.sequence, one.since)
    failed = transitions.failed(one, CAUSE_CANNOT_START, "no", NOW)
    assert transitions.waiting(failed, CAUSE_NO_MEMORY, full, NOW + 9).failures == 0  # it is no fault of the host
    other = transitions.waiting(again, CAUSE_WAITS_FOR_SLOT, "others boot before it", NOW + 502)
    assert other.cause == CAUSE_WAITS_FOR_SLOT
    assert other.sequence > one.sequence and other.since == one.since
    up = transitions.started(transitions.load(other, 2**30, NOW + 504), NOW + 504)
    assert not up.waits and up.ram_bytes == 2**30
    assert decide(up, spec(), RUNS, NOW + 504) == Idle(NOW + 504 + 180)


def test_failures_of_the_host_back_off_and_keep_their_reason():
    one = record(LOADING)
    pauses, now = [], NOW
    for _ in range(6):
        one = transitions.failed(transitions.load(one, 0, now), CAUSE_CANNOT_START, "qemu is not installed", now)
        pauses.append(one.due - now)
        now = one.due
    assert pauses == [2, 4, 8, 16, 30, 30]
    assert one.state == FAILED and one.reason == "qemu is not installed; next try in 30 s"
    assert one.since == NOW
    assert transitions.load(one, 0, now).state == FAILED  # the reason stays in sight while it is tried
    assert transitions.started(one, now).failures == 0


@pytest.mark.parametrize(
    ("before", "run", "state"),
    [
        (record(BOOTING), 3, BOOTED),
        (record(BOOTING), 2, BOOTING),
        (record(BOOTED, reason="x"), 3, BOOTED),
        (record(DELAYING), 3, DELAYING),
        (record(FAILED), 3, BOOTED),
        (record(FAILED, due=NOW), 3, FAILED),
    ],
)
def test_news_of_a_boot(before, run, state):
    after = transitions.booted(before, run, NOW + 2.44, NOW + 3)
    assert after.state == state
    assert (after == before) == (state == before.state)
    if after != before:
        assert after.reason == "ssh answers after 10.4 s"


def test_reasons_of_a_cycle():
    node, one = spec(boot=2), record(BOOTED)
    one = begin(one, node, REBOOT, 7, NOW)
    assert (one.state, one.reason, one.boot, one.due) == (DELAYING, "reboot requested; boots in 7 s", 2, NOW + 7)
    assert begin(one, node, REBOOT, 0, NOW).reason == "reboot requested"
    one = transitions.load(one, 0, NOW + 7)
    assert (one.state, one.run, one.due) == (LOADING, 4, 0)
    one = transitions.started(one, NOW + 8)
    assert one.state == BOOTING and one.reason.startswith("reboot requested")


def test_a_new_cycle_remembers_nothing_of_the_one_before():
    waited = replace(record(DELAYING, due=NOW + 2), waits=True, failures=3, retries=2)
    new = begin(waited, spec(boot=2), REBOOT, 5, NOW)
    assert (new.waits, new.failures, new.retries, new.cycle_start) == (False, 0, 0, NOW)
    assert decide(new, spec(boot=2), REBOOTED, NOW) == ShowCountdown(5)


def test_an_end_answers_the_newest_spec_and_nothing_is_due_after_it():
    failing = record(FAILED, due=NOW + 20, boot=3)
    for boot in (2, 4):
        off = stop(failing, spec(boot=boot, power="off"), NOW)
        assert (off.boot, off.due) == (max(3, boot), 0)
        assert decide(off, spec(boot=boot), REBOOTED, NOW + 30) == Idle()


def test_reports_stay_in_order_when_the_clock_of_the_host_goes_back():
    late = transitions.given_up(record(BOOTING), CAUSE_NO_BOOT, "a", NOW)
    early = transitions.given_up(record(BOOTING, sequence=late.sequence), CAUSE_NO_BOOT, "b", NOW - 500)
    assert early.sequence > late.sequence
    assert transitions.given_up(early, CAUSE_NO_BOOT, "c", NOW + 1).sequence >= (NOW + 1) * 1e9, (
        "also after its memory was lost"
    )


@pytest.mark.parametrize(
    ("event", "cause", "sentence"),
    [
        ("guest-reset", CAUSE_GUEST_REBOOTED, "the guest rebooted"),
        ("guest-shutdown", CAUSE_GUEST_POWERED_OFF, "the guest powered off"),
        (None, CAUSE_CRASHED, "qemu crashed"),
        ("something-new", CAUSE_ENDED, "qemu: something-new"),
    ],
)
def test_endings(event, cause, sentence):
    assert ending(event) == Ending(cause, sentence)


EVENTS = ["boot-request", "off", "reset", "poweroff", "boot", "fail", "full", "time"]


@given(st.lists(st.sampled_from(EVENTS), max_size=30), st.integers(0, 3))
def test_sequence_grows_and_something_is_always_decided(events, boot_retries):
    """Whatever happens in whatever order: reports are ordered, and no state is a dead end."""
    one, node, ended, now = VmRecord(5, "vnode1"), spec(boot_retries=boot_retries), REBOOTED, NOW
    for event in events:
        before = one
        if event == "boot-request":
            node = replace(node, boot=node.boot + 1, power="on")
        elif event == "off":
            node = replace(node, power="off")
        elif event in ("reset", "poweroff") and ended is RUNS:
            ended = REBOOTED if event == "reset" else GUEST_POWERED_OFF
        elif event == "boot" and ended is RUNS:
            one = transitions.booted(one, one.run, now, now)
        elif event == "time":
            now += 100
        match decide(one, node, ended, now):
            case StartBootCycle() as action:
                ended, one = ended or QEMU_QUIT, begin(one, node, action, 0, now)
                assert action.retries <= boot_retries
            case Stop():
                ended, one = ended or QEMU_QUIT, stop(one, node, now)
            case MarkStopped():
                assert ended == GUEST_POWERED_OFF
                one = stop(one, node, now)
            case Load() if event == "full":
                one = transitions.waiting(one, CAUSE_NO_MEMORY, "full", now)
                assert decide(one, node, ended, now) == Idle(now + transitions.MEMORY_RETRY_S)
            case Load():
                one = transitions.load(one, 0, now)
                if event == "fail":
                    one = transitions.failed(one, CAUSE_CANNOT_START, "no", now)
                else:
                    ended, one = RUNS, transitions.started(one, now)
            case GiveUp(cause, reason):
                one = transitions.given_up(one, cause, reason, now)
            case Adopt():
                one = transitions.started(one, now)
            case Idle(until):
                assert until is None or until > now
                assert until or one.state in (STOPPED, BOOTED, FAILED) or boot_retries == 0
                assert node.power == "off" or one.state != STOPPED or ended == GUEST_POWERED_OFF
        assert one.run >= before.run
        assert one.sequence > before.sequence or (one.state, one.reason) == (before.state, before.reason)
