"""A physical node from outside: which command is sent to it and when, what is reported, and which spec that answers."""

from __future__ import annotations

from dataclasses import replace

import pytest

from services.bootserver.physical import machine
from services.bootserver.physical.machine import BOOT_LIMIT_S, RETURN_LIMIT_S
from services.bootserver.physical.machines import MachineEffects, Machines
from tests.support.specs import spec as wanted
from walt.contracts.nodes import PHYSICAL, POWER_OFF
from walt.contracts.vmrunner import (
    BOOTED,
    BOOTING,
    CAUSE_COMMAND_FAILED,
    CAUSE_NEVER_STARTED,
    CAUSE_NO_ANSWER,
    CAUSE_NO_BOOT,
    CAUSE_NOT_BACK,
    CAUSE_POWERED_ON,
    CAUSE_REBOOT_REQUESTED,
    CAUSE_SSH_ANSWERS,
    CAUSE_STOP_REQUESTED,
    DELAYING,
    FAILED,
    LOADING,
    STOPPED,
)

SPEC = wanted(id=7, name="pc", boot=1, type=PHYSICAL)


def again(number, **changes):
    return replace(SPEC, boot=number, **changes)


LOADS = machine.script_requested(None, SPEC, 10.0)
BOOTS = machine.kernel_sent(LOADS, 11.0)
RUNS = machine.booted(BOOTS, 1, 30.0)


def commanded(one, now=50.0):
    return machine.command_sent(one, one, now)


def test_a_boot_from_its_script_to_its_ssh_server():
    reports = [machine.report(one) for one in (LOADS, BOOTS, RUNS)]
    assert [(one.state, one.since) for one in reports] == [(LOADING, 10.0), (BOOTING, 11.0), (BOOTED, 30.0)]
    assert {(one.boot, one.run) for one in reports} == {(1, 1)}
    assert [one.sequence for one in reports] == sorted({one.sequence for one in reports})


def test_events_of_another_run_or_of_an_earlier_time_change_nothing():
    assert machine.booted(BOOTS, 2, 30.0) == BOOTS
    assert machine.booted(BOOTS, 1, 9.0) == BOOTS
    stopped = machine.unreachable(RUNS, 60.0)
    assert machine.booted(stopped, 1, 30.0) == stopped  # reported again by a bootserver that restarted


def test_a_machine_that_has_booted_is_told_to_reboot():
    requested = machine.with_spec(RUNS, again(2))
    assert (
        requested.has_pending_command and machine.report(requested).boot == 1
    )  # the run of before does not answer the new wish
    on_its_way = commanded(requested)
    assert (on_its_way.state, machine.report(on_its_way).boot, on_its_way.has_pending_command) == (DELAYING, 2, False)
    anew = machine.script_requested(on_its_way, again(2), 70.0)
    assert (anew.state, anew.run, machine.report(anew).boot) == (LOADING, 2, 2)


def test_the_same_spec_again_changes_nothing():
    requested = machine.with_spec(RUNS, again(2))
    assert machine.with_spec(requested, again(2)) == requested
    assert machine.with_spec(requested, again(1)) == requested


def test_a_machine_that_is_renamed_is_not_rebooted():
    renamed = machine.with_spec(RUNS, replace(SPEC, name="gateway"))
    assert not renamed.has_pending_command and machine.report(renamed).name == "gateway"


def test_a_reboot_requested_while_it_boots_is_sent_once_it_has_booted():
    requested = machine.with_spec(BOOTS, again(2))
    assert not requested.has_pending_command
    assert machine.booted(requested, 1, 30.0).has_pending_command


def test_a_second_spec_while_it_reboots_is_what_it_boots():
    on_its_way = machine.with_spec(commanded(machine.with_spec(RUNS, again(2))), again(3, image="other"))
    anew = machine.script_requested(on_its_way, again(3, image="other"), 70.0)
    assert machine.report(anew).boot == 3
    assert not machine.booted(anew, 2, 90.0).has_pending_command


def test_a_second_spec_while_the_first_command_is_sent_stays_pending():
    before = machine.with_spec(RUNS, again(2))
    requested = machine.with_spec(before, again(3, power=POWER_OFF))
    after = machine.command_sent(requested, before, 50.0)
    assert after.state == DELAYING  # it was told to reboot, not to end
    booted = machine.booted(machine.script_requested(after, again(3), 70.0), 2, 90.0)
    assert booted.has_pending_command and booted.power_off


def test_a_machine_that_boots_before_its_command_has_ended_is_not_reported_as_rebooting():
    before = machine.with_spec(RUNS, again(2))
    faster = machine.script_requested(before, again(2), 49.0)
    assert machine.command_sent(faster, before, 50.0) == faster
    stopped = machine.unreachable(before, 49.0)  # it went down with our connection
    assert machine.command_sent(stopped, before, 50.0) == stopped


def test_a_power_off_is_commanded_and_seen():
    going = commanded(machine.with_spec(RUNS, again(2, power=POWER_OFF)))
    assert (going.state, going.is_powering_off, machine.report(going).boot) == (BOOTED, True, 2)
    gone = machine.unreachable(going, 60.0)
    assert (gone.state, gone.reason) == (STOPPED, "it has switched itself off")
    assert not machine.reachable(gone, 70.0).is_powering_off  # it did not: its next silence is another
    anew = machine.script_requested(gone, again(2), 99.0)  # switched on by hand
    assert (anew.state, anew.power_off, machine.report(anew).boot) == (LOADING, False, 2)


def test_a_machine_that_does_not_answer_counts_as_stopped_and_may_come_back():
    stopped = machine.unreachable(RUNS, 60.0)
    assert (stopped.state, stopped.reason) == (STOPPED, "it does not answer on its ssh port")
    assert machine.unreachable(BOOTS, 60.0) == BOOTS
    back = machine.reachable(stopped, 80.0)
    assert (back.state, back.has_pending_command) == (BOOTED, False)
    requested = machine.with_spec(stopped, again(2))
    assert (
        machine.report(requested).boot == 2
    )  # all that can be done for this wish is done: it boots when it is switched on
    assert machine.reachable(requested, 80.0).has_pending_command


def test_a_machine_that_does_not_answer_needs_no_power_off():
    off = machine.with_spec(machine.unreachable(RUNS, 60.0), again(2, power=POWER_OFF))
    assert (off.state, machine.report(off).boot) == (STOPPED, 2)
    assert not machine.reachable(off, 80.0).has_pending_command
    assert not machine.booted(machine.script_requested(off, again(2), 90.0), 2, 95.0).has_pending_command


def test_a_machine_that_never_booted_is_not_taken_for_one_that_came_back():
    fresh = machine.never_booted(SPEC, 10.0)
    assert fresh.state == STOPPED
    assert machine.reachable(fresh, 20.0) == fresh


def test_a_failed_command_answers_the_spec():
    refused = machine.failed(machine.with_spec(RUNS, again(2)), CAUSE_COMMAND_FAILED, "no such command", 50.0)
    assert (refused.state, refused.reason, machine.report(refused).boot) == (FAILED, "no such command", 2)
    assert not refused.has_pending_command


@pytest.mark.parametrize(
    ("one", "limit_s", "state"),
    [
        (LOADS, BOOT_LIMIT_S, FAILED),
        (BOOTS, BOOT_LIMIT_S, FAILED),
        (commanded(machine.with_spec(RUNS, again(2))), RETURN_LIMIT_S, STOPPED),
    ],
)
def test_a_state_that_lasts_too_long_is_given_up(one, limit_s, state):
    assert machine.timed_out(one, one.since + limit_s) == one
    late = machine.timed_out(one, one.since + limit_s + 1)
    assert (late.state, f"{limit_s:g} s" in late.reason) == (state, True)


def test_a_boot_that_was_given_up_may_still_end_well():
    late = machine.timed_out(BOOTS, BOOTS.since + BOOT_LIMIT_S + 1)
    assert machine.booted(late, 1, late.since + 1).state == BOOTED


def test_a_running_machine_never_times_out():
    assert machine.timed_out(RUNS, 1e9) == RUNS


def test_each_state_has_its_cause():
    rebooting = commanded(machine.with_spec(RUNS, again(2)))
    powering_off = commanded(machine.with_spec(RUNS, again(2, power=POWER_OFF)))
    stopped = machine.unreachable(RUNS, 60.0)
    causes = {
        CAUSE_NEVER_STARTED: [machine.never_booted(SPEC, 1.0)],
        CAUSE_POWERED_ON: [LOADS, BOOTS],
        CAUSE_SSH_ANSWERS: [RUNS, machine.reachable(stopped, 80.0)],
        CAUSE_REBOOT_REQUESTED: [rebooting],
        CAUSE_STOP_REQUESTED: [powering_off, machine.unreachable(powering_off, 60.0)],
        CAUSE_NO_ANSWER: [stopped],
        CAUSE_NO_BOOT: [machine.timed_out(LOADS, 1e9), machine.timed_out(BOOTS, 1e9)],
        CAUSE_NOT_BACK: [machine.timed_out(rebooting, 1e9)],
        CAUSE_COMMAND_FAILED: [machine.failed(RUNS, CAUSE_COMMAND_FAILED, "no such command", 50.0)],
    }
    for cause, machines in causes.items():
        assert [machine.report(one).cause for one in machines] == [cause] * len(machines)


def test_fault_s36_reports_after_a_full_disk_and_a_restart_are_new(tmp_path, monkeypatch):
    reports = []
    effects = MachineEffects(lambda ip: True, lambda ip: True, lambda one, command: None, reports.append, print)
    before = Machines(tmp_path, effects)
    before.script_requested(SPEC)
    with monkeypatch.context() as patch:
        patch.setattr("services.bootserver.physical.machines.write_atomically", no_space)
        for number in range(2, 30):
            before.apply_spec(again(number))
            before.script_requested(again(number))
    after = Machines(tmp_path, effects)
    after.apply_spec(again(30))
    after.script_requested(again(30))
    numbers = [one.sequence for one in reports]
    assert len(numbers) > 30 and numbers == sorted(set(numbers))


def no_space(*arguments):
    raise OSError(28, "No space left on device")
