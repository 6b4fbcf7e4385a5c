import subprocess
from pathlib import Path

import pytest

from services.console import rules, terminal
from services.console.terminal import Size, Terminal
from services.contracts.errors import Conflict, Denied, InvalidRequest
from services.contracts.nodes import NodeTarget

TARGET = NodeTarget(1, "vnode1", "alice", "lab1", "192.168.172.2", "delaying")


@pytest.mark.parametrize("queue", ["user.bob.x", "user.alice", "alice", "", None, "user.alicea.x", "nodes.x"])
def test_foreign_queue_is_denied(queue):
    with pytest.raises(Denied, match="user.alice."):
        rules.check_queue("alice", queue)


def test_own_queue_is_taken():
    rules.check_queue("alice", "user.alice.1")


def test_node_of_another_host():
    with pytest.raises(Conflict, match="vnode1 lives on host lab1"):
        rules.check_host(TARGET, "lab2")


def test_node_that_is_not_booted_names_its_state():
    with pytest.raises(Conflict, match="vnode1 is delaying"):
        rules.check_booted(TARGET)


@pytest.mark.parametrize("offset", ["1", 1.0, True, [], -1.5])
def test_offset_must_be_whole(offset):
    with pytest.raises(InvalidRequest, match="not a position"):
        rules.parse_offset(offset)


@pytest.mark.parametrize("words", [[], "ls", [1], ["a", 1], ["a", "a\0b"], ["x" * 200_000], {"a": 1}])
def test_bad_command(words):
    with pytest.raises(InvalidRequest, match="allowed"):
        terminal.parse_command(words)


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"term": "xterm", "rows": 0, "columns": 80},
        {"term": "xterm", "rows": 24, "columns": 10_001},
        {"term": "xterm", "rows": "24", "columns": 80},
        {"term": "xterm", "rows": True, "columns": 80},
        {"term": "a b", "rows": 24, "columns": 80},
        {"term": "-x", "rows": 24, "columns": 80},
    ],
)
def test_bad_terminal(given):
    with pytest.raises(InvalidRequest, match="allowed"):
        terminal.parse_terminal(given)


def test_terminal():
    given = {"term": "xterm-256color", "rows": 24, "columns": 80}
    assert terminal.parse_terminal(given) == Terminal("xterm-256color", Size(24, 80))
    assert terminal.parse_terminal(None) is None


@pytest.mark.parametrize("body", [b"", b"24", b"24 80 1", b"-1 80", b"24  80", b"24 80\n", b"0 80", b"24 99999"])
def test_bad_size(body):
    with pytest.raises(InvalidRequest, match="allowed"):
        terminal.parse_size(body)


def test_ssh_takes_nothing_of_the_command_for_an_option():
    argv = terminal.ssh_argv("ssh", Path("/run/x"), "root", "192.168.172.2", ["-o", "ProxyCommand=x"], False)
    assert argv[-4:] == ["192.168.172.2", "--", "-o", "ProxyCommand=x"]
    assert "-T" in argv and "-tt" not in argv
    assert terminal.ssh_argv("ssh", Path("/run/x"), "root", "192.168.172.2", [], True)[-4:] == [
        "-tt", "-l", "root", "192.168.172.2",
    ]  # fmt: skip


def test_ssh_understands_it_so_and_nothing_of_this_host_has_a_say(tmp_path):
    name, *argv = terminal.ssh_argv("ssh", tmp_path, "root", "192.168.172.2", ["true"], True)
    (tmp_path / "key").touch()
    done = subprocess.run([name, "-G", *argv], capture_output=True, text=True, check=True)
    meant = dict(line.split(" ", 1) for line in done.stdout.splitlines() if " " in line)
    assert (
        meant.items()
        >= {
            "hostname": "192.168.172.2",
            "user": "root",
            "requesttty": "force",
            "identityfile": str(tmp_path / "key"),
            "identitiesonly": "yes",
            "identityagent": "none",
            "userknownhostsfile": str(tmp_path / "known_hosts"),
            "globalknownhostsfile": "/dev/null",
            "stricthostkeychecking": "true",
            "hostkeyalias": terminal.HOST_ALIAS,
            "batchmode": "yes",
            "escapechar": "none",
            "connecttimeout": "10",
            "serveraliveinterval": "15",
            "serveralivecountmax": "4",
            "loglevel": "ERROR",
        }.items()
    )
    assert argv[:2] == ["-F", "/dev/null"] and argv[argv.index("-E") + 1] == str(tmp_path / "said")


def test_the_first_and_the_last_that_are_allowed():
    assert [rules.parse_port(port) for port in (1, 65535)] == [1, 65535]
    assert [rules.parse_count(count) for count in (1, rules.MAX_PINGS)] == [1, rules.MAX_PINGS]
    assert [rules.parse_offset(offset) for offset in (None, 0, -1)] == [None, 0, -1]
    for side in (1, terminal.MAX_SIDE):
        assert terminal.parse_size(f"{side} {side}".encode()) == Size(side, side)
    longest = "x" * (terminal.MAX_COMMAND_BYTES - 3)  # each word and what ends it
    assert terminal.parse_command(["a", longest]) == ("a", longest)
    with pytest.raises(InvalidRequest, match="too long"):
        terminal.parse_command(["a", longest + "x"])
    assert terminal.parse_command(None) == ()


@pytest.mark.parametrize("port", [0, 65536, -1, "80", 80.0, True, None])
def test_bad_ports(port):
    with pytest.raises(InvalidRequest, match="is not a port; allowed: 1 to 65535"):
        rules.parse_port(port)


@pytest.mark.parametrize("count", [0, rules.MAX_PINGS + 1, "3", 1.5, True, None])
def test_bad_counts(count):
    with pytest.raises(InvalidRequest, match="is not a number of pings"):
        rules.parse_count(count)


@pytest.mark.parametrize("limit", [0, -1, float("inf"), float("nan"), "5", None, True])
def test_bad_limits(limit):
    with pytest.raises(InvalidRequest, match="is not a time"):
        rules.parse_limit(limit)


def test_ping_ends_by_itself():
    assert rules.ping_argv("192.168.172.2", 4) == ["ping", "-n", "-c", "4", "-W", "3", "192.168.172.2"]
