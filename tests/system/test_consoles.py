"""Serial consoles and shells as a person has them: several viewers, scrollback, pipes, escape keys, exit codes."""

import contextlib
import time

import pytest


@pytest.fixture(scope="module")
def node(walt):
    walt("node", "create", "talker", "-c", "boot.delay=1", "-c", "cpu.cores=1", "--wait", timeout=240)
    yield "talker"
    walt("node", "remove", "talker")


def test_scrollback_from_power_on_in_a_pipe(node, walt):
    printed = walt("node", "console", node, "--log", stdin="").stdout
    assert "http://" in printed


def test_type_and_leave(node, terminal):
    console = terminal("node", "console", node)
    console.type(b"\r")
    console.wait_for(b"#")
    console.type(b"echo he''llo\r")
    console.wait_for(b"hello")
    console.type(b"\x01d")
    assert console.process.wait(10) == 0


def test_several_viewers_see_the_same(node, terminal):
    one, two = terminal("node", "console", node), terminal("node", "console", node, "--read-only")
    one.type(b"\r")
    one.wait_for(b"#")
    two.type(b"echo not''allowed\r")
    one.type(b"echo to''gether\r")
    one.wait_for(b"together")
    two.wait_for(b"together")
    assert b"notallowed" not in one.seen + two.seen
    for console in (one, two):
        console.type(b"\x01d")
        assert console.process.wait(10) == 0


def test_no_byte_reaches_a_monitor(node, terminal, walt):
    console = terminal("node", "console", node)
    console.type(b"\x01\x01c\x01ac\r")  # ctrl-a c is qemu's way to its monitor
    console.type(b"info version\r")
    console.type(b"echo still''here\r")
    console.wait_for(b"stillhere")
    assert b"(qemu)" not in console.seen
    console.type(b"\x01d")


def test_console_service_restart_is_survived(node, terminal, platform):
    console = terminal("node", "console", node)
    console.type(b"\r")
    console.wait_for(b"#")
    platform.kill("console")
    deadline = time.monotonic() + 60
    while b"still here" not in console.seen and time.monotonic() < deadline:
        with contextlib.suppress(AssertionError):
            console.type(b"echo still' 'here\r")
            console.wait_for(b"still here", 3)
    assert b"still here" in console.seen
    console.type(b"\x01d")
    assert console.process.wait(10) == 0


def test_run_passes_status_streams_and_input(node, walt):
    done = walt("node", "run", node, "--", "sh -c 'cat; echo oops >&2; exit 7'", stdin="in and out", check=False)
    assert (done.status, done.stdout) == (7, "in and out")
    assert "oops" in done.stderr


def test_run_of_much_output(node, walt):
    done = walt("node", "run", node, "--", "seq 200000", timeout=120)
    assert done.stdout == "".join(f"{number}\n" for number in range(1, 200001))


def test_shell_on_a_terminal(node, terminal):
    shell = terminal("node", "shell", node)
    shell.wait_for(b"#", 60)
    shell.type(b"echo $((40+2)) $HOSTNAME$(hostname)\r")
    shell.wait_for(b"42")
    shell.type(b"exit 3\r")
    assert shell.process.wait(20) == 3
