"""The console's escape keys: what is sent does not depend on where reads end."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.sessions.escape_keys import EscapeCommand, EscapeKeys, Send


def feed(*chunks):
    """Actions of all chunks, neighbouring sends joined."""
    keys, actions = EscapeKeys(), []
    for chunk in chunks:
        for action in keys.feed(chunk):
            if isinstance(action, Send) and actions and isinstance(actions[-1], Send):
                action = Send(actions.pop().data + action.data)
            actions.append(action)
    return actions


@pytest.mark.parametrize(
    ("typed", "actions"),
    [
        (b"", []),
        (b"ls\r", [Send(b"ls\r")]),
        (b"\x01", []),
        (b"\x01d", [EscapeCommand.LEAVE]),
        (b"ls\x01dps", [Send(b"ls"), EscapeCommand.LEAVE]),
        (b"\x01a", [Send(b"\x01")]),
        (b"\x01\x01", [Send(b"\x01")]),
        (b"\x01\x01d", [Send(b"\x01d")]),
        (b"x\x01ay", [Send(b"x\x01y")]),
        (b"\x01?", [EscapeCommand.HELP]),
        (b"\x01rx", [EscapeCommand.WINDOW_SIZE, Send(b"x")]),
        (b"\x01cx", [EscapeCommand.UNKNOWN, Send(b"x")]),
        (b"\x01\x03", [EscapeCommand.UNKNOWN]),
        (b"\x01D", [EscapeCommand.UNKNOWN]),
    ],
)
def test_keys(typed, actions):
    assert feed(typed) == actions


keystrokes = st.lists(st.sampled_from([b"\x01", b"a", b"d", b"?", b"x", b"\r", b"\xff"]), max_size=30).map(b"".join)


@given(keystrokes, st.lists(st.integers(0, 30), max_size=6))
def test_read_boundaries_do_not_matter(typed, cuts):
    edges = [0, *sorted(min(cut, len(typed)) for cut in cuts), len(typed)]
    chunks = [typed[start:end] for start, end in zip(edges, edges[1:], strict=False)]
    assert feed(*chunks) == feed(typed)


@given(st.binary())
def test_escaped_bytes_arrive_whole(data):
    assert b"".join(a.data for a in feed(data.replace(b"\x01", b"\x01a"))) == data
