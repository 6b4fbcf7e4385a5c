"""Shells and commands over ssh, for users and for services; ssh is FAKE_SSH of `world`."""

import os
import random
import signal
import time
from pathlib import Path

import pytest

from tests.service.console.world import SERVICE, is_alive
from tests.support.wait import wait_until
from walt.contracts import console
from walt.contracts.errors import EXIT_SESSION_LOST, Conflict, Failed, InvalidRequest

PTY = {"term": "vt100", "rows": 24, "columns": 80}


def test_a_command_of_a_service(service, services, ssh, folder):
    def run_command(*argv, timeout_s=5):
        return services.call(f"{SERVICE}.run_command", 1, list(argv), timeout_s)

    result = run_command("echo out; echo err >&2; exit 3")
    assert (result["status"], sorted(result["output"].split())) == (3, ["err", "out"])
    assert len(run_command("seq 100000")["output"]) == console.COMMAND_OUTPUT_CHARS
    begin = time.monotonic()
    with pytest.raises(Failed, match="'sleep 60' on 127.0.0.1: no end within 0.5 s"):
        run_command("sleep 60", timeout_s=0.5)
    assert time.monotonic() - begin < 5
    with pytest.raises(Failed, match="no route"):
        run_command("unreachable")
    with pytest.raises(InvalidRequest):
        run_command("true", timeout_s=-1)
    assert not is_alive(int(ssh.read_text().split()[1]))
    assert not list((folder / "run" / "console").glob("ssh-*"))


def test_a_command_has_two_streams_and_a_status(service, ssh, user):
    one = user()
    one.open("open_shell", node="vnode1", command=["echo out; echo err >&2; exit 7"])
    assert one.wait_for_exit() == 7
    assert (one.data("out"), one.data("err")) == (b"out\n", b"err\n")
    folder, _, mode, *known = ssh.read_text().split()
    assert (mode, known) == ("600", ["node", "ssh-ed25519", "AAAA"])
    wait_until(lambda: not Path(folder).exists())


def test_arguments_may_be_any_bytes(service, ssh, user):
    one = user()
    one.open("open_shell", node="vnode1", command=["printf", "%s", os.fsdecode(b"'\xe4\xff'")])
    assert one.wait_for_exit() == 0
    assert one.data("out") == b"\xe4\xff"


def test_a_command_killed_by_a_signal(service, ssh, user):
    one = user()
    one.open("open_shell", node="vnode1", command=["kill -TERM $$"])
    assert one.wait_for_exit() == 128 + signal.SIGTERM


def test_the_message_of_ssh_comes_as_a_notice(service, ssh, user):
    one = user()
    one.open("open_shell", node="vnode1", command=["unreachable"])
    assert one.wait_for_exit() == EXIT_SESSION_LOST  # fault B49: 255 is what a command may end with itself
    assert one.notices() == ["connect to host: no route"]


def test_missing_ssh(service, user):
    one = user()
    one.open("open_shell", node="vnode1", command=["true"])
    assert one.wait_for_exit() == 127
    assert b"ssh" in one.data("err")


def test_standard_input_of_a_command_in_bulk(service, ssh, user):
    one = user()
    one.open("open_shell", node="vnode1", command=["cat"])
    bulk = random.Random(2).randbytes(3_000_000)
    sent = 0
    while sent < len(bulk):
        one.wait(lambda: sent - max([0, *map(int, one.bodies(console.TAKEN))]) < console.INPUT_WINDOW)  # noqa: B023
        one.send(console.DATA, bulk[sent : sent + 16_384])
        sent += 16_384
    one.send(console.END_OF_INPUT)
    assert one.wait_for_exit(30) == 0
    assert one.data("out") == bulk


def test_input_that_nobody_takes_is_bounded(service, ssh, user):
    one, other = user(), user()
    one.open("open_shell", node="vnode1", command=["sleep 100"])
    wait_until(ssh.exists)
    pid = int(ssh.read_text().split()[1])
    for _ in range(100):
        one.send(console.DATA, bytes(16_384))
    assert one.wait_for_exit() == EXIT_SESSION_LOST
    assert "bytes of input were waiting" in one.notices()[0]
    wait_until(lambda: not is_alive(pid))
    other.open("open_shell", node="vnode1", command=["cat"])
    other.send(console.DATA, b"not delayed")
    other.wait(lambda: other.data() == b"not delayed")


def test_a_terminal_has_a_size_and_takes_a_new_one(service, ssh, user):
    one = user()
    one.open(
        "open_shell",
        node="vnode1",
        command=["trap 'stty size' WINCH; stty size; echo $TERM; while :; do read x; done"],
        terminal={"term": "vt100", "rows": 30, "columns": 100},
    )
    one.wait(lambda: b"30 100\r\nvt100\r\n" in one.data())
    one.send(console.RESIZE, b"40 120")
    one.send(console.DATA, b"\n")
    one.wait(lambda: b"40 120\r\n" in one.data())
    one.send(console.RESIZE, b"nonsense")
    one.wait(one.notices)
    assert "is not a size" in one.notices()[0]


def test_a_shell_on_a_terminal(service, ssh, user):
    one = user()
    one.open("open_shell", node="vnode1", terminal=PTY)
    one.send(console.DATA, b"echo $((6*7)); tty; cat; exit 3\n")
    one.wait(lambda: b"/dev/pts/" in one.data())
    one.send(console.END_OF_INPUT)
    assert one.wait_for_exit() == 3
    assert b"42\r\n" in one.data() and b"/dev/pts/" in one.data()


def test_erasing_on_a_terminal_takes_whole_characters(service, ssh, user):
    one = user()
    one.open("open_shell", node="vnode1", command=["stty -echo; echo ready; od -An -tx1; exit 0"], terminal=PTY)
    one.wait(lambda: b"ready" in one.data())
    one.send(console.DATA, "aé\x7fb\n".encode())
    one.send(console.END_OF_INPUT)
    assert one.wait_for_exit() == 0
    assert b" 61 62 0a" in one.data()


def test_a_node_that_is_not_booted_is_a_conflict(service, ssh, user):
    with pytest.raises(Conflict, match="vnode2 is booting"):
        user().open("open_shell", node="vnode2")


@pytest.mark.parametrize(
    "arguments",
    [
        {"command": []},
        {"command": ["a\0"]},
        {"command": ["x" * 200_000]},
        {"terminal": {"term": "x", "rows": 0, "columns": 1}},
        {"terminal": {"term": "-x", "rows": 1, "columns": 1}},
    ],
)
def test_bad_requests(service, ssh, user, arguments):
    with pytest.raises(InvalidRequest, match="allowed"):
        user().open("open_shell", node="vnode1", **arguments)


def written_bytes(pid):
    """By this process alone, to whatever it has open."""
    with open(f"/proc/{pid}/io") as io:
        return next(int(line.split()[1]) for line in io if line.startswith("wchar:"))


@pytest.mark.parametrize("terminal", [None, PTY])
def test_endless_output_is_bounded_and_ends_with_its_client(service, ssh, user, terminal):
    one, other = user(), user()
    one.open("open_shell", node="vnode1", command=["exec yes endless"], terminal=terminal, listen=False)
    wait_until(ssh.exists)
    pid = int(ssh.read_text().split()[1])
    other.open("open_shell", node="vnode1", command=["head -c 20000000 /dev/zero"])
    assert other.wait_for_exit(60) == 0
    assert other.received_bytes > 20_000_000
    assert written_bytes(pid) < 8_000_000, "it was read although nobody takes it"
    one.listen()
    one.wait(lambda: one.received_bytes > 10_000_000)
    one.close()
    wait_until(lambda: not is_alive(pid))


@pytest.mark.parametrize("cause", ["close_session", signal.SIGKILL, signal.SIGTERM])
def test_a_child_ends_with_its_session_and_with_console(service, ssh, user, cause):
    one = user()
    one.open("open_shell", node="vnode1", command=["trap '' HUP TERM; sleep 300; sleep 300"])
    wait_until(ssh.exists)
    pid = int(ssh.read_text().split()[1])
    if cause == "close_session":
        one.request(cause, session=one.session)
    else:
        service.end(cause)
    wait_until(lambda: not is_alive(pid))
