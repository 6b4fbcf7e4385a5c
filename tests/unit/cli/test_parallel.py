"""Whole lines with a prefix, whatever the pieces they come in."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.sessions.parallel import MAX_LINE_BYTES, LinePrefixer, overall, prefixes, run_on_all
from tests.unit.cli.fakes import node_view
from walt.client import Call, Mailbox
from walt.contracts.errors import EXIT_SESSION_LOST, Failed


@given(st.lists(st.binary(max_size=20).map(lambda data: data.replace(b"x", b"\n")), max_size=20))
def test_lines_are_whole_and_nothing_is_lost(pieces):
    lines = LinePrefixer(b"a: ")
    shown = [lines.feed(piece) for piece in pieces] + [lines.flush()]
    given_ = b"".join(pieces)
    ended = given_ if given_.endswith(b"\n") or not given_ else given_ + b"\n"
    assert b"".join(shown) == b"".join(b"a: " + line + b"\n" for line in ended.split(b"\n")[:-1])
    assert all(not one or one.endswith(b"\n") for one in shown)


def test_line_without_end_is_shown_in_pieces():
    lines = LinePrefixer(b"a: ")
    assert lines.feed(b"x" * (2 * MAX_LINE_BYTES + 1)) == 2 * (b"a: " + b"x" * MAX_LINE_BYTES + b"\n")
    assert lines.flush() == b"a: x\n"


def test_prefixes_are_aligned():
    assert prefixes(["a", "vnode10"]) == ["a:       ", "vnode10: "]


@pytest.mark.parametrize(("statuses", "status"), [([0, 0], 0), ([0, 3], 3), ([3, 3], 3), ([1, 3, 0], 3)])
def test_status_of_all(statuses, status):
    assert overall(statuses) == status


class LostWire:
    """A client whose connection is lost while sessions are being opened."""

    def open_mailbox(self):
        return Mailbox(lambda message: None)

    def start(self, service, method, **_):
        return Call(service, method)

    def fileno(self):
        return None


def test_lost_sessions_are_a_failure_as_that_of_one_command_is():
    with pytest.raises(Failed, match="all sessions are lost: the connection to the broker is lost") as failed:
        run_on_all(LostWire(), [node_view("a"), node_view("b")], ["true"])
    assert failed.value.exit_code == EXIT_SESSION_LOST
