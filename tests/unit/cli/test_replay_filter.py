import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.sessions.replay_filter import ReplayFilter

QUERIES = [
    b"\x1b[6n", b"\x1b[5n", b"\x1b[?6n", b"\x1b[c", b"\x1b[0c", b"\x1b[>c", b"\x1b[=c", b"\x1bZ", b"\x05", b"\x1b[x",
    b"\x1b[>0q", b"\x1b[?25$p", b"\x1b[4$p", b"\x1b[18t", b"\x1b[14;2t", b"\x1b[21t", b"\x1b[?u", b"\x1b[?1;1;0S",
    b"\x1b[1;1;1;1;2;2*y", b"\x1b[1$w", b"\x1b['|",
    b"\x1bP$qm\x1b\\", b"\x1bP+q544e\x1b\\", b"\x1b]11;?\x07", b"\x1b]4;1;?\x1b\\", b"\x1b]52;c;?\x07",
    b"\xc2\x9b6n", b"\xc2\x9bc", b"\x1b[\r6n", b"\x1b[6\x08n", b"\x1b\nZ",
]  # fmt: skip
OTHERS = [
    b"plain \xc3\xa9 text\r\n", b"\x1b[31mred\x1b[0m", b"\x1b[2J\x1b[H", b"\x1b[10;20H", b"\x1b[?25l", b"\x1b[K",
    b"\x1b]0;title\x07", b"\x1b]8;;file:///x\x1b\\", b"\x1b[3;5r", b"\x1b(B", b"\x1b7\x1b8", b"\x1b[1 q",
    b"\x1b[8;24;80t", b"\x1bPq#0;2;0;0;0\x1b\\", b"\xe2\x82\xac", b"\xc2\xb5", b"\xc2\x9b1m", b"\x1b[2S",
]  # fmt: skip


def filtered(data, cuts=()):
    replay, begin, shown = ReplayFilter(), 0, b""
    for end in [*sorted(cuts), len(data)]:
        shown += replay.feed(data[begin:end])
        begin = max(begin, end)
    return shown


@pytest.mark.parametrize("query", QUERIES)
def test_a_query_is_taken_out(query):
    assert filtered(b"before" + query + b"after") == b"beforeafter"


@pytest.mark.parametrize("other", OTHERS)
def test_anything_else_is_shown(other):
    assert filtered(b"before" + other + b"after") == b"before" + other + b"after"


@given(st.lists(st.sampled_from([*QUERIES, *OTHERS, b"x"])), st.lists(st.integers(0, 200), max_size=8))
def test_it_does_not_matter_how_the_replay_is_cut(pieces, cuts):
    data = b"".join([*pieces, b"end"])
    assert filtered(data, cuts) == filtered(data) == b"".join([p for p in pieces if p not in QUERIES] + [b"end"])


def test_a_long_incomplete_sequence_is_not_held_for_ever():
    data = b"\x1bP" + bytes(100_000)
    assert filtered(data) == data
