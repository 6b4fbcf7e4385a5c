"""When a VM boots, for how long, and why it has not: slots, time that it could not run, what its console shows."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from services.vmrunner.lifecycle.boot_clock import BootClock
from services.vmrunner.qemu.endings import GUEST_REBOOTED
from tests.unit.vmrunner.runner_world import FIRST, World, booted, goes_on, runner_for
from walt.contracts.vmrunner import BOOTING, CAUSE_WAITS_FOR_SLOT, DELAYING, FAILED


@pytest.fixture
def world(tmp_path) -> World:
    return World(tmp_path)


def test_fault_b8_a_vm_waits_until_others_have_booted(world):
    runner = runner_for(replace(FIRST, boot_timeout_s=180), world)
    slots = runner._context.slots
    assert slots.request(99, 0.0, lambda: None)
    goes_on(runner)
    waits = runner.report()
    assert (waits.state, waits.cause) == (DELAYING, CAUSE_WAITS_FOR_SLOT) and not world.runs
    slots.release(99)
    runner.record = replace(runner.record, due=1.0, cycle_start=1.0)  # it has waited for long
    goes_on(runner)
    assert world.runs and runner.report().state == BOOTING, "the time that it waited is not its boot's"
    assert not slots.request(99, 0.0, lambda: None)
    booted(runner)
    assert slots.request(99, 0.0, lambda: None)


@pytest.mark.parametrize("changes", [{"power": "absent"}, {"power": "off", "boot": 2}])
def test_one_that_waits_for_others_is_ended_and_leaves_no_slot_behind(world, changes):
    runner = runner_for(FIRST, world)
    slots = runner._context.slots
    slots.request(99, 0.0, lambda: None)
    goes_on(runner)
    runner.apply(replace(FIRST, version=2, **changes))
    goes_on(runner)
    assert not world.runs and slots.waiting() == 0


def test_fault_b48_the_reason_names_what_the_console_shows(world):
    runner = runner_for(replace(FIRST, boot_timeout_s=180, boot_retries=1), world)
    goes_on(runner)
    (world.folder / "line.log").write_bytes(b"walt-init: FAILED: image small cannot be copied\r\n")
    world.vm.dies(GUEST_REBOOTED)
    goes_on(runner)
    again = "the guest rebooted before it was booted; retry 1 of 1"
    clue = "its console shows: walt-init: FAILED: image small cannot be copied"
    assert [one.reason for one in world.reports if one.state == DELAYING][-1] == f"{again}; {clue}"
    world.vm.dies(GUEST_REBOOTED)
    goes_on(runner)
    assert runner.report().state == FAILED and runner.report().reason.endswith(clue)


def test_a_boot_that_could_not_run_has_more_time(world):
    runner = runner_for(replace(FIRST, boot_timeout_s=180), world)
    goes_on(runner)
    runner._boot_clock = BootClock(lambda: 0.0, lambda: 0.0, iter((0.0, 200.0, 380.0)).__next__)
    runner.record = replace(runner.record, cycle_start=time.time() - 181)
    goes_on(runner)
    assert runner.report().state == BOOTING, "150 of its 200 s went to other programs"
    runner.record = replace(runner.record, cycle_start=time.time() - 500)
    goes_on(runner)
    assert runner.record.retries == 1
