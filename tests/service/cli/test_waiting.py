"""`walt node wait`: what it prints, and that no restart or loss ends it."""

import fcntl
import re
import signal
import struct
import subprocess
import termios

from tests.service.cli.command import read_until, until_connected
from tests.support.wait import wait_until


def test_wait_times_out_naming_the_missing(walt):
    walt("node", "create", "quick", "slow1", "bad1")
    done = walt("node", "wait", "quick,slow1,bad1", "--timeout", "1.5")
    assert done.returncode == 124
    assert done.stderr.decode().splitlines() == [
        "bad1 failed: qemu is not installed; still waiting",
        "walt: slow1 is not booted after 1.5 s: delaying (9 s left)",
        "walt: bad1 is not booted after 1.5 s: failed (qemu is not installed)",
    ]


def test_progress_only_on_a_terminal(walt):
    walt("node", "create", "slow6")
    piped = walt("node", "wait", "slow6", "--timeout", "0.5").stderr
    assert piped == b"walt: slow6 is not booted after 0.5 s: delaying (9 s left)\n"
    with walt.on_terminal("node", "wait", "slow6", "--timeout", "1.5") as (process, master, slave):
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 30, 0, 0))
        shown = read_until(master, b"walt: slow6 is not booted")
        assert process.wait(10) == 124
    assert b"slow6 delaying " in shown
    lines = [line for line in re.split(rb"\r(?:\x1b\[K)?", shown) if line.startswith(b"slow6")]
    assert lines and all(len(line) < 30 for line in lines)


def test_wait_ends_when_the_node_is_removed(walt):
    walt("node", "create", "slow2")
    waiting = walt.start("node", "wait", "slow2", stderr=subprocess.PIPE)
    until_connected(waiting)
    walt("node", "remove", "slow2")
    assert waiting.communicate(timeout=10)[1] == b"walt: no node 'slow2'\n"
    assert waiting.returncode == 3


def test_wait_outlives_a_restart_of_nodes(walt, fakes):
    walt("node", "create", "slow3")
    with walt.on_terminal("node", "wait", "slow3", "--timeout", "6") as (waiting, master, _):
        read_until(master, b"slow3 delaying")
        fakes["nodes"].kill()
        fakes["nodes"].start()
        read_until(master, b"slow3 is not booted after 6 s", 30)
        assert waiting.wait(10) == 124


def test_interrupt_is_one_line_and_130(walt):
    walt("node", "create", "slow4")
    waiting = walt.start("node", "wait", "slow4", stderr=subprocess.PIPE)
    until_connected(waiting)
    waiting.send_signal(signal.SIGINT)
    assert waiting.communicate(timeout=10)[1] == b"walt: interrupted\n"
    assert waiting.returncode == 130


def test_wait_outlives_a_lost_connection(walt, far_walt, relay):
    walt("node", "create", "slow5")
    with far_walt.on_terminal("node", "wait", "slow5", "--timeout", "4") as (waiting, master, _):
        read_until(master, b"slow5 delaying")
        relay.cut()
        read_until(master, b"slow5 is not booted after 4 s", 20)
        assert waiting.wait(10) == 124


def test_who_waits_asks_nothing_while_nothing_happens(walt, folder):
    def asked(name):
        return (folder / "waits").read_text().split().count(name)

    walt("node", "create", "slow7", "slow8")
    waiting = walt.start("node", "wait", "slow7", "--timeout", "20", stderr=subprocess.PIPE)
    wait_until(lambda: asked("slow7") == 2, 20)  # what there is, then what changes
    assert walt("node", "wait", "slow8", "--timeout", "3").returncode == 124
    assert (asked("slow7"), asked("slow8")) == (2, 2)
    walt("node", "stop", "slow7")
    wait_until(lambda: asked("slow7") == 3)
    waiting.kill()
    waiting.communicate()
