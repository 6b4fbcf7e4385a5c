import pytest

from services.console.session import terminal
from services.console.session.terminal import TerminalSize
from walt.contracts.errors import InvalidRequest


@pytest.mark.parametrize("body", [b"", b"24", b"24 80 1", b"-1 80", b"24  80", b"24 80\n", b"0 80", b"24 99999"])
def test_bad_size(body):
    with pytest.raises(InvalidRequest, match="allowed"):
        terminal.parse_size(body)


def test_the_smallest_and_the_largest_size():
    for side in (1, terminal.MAX_SIDE):
        assert terminal.parse_size(f"{side} {side}".encode()) == TerminalSize(side, side)
