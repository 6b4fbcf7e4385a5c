"""A booted node that stops answering says so, and why; what still works is told (B34)."""

import json
import time

import pytest

from tests.support.wait import wait_until

DETECTED_S = 150  # 30 s to the next look, and three that fail, on a busy machine


@pytest.fixture(scope="module")
def nodes(walt):
    walt("node", "create", "mute", "halted", "-c", "boot.delay=0", "-c", "cpu.cores=1", "--wait", timeout=240)
    yield
    walt("node", "remove", "mute,halted")


def shown(walt, name):
    (node,) = json.loads(walt("node", "show", name, "-o", "json").stdout)
    return node


def later(walt, name, command):
    walt("node", "run", name, "--", f"(sleep 1; {command}) < /dev/null > /dev/null 2>&1 &")


def test_fault_b34_silence_is_told_and_so_is_its_end(walt, nodes):
    later(walt, "mute", "ip link set ens2 down; sleep 150; ip link set ens2 up")
    later(walt, "halted", "busybox halt -f")
    wait_until(lambda: shown(walt, "mute")["cause"] == "no-answer", DETECTED_S, "mute is silent")
    node = shown(walt, "mute")
    assert (node["state"], node["reason"]) == ("booted", "it does not answer")
    assert "booted, does not answer" in walt("node", "show", "mute").stdout
    for words in (("shell", "mute"), ("run", "mute", "--", "true"), ("cp", "mute:/etc/hostname", "/dev/null")):
        begin = time.monotonic()
        done = walt("node", *words, check=False)
        assert time.monotonic() - begin < 10
        assert (
            done.status not in (0, 255) and "does not answer" in done.stderr and "walt node console mute" in done.stderr
        )
    done = walt("node", "wait", "mute", "--timeout", "1", check=False)
    assert done.status != 0 and "does not answer" in done.stderr
    wait_until(lambda: shown(walt, "halted")["state"] == "stopped", DETECTED_S, "halted is off")
    assert shown(walt, "halted")["reason"] == "the guest halted"
    walt("node", "wait", "mute", "--timeout", "200", timeout=220)
    assert shown(walt, "mute")["reason"] == "it answers again"
    walt("node", "run", "mute", "--", "true")
