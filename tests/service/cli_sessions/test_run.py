"""`walt node run` on several nodes; who may use which; the console and its bytes; ping."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.service.cli.command import ROOT, read_until
from tests.support.wait import wait_until
from walt.contracts import console as contract
from walt.contracts.errors import EXIT_SESSION_LOST

pytestmark = pytest.mark.usefixtures("as_root")  # files are given to the user of the machines


def test_another_persons_node_is_refused_without_a_wait_for_its_boot(walt, bob):
    assert walt("node", "create", "slow1").returncode == 0
    begin = time.monotonic()
    for words in (("shell", "slow1"), ("run", "slow1", "--", "true"), ("cp", "slow1:/etc/hostname", ".")):
        done = bob("node", *words, stdin=b"")
        assert done.returncode == 4
        assert b"alice" in done.stderr
    assert time.monotonic() - begin < 20  # it never boots; the usual wait is 300 s


def test_fault_6_remote_command_runs_on_all_at_once_with_prefix_and_status(walt):
    meet = "touch here.$$; for n in $(seq 300); do [ $(ls here.* | wc -l) = 3 ] && break; sleep 0.05; done"
    script = f"'{meet}; [ $n = 300 ] && exit 9; echo one; echo oops >&2; printf two; exit 3'"
    done = walt("node", "run", "vnode1,vnode2,vnode10", "--", "sh", "-c", script)
    prefixes = [b"vnode1:  ", b"vnode2:  ", b"vnode10: "]
    assert sorted(done.stdout.splitlines()) == sorted(p + word for p in prefixes for word in (b"one", b"two"))
    said = done.stderr.splitlines()
    assert sorted(said[:3]) == sorted(p + b"oops" for p in prefixes)
    assert said[3:] == [b"vnode1: exit status 3", b"vnode2: exit status 3", b"vnode10: exit status 3"]
    assert done.returncode == 3


def test_fault_b21_a_loop_reads_its_own_input(walt):
    """`run` would pass the rest of it to the command."""
    command = " ".join(walt.argv("node", "run", "-n", "$node", "--", "'echo here; cat'"))
    script = f"printf 'vnode1\nvnode2\n' | while read node; do {command}; done"
    done = subprocess.run(["sh", "-c", script], cwd=ROOT, env=walt.env, capture_output=True, timeout=60)
    assert (done.stdout, done.stderr) == (b"here\nhere\n", b"")


def test_fault_b50_nodes_are_split_by_blanks_or_commas(walt):
    assert walt("node", "wait", "vnode1", "vnode2,", "vnode10").returncode == 0
    shown = walt("node", "show", "vnode2", "vnode1", "-o", "csv").stdout.splitlines()
    assert [line.split(b",")[0] for line in shown] == [b"name", b"vnode2", b"vnode1"]
    assert walt("node", "run", "vnode1 vnode2", "--", "true").returncode == 0
    assert walt("node", "config", "vnode1", "vnode2", "boot.delay=5").stderr.startswith(b"vnode1, vnode2: configured")
    refused = walt("node", "boot", "vnode1", "vnode2", "default")
    assert refused.returncode == 2 and b"several nodes are separated by commas here" in refused.stderr


def test_run_on_several_nodes_keeps_lines_whole(walt):
    done = walt("node", "run", "vnode1,vnode2", "--", "seq 20000; cat")
    assert done.returncode == 0
    for node in (b"vnode1: ", b"vnode2: "):
        mine = [line.removeprefix(node) for line in done.stdout.splitlines() if line.startswith(node)]
        assert mine == [b"%d" % number for number in range(1, 20001)]


def test_node_that_cannot_be_reached_does_not_stop_the_others(walt, home):
    (home / "unreachable-127.0.0.2").touch()
    done = walt("node", "run", "vnode1,vnode2,vnode10", "--", "echo done")
    (home / "unreachable-127.0.0.2").unlink()
    assert sorted(done.stdout.splitlines()) == [b"vnode10: done", b"vnode1:  done"]
    assert done.stderr == b"vnode2:  connect to host: no route\n"
    assert done.returncode == EXIT_SESSION_LOST


def test_run_on_a_set_with_a_foreign_node(walt, bob):
    assert bob("node", "create", "theirs", "--wait").returncode == 0
    done = walt("node", "run", "vnode1,theirs", "--", "echo hello")
    assert done.stdout == b"vnode1: hello\n"
    assert done.stderr == b"theirs: node 'theirs' belongs to bob\n"
    assert done.returncode == 1


def test_ctrl_c_ends_all(walt, home):
    running = walt.start("node", "run", "vnode1,vnode2", "--", "echo $$ > pid.$$; sleep 1000", stderr=subprocess.PIPE)
    wait_until(lambda: len(list(home.glob("pid.*"))) == 2, 15)
    running.send_signal(signal.SIGINT)
    assert running.wait(15) == 130
    assert running.stderr.read() == b"walt: interrupted\n"
    wait_until(lambda: not any(Path("/proc", one.name.split(".")[1]).exists() for one in home.glob("pid.*")), 15)


def test_ping(walt, bob):
    done = walt("node", "ping", "vnode1", "--count", "1")
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"1 packets transmitted, 1 received" in done.stdout
    assert bob("node", "ping", "vnode1", "--count", "1").returncode == 0  # anybody may
    assert walt("node", "ping", "vnode1", "--count", "0").returncode == 2
    assert walt("node", "ping", "nobody").returncode == 3


ESCAPES = b"\x1b]0;__import__('os').system('touch evil')\x07\x1b[2J\x1bc{7*7} $(touch evil) \x00\x9c\r\n"


def test_fault_22_console_passes_bytes_and_never_evaluates_them(walt, bob, folder):
    number = 1 + ["vnode1", "vnode2", "vnode10"].index("vnode10")
    viewer = walt.start("node", "console", "vnode10", stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    try:
        line = folder / "lines" / str(number) / "line.log"
        wait_until(line.exists, 15)
        with line.open("ab") as file:
            file.write(ESCAPES)
        assert read_until(viewer.stdout.fileno(), ESCAPES) == ESCAPES
    finally:
        viewer.kill()
        viewer.wait()
    log = walt("node", "console", "vnode10", "--log")  # scrollback: what came before we looked
    assert (log.returncode, log.stdout, log.stderr) == (0, ESCAPES, b"")
    assert not list(ROOT.glob("evil"))
    refused = bob("node", "console", "vnode10", "--log")
    assert refused.returncode == 4
    with walt.on_terminal("node", "console", "vnode10", "--read-only") as (_, master, _):
        read_until(master, b"ctrl-a d leaves")
        os.write(master, b"x")
        read_until(master, b"read-only")
        os.write(master, b"\x01d")
        read_until(master, b"left the console")
    assert line.read_bytes() == ESCAPES


def test_fault_35_label_of_the_wait_tells_the_truth_about_ctrl_c(walt):
    walt("node", "create", "slow1")
    with walt.on_terminal("node", "run", "slow1", "--", "true") as (process, master, _):
        read_until(master, b"waiting for slow1 to be booted; ctrl-c ends the wait")
        os.write(master, b"\x03")
        process.send_signal(signal.SIGINT)  # the test's terminal is not the controlling one
        assert process.wait(15) == 130
    assert b'"state": "delaying"' in walt("node", "show", "slow1", "-o", "json").stdout  # the node was left alone
    walt("node", "remove", "slow1")


def test_parallel_sessions_stay_below_the_limit_of_the_service():
    from cli.sessions.parallel import MAX_PARALLEL

    assert MAX_PARALLEL < contract.MAX_SESSIONS_PER_USER
