"""How boots are counted."""

from dataclasses import replace

import pytest

from services.contracts.vmrunner import BOOTED, BOOTING, DELAYING, FAILED, STOPPED
from services.vmrunner.lifecycle import NO_BOOT_WITHIN, Machine
from services.vmrunner.metrics import BootBook, outcome

BOOTS = Machine(5, "vnode1", state=BOOTING)


@pytest.mark.parametrize(
    ("changes", "counted"),
    [
        ({"state": BOOTED}, "booted"),
        ({"state": DELAYING, "reason": f"{NO_BOOT_WITHIN} 60 s; retry 1 of 9"}, "timed_out"),
        ({"state": FAILED, "reason": f"{NO_BOOT_WITHIN} 60 s, 9 retries spent; left as it is"}, "timed_out"),
        ({"state": DELAYING, "reason": "the guest rebooted before it was booted; retry 1 of 9"}, "ended"),
        ({"state": STOPPED}, "ended"),
        ({"state": FAILED, "due": 9.0}, "failed"),
    ],
)
def test_a_boot_ends_in_one_way(changes, counted):
    assert outcome(BOOTS, replace(BOOTS, **changes)) == counted


def test_what_is_no_end_of_a_boot_is_not_counted():
    assert outcome(replace(BOOTS, state=BOOTED), replace(BOOTS, state=DELAYING)) == ""
    assert outcome(replace(BOOTS, state=DELAYING), BOOTS) == ""


def test_the_book_is_kept_by_node_and_forgets_one_that_is_removed():
    book = BootBook()
    for _ in range(2):
        book.count(BOOTS, replace(BOOTS, state=BOOTED))
    book.count(BOOTS, replace(BOOTS, name="renamed", state=STOPPED))
    assert book.of(5) == {"booted": 2, "ended": 1} and book.of(6) == {}
    book.forget(5)
    assert book.of(5) == {}
