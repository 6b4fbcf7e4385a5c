"""Which VMs are paused when the disk of their host is nearly full."""

from __future__ import annotations

from dataclasses import replace

import pytest

from services.vmrunner.disks.floor import Space, watch
from services.vmrunner.lifecycle.transitions import VmRecord, paused
from walt.contracts.vmrunner import BOOTED, BOOTING, CAUSE_NO_SPACE, CAUSE_SSH_ANSWERS

FLOOR = 1000


def after(*turns):
    """Of (free bytes, {node: bytes on the disk}), one after the other."""
    space = Space()
    for free_bytes, taken in turns:
        space = watch(space, free_bytes, FLOOR, taken)
    return space


def test_nothing_is_paused_while_there_is_room():
    assert after((FLOOR, {1: 5}), (FLOOR, {1: 9})) == Space()


def test_fault_s8_only_what_goes_on_writing_is_paused():
    low = after((999, {1: 5, 2: 5}))
    assert (low.is_low, low.paused) == (True, frozenset())
    low = watch(low, 900, FLOOR, {1: 6, 2: 5})
    assert low.paused == {1}
    assert watch(low, 900, FLOOR, {1: 6, 2: 5, 3: 7}).paused == {1}, "a new one is seen for the first time"
    assert watch(watch(low, 900, FLOOR, {1: 6, 2: 5, 3: 7}), 900, FLOOR, {1: 6, 2: 5, 3: 8}).paused == {1, 3}


@pytest.mark.parametrize(("free_bytes", "paused_then"), [(1000, {1}), (1249, {1}), (1250, set())])
def test_it_runs_again_once_there_is_some_more_than_the_floor(free_bytes, paused_then):
    assert after((999, {1: 5}), (900, {1: 6}), (free_bytes, {1: 6})).paused == paused_then


def test_one_that_has_ended_is_forgotten_and_begins_anew():
    low = after((999, {1: 5}), (900, {1: 6}), (900, {}), (900, {1: 9}))
    assert (low.taken, low.paused) == ({1: 9}, frozenset())


def test_a_node_says_that_it_is_paused_and_that_it_runs_again():
    record = VmRecord(1, "n", state=BOOTED, cause=CAUSE_SSH_ANSWERS, sequence=3)
    assert paused(record, False, 9.0) is record
    waits = paused(record, True, 9.0)
    assert (waits.state, waits.cause, waits.since) == (BOOTED, CAUSE_NO_SPACE, 9.0)
    assert "the disk of its host is nearly full" in waits.reason and waits.sequence > record.sequence
    assert paused(waits, True, 10.0) is waits
    runs = paused(waits, False, 11.0)
    assert (runs.state, runs.cause, runs.reason) == (BOOTED, CAUSE_SSH_ANSWERS, "it runs again")
    booting = replace(record, state=BOOTING)
    assert paused(booting, True, 9.0) is booting
