"""A booted node that stops answering (B34)."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from services.vmrunner.lifecycle import boot_counts, transitions
from services.vmrunner.lifecycle.console_clue import clue, silence_clue
from services.vmrunner.lifecycle.decision import EndHalted, decide
from services.vmrunner.lifecycle.guest_events import GuestEvents
from services.vmrunner.lifecycle.transitions import HALTED, VmRecord
from services.vmrunner.qemu.endings import ENDED_UNSEEN, QEMU_QUIT
from tests.support.specs import spec
from tests.unit.vmrunner.runner_world import FIRST, World, booted, goes_on, runner_for
from walt.contracts.bootserver import NodeBooted, NodeReachable
from walt.contracts.vmrunner import (
    BOOTED,
    BOOTING,
    CAUSE_GUEST_HALTED,
    CAUSE_NO_ANSWER,
    CAUSE_NO_SPACE,
    CAUSE_SSH_ANSWERS,
    STOPPED,
)

NOW = 1_700_000_000.0
PANIC = "Kernel panic - not syncing: sysrq triggered crash"
BOOTED_RECORD = VmRecord(5, "vnode1", boot=1, run=3, sequence=7, state=BOOTED, since=NOW, cause=CAUSE_SSH_ANSWERS)
SILENT, ANSWERS = NodeReachable(5, 3, False, NOW + 60), NodeReachable(5, 3, True, NOW + 90)


def test_fault_b34_silent_and_back():
    silent = transitions.reachable(BOOTED_RECORD, SILENT, PANIC)
    assert (silent.state, silent.cause, silent.since) == (BOOTED, CAUSE_NO_ANSWER, NOW + 60)
    assert silent.reason == f"it does not answer; its console shows: {PANIC}"
    assert transitions.reachable(silent, SILENT, "") == silent
    assert boot_counts.outcome(BOOTED_RECORD, silent) == ""
    back = transitions.reachable(silent, ANSWERS, "")
    assert (back.state, back.cause, back.since, back.reason) == (
        BOOTED,
        CAUSE_SSH_ANSWERS,
        NOW + 90,
        "it answers again",
    )
    assert transitions.reachable(back, ANSWERS, "") == back
    assert BOOTED_RECORD.sequence < silent.sequence < back.sequence


@pytest.mark.parametrize(
    "one",
    [
        replace(BOOTED_RECORD, state=BOOTING),
        replace(BOOTED_RECORD, state=STOPPED),
        replace(BOOTED_RECORD, run=4),
        replace(BOOTED_RECORD, cause=CAUSE_NO_SPACE),  # it is paused: that it does not answer is no news
    ],
)
def test_silence_that_is_of_no_account(one):
    assert transitions.reachable(one, SILENT, "") == one


def test_fault_that_a_node_has_booted_is_known_though_the_event_was_lost():
    """The broker was away when it was announced; the boot watch ended the VM after its time."""
    booting = replace(BOOTED_RECORD, state=BOOTING, powered_at=NOW + 80)
    known = transitions.reachable(booting, ANSWERS, "")
    assert (known.state, known.cause, known.reason) == (BOOTED, CAUSE_SSH_ANSWERS, "ssh answers after 10.0 s")
    assert transitions.reachable(replace(booting, run=4), ANSWERS, "").state == BOOTING


def test_fault_late_words_do_not_take_the_place_of_newer_ones():
    events = GuestEvents()
    for event in (
        ANSWERS,
        SILENT,
        NodeReachable(5, 2, False, NOW + 99),
        NodeBooted(5, 3, NOW + 9),
        NodeBooted(5, 2, NOW),
    ):
        events.put(event)
    record = replace(BOOTED_RECORD, state=BOOTING)
    for change in events.changes(False, lambda: ""):
        record = change(record)
    assert (record.state, record.cause) == (BOOTED, CAUSE_SSH_ANSWERS)


def test_halted_system_is_off():
    halted = transitions.reachable(BOOTED_RECORD, SILENT, HALTED)
    assert halted.cause == CAUSE_GUEST_HALTED
    for ending in (None, QEMU_QUIT, ENDED_UNSEEN):  # vmrunner may be killed after it has ended the qemu
        assert decide(halted, spec(boot=1), ending, NOW) == EndHalted()


def test_unit_that_failed_at_boot_is_no_reason_for_silence():
    tail = b"[DEPEND] Dependency failed for data.mount - /data.\r\nvnode1 login: \r\n"
    assert clue(tail) and not silence_clue(tail)
    assert silence_clue(tail + b"[  71.2] reboot: System halted\r\n") == HALTED


def test_runner_tells_silence_and_ends_a_halted_system(tmp_path):
    world = World(tmp_path)
    (tmp_path / "state").mkdir()
    runner = runner_for(FIRST, world)
    goes_on(runner)
    booted(runner)
    log = tmp_path / "line.log"
    for answers, cause in ((False, CAUSE_NO_ANSWER), (True, CAUSE_SSH_ANSWERS)):
        runner.hear(NodeReachable(FIRST.id, 1, answers, time.time()))
        goes_on(runner)
        assert (world.reports[-1].state, world.reports[-1].cause) == (BOOTED, cause)
    with open(log, "ab") as line:
        line.write(b"[   12.3] reboot: System halted\r\n")
    runner.hear(NodeReachable(FIRST.id, 1, False, time.time()))
    goes_on(runner)
    assert not world.runs
    assert (world.reports[-1].state, world.reports[-1].cause) == (STOPPED, CAUSE_GUEST_HALTED)
    assert world.reports[-1].reason == "the guest halted"
