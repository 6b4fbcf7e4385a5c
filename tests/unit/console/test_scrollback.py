import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.console.line.scrollback import (
    BLOCK_BYTES,
    KEPT_BYTES,
    TRIM_ABOVE_BYTES,
    Extent,
    Replay,
    head_to_drop,
    replay,
)
from walt.contracts.errors import InvalidRequest


@pytest.mark.parametrize(
    ("extent", "asked", "expected"),
    [
        (Extent(0, 0), None, Replay(0)),
        (Extent(0, 500, power_on=100), None, Replay(100)),
        (Extent(300, 500, power_on=100), None, Replay(300)),
        (Extent(0, 500, power_on=100), 0, Replay(0)),
        (Extent(0, 500, power_on=100), 500, Replay(500)),
        (Extent(300, 500), 120, Replay(300, missed=180)),
    ],
)
def test_replay(extent, asked, expected):
    assert replay(extent, asked) == expected


@pytest.mark.parametrize("asked", [-1, 501])
def test_position_outside_the_line_is_refused(asked):
    with pytest.raises(InvalidRequest, match=f"offset {asked} is not in the line; allowed: 0 to 500"):
        replay(Extent(0, 500), asked)


def test_short_line_is_not_trimmed():
    assert head_to_drop(Extent(0, TRIM_ABOVE_BYTES)) is None


@given(st.integers(0, 2**40), st.integers(1, 2**40))
def test_trimming_keeps_enough_and_advances_by_blocks(start, more):
    extent = Extent(start, start + TRIM_ABOVE_BYTES + more)
    end = head_to_drop(extent)
    assert end is not None and end % BLOCK_BYTES == 0
    assert start < end <= extent.end - KEPT_BYTES
    assert extent.end - end < TRIM_ABOVE_BYTES
