"""How boots are counted."""

from dataclasses import replace

import pytest

from services.vmrunner.lifecycle.boot_counts import BootCounts, outcome
from services.vmrunner.lifecycle.transitions import VmRecord
from walt.contracts.vmrunner import (
    BOOTED,
    BOOTING,
    CAUSE_COPYING_IMAGE,
    CAUSE_GUEST_REBOOTED,
    CAUSE_NO_BOOT,
    DELAYING,
    FAILED,
    STOPPED,
)

BOOTS = VmRecord(5, "vnode1", state=BOOTING)


@pytest.mark.parametrize(
    ("changes", "counted"),
    [
        ({"state": BOOTED}, "booted"),
        ({"state": DELAYING, "cause": CAUSE_NO_BOOT}, "timed_out"),
        ({"state": FAILED, "cause": CAUSE_NO_BOOT}, "timed_out"),
        ({"state": DELAYING, "cause": CAUSE_GUEST_REBOOTED}, "ended"),
        ({"state": STOPPED}, "ended"),
        ({"state": FAILED, "due": 9.0}, "failed"),
    ],
)
def test_a_boot_ends_in_one_way(changes, counted):
    assert outcome(BOOTS, replace(BOOTS, **changes)) == counted


def test_what_is_no_end_of_a_boot_is_not_counted():
    assert outcome(replace(BOOTS, state=BOOTED), replace(BOOTS, state=DELAYING)) == ""
    assert outcome(replace(BOOTS, state=DELAYING), BOOTS) == ""
    assert outcome(BOOTS, replace(BOOTS, cause=CAUSE_COPYING_IMAGE)) == ""


def test_counts_are_kept_by_node_and_forgotten_with_it():
    counts = BootCounts()
    for _ in range(2):
        counts.count(BOOTS, replace(BOOTS, state=BOOTED))
    counts.count(BOOTS, replace(BOOTS, name="renamed", state=STOPPED))
    assert counts.of(5) == {"booted": 2, "ended": 1} and counts.of(6) == {}
    counts.forget(5)
    assert counts.of(5) == {}
