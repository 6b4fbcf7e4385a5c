"""`walt node console`: keys, pipes, and a line that outlives its service and its connection."""

import os
import select
import signal
import subprocess
import termios

from tests.service.cli.command import read_until
from tests.support.wait import wait_until


def line_of(folder, node, content):
    (folder / f"{node}.line").write_bytes(content)


def test_console_without_following_prints_and_ends(walt, vnode, folder):
    content = bytes(range(256)) * 500
    line_of(folder, vnode, content)
    done = walt("node", "console", vnode, "--log")
    assert (done.returncode, done.stdout, done.stderr) == (0, content, b"")


def test_console_in_a_pipe_follows_after_end_of_input(walt, vnode, folder):
    line_of(folder, vnode, b"power-on\n")
    viewer = walt.start("node", "console", vnode, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    read_until(viewer.stdout.fileno(), b"power-on\n")
    viewer.stdin.write(b"\x01d")  # no key is special without a terminal
    viewer.stdin.close()
    read_until(viewer.stdout.fileno(), b"<\x01d>")
    with (folder / f"{vnode}.line").open("ab") as line:
        line.write(b"later\n")
    read_until(viewer.stdout.fileno(), b"later\n")
    viewer.send_signal(signal.SIGINT)
    assert viewer.wait(10) == 130
    assert viewer.stderr.read() == b"walt: interrupted\n"


def test_console_keys(walt, vnode, folder):
    line_of(folder, vnode, b"login: ")
    with walt.on_terminal("node", "console", vnode) as (process, master, slave):
        read_until(master, b"login: ")
        os.write(master, b"\x03\x01a")
        read_until(master, b"<\x03\x01>")
        os.write(master, b"x\x01")  # the escape and its key come in two reads
        read_until(master, b"<x>")
        os.write(master, b"?")
        read_until(master, b"ctrl-a d leaves the console")
        os.write(master, b"\x01z")
        read_until(master, b"ctrl-a d leaves the console")
        assert not termios.tcgetattr(slave)[3] & termios.ICANON
        os.write(master, b"y\x01")
        read_until(master, b"<y>")
        os.write(master, b"d")
        assert process.wait(10) == 0
        assert termios.tcgetattr(slave)[3] & termios.ICANON
    assert (folder / f"{vnode}.line").read_bytes() == b"login: <\x03\x01><x><y>"
    wait_until(lambda: list(folder.glob("closed-*")), 5)


def test_terminal_is_restored_after_sigterm(walt, vnode, folder):
    line_of(folder, vnode, b"login: ")
    with walt.on_terminal("node", "console", vnode) as (process, master, slave):
        read_until(master, b"login: ")
        process.terminate()
        assert process.wait(10) == 143
        assert termios.tcgetattr(slave)[3] & termios.ICANON


def test_read_only_console_sends_nothing(walt, vnode, folder):
    line_of(folder, vnode, b"login: ")
    with walt.on_terminal("node", "console", vnode, "--read-only") as (process, master, _):
        read_until(master, b"login: ")
        os.write(master, b"root")
        read_until(master, b"this console is read-only")
        os.write(master, b"\x01d")
        assert process.wait(10) == 0
    assert (folder / f"{vnode}.line").read_bytes() == b"login: "


def test_console_outlives_its_service(walt, vnode, folder, fakes):
    line_of(folder, vnode, b"one\n")
    viewer = walt.start(
        "node", "console", vnode, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0
    )
    assert read_until(viewer.stdout.fileno(), b"one\n") == b"one\n"
    fakes["console"].kill()
    while not select.select([viewer.stderr], [], [], 0.2)[0]:
        viewer.stdin.write(b"typed")
    assert b"what was sent to it is lost" in read_until(viewer.stderr.fileno(), b"reconnecting")
    with (folder / f"{vnode}.line").open("ab") as line:
        line.write(b"two\n")
    fakes["console"].start()
    assert read_until(viewer.stdout.fileno(), b"two\n", 30) == b"two\n"
    viewer.kill()
    viewer.wait()


def test_console_outlives_its_connection(walt, far_walt, relay, vnode, folder):
    line_of(folder, vnode, b"one\n")
    with far_walt.on_terminal("node", "console", vnode) as (process, master, _):
        read_until(master, b"one\n")
        relay.cut()
        with (folder / f"{vnode}.line").open("ab") as line:
            line.write(b"two\n")
        seen = read_until(master, b"is reconnected")
        assert b"is unreachable" in seen
        assert b"one" not in seen + read_until(master, b"two\n")
        os.write(master, b"typed")
        read_until(master, b"<typed>")


def test_broker_that_is_stuck_holds_nobody(walt, far_walt, relay, vnode, folder):
    line_of(folder, vnode, b"one\n")
    viewer = far_walt.start("node", "console", vnode, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    read_until(viewer.stdout.fileno(), b"one\n")
    relay.flowing.clear()
    viewer.send_signal(signal.SIGINT)
    assert viewer.wait(15) == 130


def test_console_that_is_away_can_be_left(far_walt, relay, vnode, folder):
    line_of(folder, vnode, b"one\n")
    with far_walt.on_terminal("node", "console", vnode) as (process, master, _):
        read_until(master, b"one\n")
        relay.close()
        read_until(master, b"is unreachable")
        os.write(master, b"\x01d")
        assert process.wait(10) == 0
