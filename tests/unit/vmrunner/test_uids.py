"""Which user runs which VM."""

import pytest

from services.vmrunner.uids import UidRange, parse_range
from walt.contracts.errors import Failed

RANGE = UidRange(100, 110)


def test_each_node_has_a_user_of_its_own_and_none_has_that_of_trials():
    taken = set()
    for node_id in (1, 11, 21, 5, 6, 7, 8, 9, 10, 0):
        taken.add(RANGE.choose(node_id, None, taken))
    assert taken == set(range(101, 111)) and RANGE.trial == 100
    with pytest.raises(Failed, match="each of the users 101 to 110 runs the VM of another node"):
        RANGE.choose(12, None, taken)


def test_a_node_keeps_its_user():
    assert RANGE.choose(3, 109, {101, 104}) == 109
    assert RANGE.choose(3, None, {101, 103}) == 104


@pytest.mark.parametrize("present", [109, 100, 111, 0, 64901])
def test_one_of_another_node_or_range_is_not_kept(present):
    """As after a change of the setting, and for a VM of a version that had one user for all."""
    assert RANGE.choose(3, present, {109}) == 104


def test_range():
    assert parse_range("2013265920-2013331455") == UidRange(0x78000000, 0x7800FFFF)


@pytest.mark.parametrize("text", ["", "5", "5-5", "6-5", "0-9", "-1-9", "5-2147483648", "a-b", "1-2-3"])
def test_other_ranges_are_refused(text):
    with pytest.raises(ValueError, match=f"'{text}'; allowed: FIRST-LAST"):
        parse_range(text)
