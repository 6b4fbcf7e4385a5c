"""What a program did to the terminal is undone, however its output is cut into pieces."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.sessions.terminal_modes import TerminalModes


def undo(*pieces):
    modes = TerminalModes()
    for piece in pieces:
        modes.feed(piece)
    return modes.undo()


VIM = b"\x1b[?1049h\x1b[>4;2m\x1b[?1h\x1b=\x1b[?2004h\x1b[?1004h\x1b[1;24r\x1b[?25l\x1b[31mtext"


@pytest.mark.parametrize(
    ("output", "sequences"),
    [
        (b"plain text\r\n", b""),
        (b"\x1b[1;31mred\x1b[0m", b""),
        (b"\x1b[1;31mred\x1b[m", b""),
        (b"\x1b[1;31mred", b"\x1b[0m"),
        (b"\x1b[?25l", b"\x1b[?25h"),
        (b"\x1b[?7l", b"\x1b[?7h"),
        (b"\x1b[?1049h\x1b[?1000;1006h", b"\x1b[?1000l\x1b[?1006l\x1b[?1049l"),
        (b"\x1b[?1049h\x1b[?1049l", b""),
        (b"\x1b(0lqqk", b"\x1b(B\x0f"),
        (b"\x0etext", b"\x1b(B\x0f"),
        (b"\x1b[2;20r", b"\x1b7\x1b[r\x1b8"),
        (b"\x1b[2;20r\x1b[r", b""),
        (b"\x1b[4h", b"\x1b[4l"),
        (b"\x1b[20h", b""),
        (b"\x1b=", b"\x1b>"),
        (b"\x1b[>4;2m", b"\x1b[>4m"),
        (b"\x1b[>1u", b"\x1b[<9u"),
        (VIM + b"\x1bc", b""),
    ],
)
def test_undone(output, sequences):
    assert undo(output) == sequences
    assert undo(output, sequences) == b""


@given(st.lists(st.integers(0, len(VIM)), max_size=8))
def test_pieces_do_not_matter(cuts):
    edges = [0, *sorted(cuts), len(VIM)]
    pieces = [VIM[start:end] for start, end in zip(edges, edges[1:], strict=False)]
    assert undo(*pieces) == undo(VIM)


@given(st.binary())
def test_any_bytes_are_taken(data):
    undo(data)
