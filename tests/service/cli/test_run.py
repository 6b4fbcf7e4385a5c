"""`walt node run` and `walt node shell` on one node: bytes and statuses pass through."""

import fcntl
import os
import signal
import struct
import subprocess
import termios

from tests.service.cli.command import ROOT, read_until
from tests.support.wait import wait_until
from walt.contracts.errors import EXIT_SESSION_LOST


def test_run_passes_output_and_status(walt, vnode):
    done = walt("node", "run", vnode, "--", "printf 'a\\000b'; echo oops >&2; exit 3")
    assert (done.returncode, done.stdout, done.stderr) == (3, b"a\0b", b"oops\n")


def test_run_keeps_options_and_dashes_of_the_command(walt, vnode):
    assert walt("node", "run", vnode, "--", "echo", "-n", "--help", "--").stdout == b"--help --"


def test_run_forwards_input_verbatim_whatever_its_size(walt, vnode):
    data = os.urandom(1_500_000)
    assert walt("node", "run", vnode, "--", "cat", stdin=data).stdout == data


def test_run_of_unknown_node(walt):
    assert walt("node", "run", "nobody", "--", "true").returncode == 3


def test_run_into_a_closed_pipe_is_quiet(walt, vnode):
    command = " ".join(walt.argv("node", "run", vnode, "--", "seq 100000"))
    done = subprocess.run(
        ["sh", "-c", f"{command} </dev/null | head -1"], cwd=ROOT, env=walt.env, capture_output=True, timeout=30
    )
    assert (done.stdout, done.stderr) == (b"1\n", b"")


def test_run_without_standard_output_says_nothing_to_the_broker(walt, vnode):
    command = " ".join(walt.argv("node", "run", vnode, "--", "'seq 1000; exit 3'"))
    done = subprocess.run(
        ["sh", "-c", f"{command} <&- >&-"], cwd=ROOT, env=walt.env, stderr=subprocess.PIPE, timeout=30
    )
    assert (done.returncode, done.stderr) == (3, b"")


def test_shell_has_a_window_and_passes_keys_and_status(walt, vnode):
    with walt.on_terminal("node", "shell", vnode) as (process, master, slave):
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
        read_until(master, b"window 30x100")
        os.write(master, b"\x01d\x03")  # nothing is special here
        read_until(master, b"data \x01d\x03")
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 31, 90, 0, 0))
        os.kill(process.pid, signal.SIGWINCH)
        read_until(master, b"resize 31 90")
        os.write(master, b"\x04")
        assert process.wait(10) == 7
        assert termios.tcgetattr(slave)[3] & termios.ICANON


def test_run_says_when_its_session_is_lost(walt, vnode, fakes, folder):
    before = set(folder.glob("opened-*"))
    running = walt.start("node", "run", vnode, "--", "cat", stdin=subprocess.PIPE, stderr=subprocess.PIPE)
    wait_until(lambda: set(folder.glob("opened-*")) > before, 15)
    fakes["console"].kill()
    fakes["console"].start()
    assert running.wait(30) == EXIT_SESSION_LOST
    assert running.stderr.read() == f"walt: the session on {vnode} is lost: no such session\n".encode()
    running.stdin.close()
