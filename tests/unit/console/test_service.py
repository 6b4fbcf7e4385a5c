"""The arguments of console's methods, as their type hints check them; the methods themselves are in tests/service."""

import inspect

import pytest

from services.console import requests
from services.console.service import ConsoleService
from services.console.session import terminal
from services.console.session.terminal import TerminalRequest, TerminalSize
from services.kit.bus.arguments import Signature
from walt.contracts.errors import InvalidRequest

OPEN = {"node": "vnode1", "queue": "user.alice.1"}
RUN = {"node_id": 1, "command": ["true"], "timeout_s": 5}
PTY = {"term": "xterm-256color", "rows": 24, "columns": 80}


def load(method, **arguments):
    return Signature(inspect.unwrap(getattr(ConsoleService, method))).load([], arguments)


@pytest.mark.parametrize("name", ["node", "queue"])
@pytest.mark.parametrize("method", ["open_line", "open_shell", "open_ping", "open_forward"])
def test_names_are_strings(method, name):
    arguments = OPEN | ({"port": 80} if method == "open_forward" else {})
    for value in (None, 1, ["x"], {"a": 1}):
        with pytest.raises(InvalidRequest, match=f"^{name}: "):
            load(method, **{**arguments, name: value})


@pytest.mark.parametrize("offset", ["1", 1.0, True, [], -1.5])
def test_offset_must_be_whole(offset):
    with pytest.raises(InvalidRequest, match="is not a whole number"):
        load("open_line", **OPEN, offset=offset)


@pytest.mark.parametrize("value", ["yes", 1, None])
@pytest.mark.parametrize("name", ["read_only", "follow"])
def test_flags_are_true_or_false(name, value):
    with pytest.raises(InvalidRequest, match=f"^{name}: "):
        load("open_line", **OPEN, **{name: value})


@pytest.mark.parametrize("command", [[], "ls", [1], ["a", 1], ["a", "a\0b"], ["x" * 200_000], {"a": 1}])
def test_bad_command(command):
    for method, arguments in (("open_shell", OPEN), ("run_command", RUN)):
        with pytest.raises(InvalidRequest, match="^command"):
            load(method, **{**arguments, "command": command})


@pytest.mark.parametrize(
    "wrong", [{"rows": 0}, {"columns": 10_001}, {"rows": "24"}, {"rows": True}, {"term": "a b"}, {"term": "-x"}]
)
def test_bad_terminal(wrong):
    with pytest.raises(InvalidRequest, match=f"^terminal.{next(iter(wrong))}: "):
        load("open_shell", **OPEN, terminal=PTY | wrong)


@pytest.mark.parametrize("value", [{}, 7, "vt100", ["vt100", 24, 80]])
def test_no_terminal_at_all(value):
    with pytest.raises(InvalidRequest, match="^terminal"):
        load("open_shell", **OPEN, terminal=value)


@pytest.mark.parametrize("port", [0, 65536, -1, "80", 80.0, True, None])
def test_bad_port(port):
    with pytest.raises(InvalidRequest, match="^port: "):
        load("open_forward", **OPEN, port=port)


@pytest.mark.parametrize("count", [0, requests.MAX_PINGS + 1, "3", 1.5, True, None])
def test_bad_count(count):
    with pytest.raises(InvalidRequest, match="^count: "):
        load("open_ping", **OPEN, count=count)


@pytest.mark.parametrize("timeout_s", [0, -1, float("inf"), float("nan"), "5", None, True])
def test_bad_timeout(timeout_s):
    with pytest.raises(InvalidRequest, match="^timeout_s: "):
        load("run_command", **{**RUN, "timeout_s": timeout_s})


def test_what_is_allowed_is_named():
    for method, argument, sentence in (
        ("open_forward", {"port": 70_000}, "port: 70000 is not a port; allowed: 1 to 65535"),
        ("open_ping", {"count": 0}, f"count: 0 is not a number of pings; allowed: 1 to {requests.MAX_PINGS}"),
    ):
        with pytest.raises(InvalidRequest, match=f"^{sentence}$"):
            load(method, **OPEN, **argument)


def test_the_smallest_and_the_largest_that_are_allowed():
    for port in (1, 65535):
        assert load("open_forward", **OPEN, port=port)["port"] == port
    for count in (1, requests.MAX_PINGS):
        assert load("open_ping", **OPEN, count=count)["count"] == count
    for offset in (None, 0, -1):
        assert load("open_line", **OPEN, offset=offset)["offset"] == offset
    for side in (1, terminal.MAX_SIDE):
        found = load("open_shell", **OPEN, terminal={"term": "vt100", "rows": side, "columns": side})["terminal"]
        assert (found, found.size) == (TerminalRequest("vt100", side, side), TerminalSize(side, side))
    longest = "x" * (requests.MAX_COMMAND_BYTES - 3)  # each word and its separator
    assert load("open_shell", **OPEN, command=["a", longest])["command"] == ("a", longest)
    with pytest.raises(InvalidRequest, match="too long"):
        load("open_shell", **OPEN, command=["a", longest + "x"])
    for name in ("command", "terminal"):
        assert load("open_shell", **OPEN, **{name: None}) == OPEN | {name: None}
