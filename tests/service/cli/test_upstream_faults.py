"""Faults of the command line that this project was modelled on; docs/features.md lists them."""

import json
import os
import signal
import subprocess

from tests.service.cli.command import Walt, read_until, until_connected


def test_fault_05_failures_have_exit_codes(walt):
    """Upstream: exit code 0 on most failures."""
    for words, status in (
        (["boot", "nobody", "x"], 3),
        (["config", "nobody"], 3),
        (["create", "dup", "dup"], 2),
        (["run", "nobody", "--", "x"], 3),
    ):
        assert walt("node", *words).returncode == status, words


def test_fault_07_create_takes_everything_at_once(walt):
    """Upstream: one node at a time, settings afterwards plus a reboot."""
    made = walt("node", "create", "new1", "new2", "-c", "ram=1G", "-c", "cpu.cores=2", "--image", "small", "--wait")
    assert made.returncode == 0
    for node in json.loads(walt("node", "show", "new1,new2", "-o", "json").stdout):
        assert (node["state"], node["image"], node["config"]["ram"]) == ("booted", "small", "1G")


def test_fault_09_remove_asks(walt):
    """Upstream: disks are destroyed without asking. Here nobody but a person at a terminal is asked."""
    walt("node", "create", "data1", "data2", "data3")
    refused = walt("node", "remove", "data1", stdin=b"y\n")
    assert (refused.returncode, refused.stdout) == (4, b"")
    assert refused.stderr == b"walt: node 'data1': disk vda holds data (1 MB); --force destroys it\n"
    with walt.on_terminal("node", "remove", "data1") as (process, master, _):
        read_until(master, b"Do it anyway? [y/N]:")
        os.write(master, b"\n")
        read_until(master, b"nothing was changed")
        assert process.wait(10) == 4
    assert walt("node", "show", "data1").returncode == 0
    with walt.on_terminal("node", "remove", "data1") as (process, master, _):
        read_until(master, b"[y/N]:")
        os.write(master, b"y\n")
        read_until(master, b"data1: removed")
        assert process.wait(10) == 0
    assert walt("node", "remove", "data2", "--force").returncode == 0
    with walt.on_terminal("node", "release", "data3") as (process, master, _):
        read_until(master, b"[y/N]:")
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 130
    assert [walt("node", "show", name).returncode for name in ("data1", "data2", "data3")] == [3, 3, 0]


def test_fault_28_errors_of_the_platform_are_exit_codes(walt, vnode, user_uri, tmp_path):
    """Upstream: errors of the API are printed, and the exit code is 0."""
    assert walt("node", "create", vnode).returncode == 4
    (tmp_path / "bob").mkdir()
    assert Walt(user_uri("bob"), tmp_path / "bob")("node", "remove", vnode).returncode == 4


def test_fault_31_wait_on_an_unknown_node(walt):
    """Upstream: exit code 0; and waiting for a node that is removed never ends."""
    assert walt("node", "wait", "nobody").returncode == 3
    walt("node", "create", "slow31")
    waiting = walt.start("node", "wait", "slow31", "--for", "stopped", stderr=subprocess.DEVNULL)
    until_connected(waiting)
    walt("node", "remove", "slow31")
    assert waiting.wait(10) == 3
