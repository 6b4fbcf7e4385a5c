"""A physical node from outside: what is told to it and when, what is reported of it, and which wish that answers."""

from __future__ import annotations

from dataclasses import replace

import pytest

from services.bootserver import machine
from services.bootserver.machine import BOOT_LIMIT_S, RETURN_LIMIT_S
from services.contracts.nodes import PHYSICAL, POWER_OFF
from services.contracts.vmrunner import BOOTED, BOOTING, DELAYING, FAILED, LOADING, STOPPED
from tests.unit.vmrunner.sample import wanted

WISH = wanted(id=7, name="pc", boot=1, type=PHYSICAL)


def again(number, **changes):
    return replace(WISH, boot=number, **changes)


LOADS = machine.begun(None, WISH, 10.0)
BOOTS = machine.kernel_sent(LOADS, 11.0)
RUNS = machine.booted(BOOTS, 1, 30.0)


def told(one, now=50.0):
    return machine.told(one, one, now)


def test_a_boot_from_its_script_to_its_ssh_server():
    reports = [machine.report(one) for one in (LOADS, BOOTS, RUNS)]
    assert [(one.state, one.since) for one in reports] == [(LOADING, 10.0), (BOOTING, 11.0), (BOOTED, 30.0)]
    assert {(one.boot, one.run) for one in reports} == {(1, 1)}
    assert [one.sequence for one in reports] == sorted({one.sequence for one in reports})


def test_news_of_another_run_or_of_before_are_none():
    assert machine.booted(BOOTS, 2, 30.0) == BOOTS
    assert machine.booted(BOOTS, 1, 9.0) == BOOTS
    silent = machine.silent(RUNS, 60.0)
    assert machine.booted(silent, 1, 30.0) == silent  # told again by a bootserver that has started anew


def test_a_reboot_is_told_to_what_has_booted():
    asked = machine.wished(RUNS, again(2))
    assert asked.must_be_told and machine.report(asked).boot == 1  # the run of before does not answer the new wish
    on_its_way = told(asked)
    assert (on_its_way.state, machine.report(on_its_way).boot, on_its_way.must_be_told) == (DELAYING, 2, False)
    anew = machine.begun(on_its_way, again(2), 70.0)
    assert (anew.state, anew.run, machine.report(anew).boot) == (LOADING, 2, 2)


def test_the_same_wish_again_changes_nothing():
    asked = machine.wished(RUNS, again(2))
    assert machine.wished(asked, again(2)) == asked
    assert machine.wished(asked, again(1)) == asked


def test_a_machine_that_is_renamed_is_not_rebooted():
    renamed = machine.wished(RUNS, replace(WISH, name="gateway"))
    assert not renamed.must_be_told and machine.report(renamed).name == "gateway"


def test_a_reboot_while_it_boots_is_told_once_it_has():
    asked = machine.wished(BOOTS, again(2))
    assert not asked.must_be_told
    assert machine.booted(asked, 1, 30.0).must_be_told


def test_a_second_wish_while_it_is_on_its_way_is_what_it_gets():
    on_its_way = machine.wished(told(machine.wished(RUNS, again(2))), again(3, image="other"))
    anew = machine.begun(on_its_way, again(3, image="other"), 70.0)
    assert machine.report(anew).boot == 3
    assert not machine.booted(anew, 2, 90.0).must_be_told


def test_a_second_wish_while_the_first_is_told_remains():
    before = machine.wished(RUNS, again(2))
    asked = machine.wished(before, again(3, power=POWER_OFF))
    after = machine.told(asked, before, 50.0)
    assert after.state == DELAYING  # it was told to reboot, not to end
    booted = machine.booted(machine.begun(after, again(3), 70.0), 2, 90.0)
    assert booted.must_be_told and booted.off


def test_what_boots_before_its_command_has_ended_is_not_told_to_have_rebooted():
    before = machine.wished(RUNS, again(2))
    faster = machine.begun(before, again(2), 49.0)
    assert machine.told(faster, before, 50.0) == faster
    silent = machine.silent(before, 49.0)  # it went down with our connection
    assert machine.told(silent, before, 50.0) == silent


def test_an_end_is_told_and_seen():
    going = told(machine.wished(RUNS, again(2, power=POWER_OFF)))
    assert (going.state, going.must_fall_silent, machine.report(going).boot) == (BOOTED, True, 2)
    gone = machine.silent(going, 60.0)
    assert (gone.state, gone.reason) == (STOPPED, "it has switched itself off")
    assert not machine.answering(gone, 70.0).must_fall_silent  # it did not: its next silence is another
    anew = machine.begun(gone, again(2), 99.0)  # switched on by hand
    assert (anew.state, anew.off, machine.report(anew).boot) == (LOADING, False, 2)


def test_silence_is_an_end_too_and_may_pass():
    silent = machine.silent(RUNS, 60.0)
    assert (silent.state, silent.reason) == (STOPPED, "it does not answer on its ssh port")
    assert machine.silent(BOOTS, 60.0) == BOOTS
    back = machine.answering(silent, 80.0)
    assert (back.state, back.must_be_told) == (BOOTED, False)
    asked = machine.wished(silent, again(2))
    assert (
        machine.report(asked).boot == 2
    )  # all that can be done for this wish is done: it boots when it is switched on
    assert machine.answering(asked, 80.0).must_be_told


def test_what_does_not_answer_needs_no_end():
    off = machine.wished(machine.silent(RUNS, 60.0), again(2, power=POWER_OFF))
    assert (off.state, machine.report(off).boot) == (STOPPED, 2)
    assert not machine.answering(off, 80.0).must_be_told
    assert not machine.booted(machine.begun(off, again(2), 90.0), 2, 95.0).must_be_told


def test_what_never_booted_is_not_taken_for_silent():
    fresh = machine.unseen(WISH, 10.0)
    assert fresh.state == STOPPED
    assert machine.answering(fresh, 20.0) == fresh


def test_a_refusal_is_a_failure_that_answers_the_wish():
    refused = machine.failed(machine.wished(RUNS, again(2)), "no such command", 50.0)
    assert (refused.state, refused.reason, machine.report(refused).boot) == (FAILED, "no such command", 2)
    assert not refused.must_be_told


@pytest.mark.parametrize(
    ("one", "limit_s", "state"),
    [
        (LOADS, BOOT_LIMIT_S, FAILED),
        (BOOTS, BOOT_LIMIT_S, FAILED),
        (told(machine.wished(RUNS, again(2))), RETURN_LIMIT_S, STOPPED),
    ],
)
def test_what_takes_too_long_is_said(one, limit_s, state):
    assert machine.overdue(one, one.since + limit_s) == one
    late = machine.overdue(one, one.since + limit_s + 1)
    assert (late.state, f"{limit_s:g} s" in late.reason) == (state, True)


def test_a_boot_that_was_given_up_may_still_end_well():
    late = machine.overdue(BOOTS, BOOTS.since + BOOT_LIMIT_S + 1)
    assert machine.booted(late, 1, late.since + 1).state == BOOTED


def test_what_runs_is_never_overdue():
    assert machine.overdue(RUNS, 1e9) == RUNS
