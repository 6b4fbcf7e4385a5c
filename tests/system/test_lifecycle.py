"""Power-on after power-on: every end of a machine leads to a fresh boot with the settings of that moment."""

import json
import os
import signal
import time

import pytest

from tests.support.wait import wait_until


@pytest.fixture(scope="module")
def node(walt):
    settings = ("-c", "boot.delay=0", "-c", "cpu.cores=1", "-c", "ram=256M")
    walt("node", "create", "cycle", *settings, "--wait", timeout=240)
    yield "cycle"
    walt("node", "remove", "cycle")


def view(walt, name):
    (node,) = json.loads(walt("node", "show", name, "-o", "json").stdout)
    return node


def boot_id(walt, name):
    return walt("node", "run", name, "--", "cat", "/proc/sys/kernel/random/boot_id", timeout=240).stdout


def machine(platform, name):
    """pid of the node's qemu."""
    (pid,) = [pid for pid, line in platform.machines().items() if f" {name}" in line or f"={name}" in line]
    return pid


def seen_states(walt, name, until, limit_s):
    """The states that the node goes through, as `node show` tells them, until `until` comes after another one."""
    states: list[str] = []
    end = time.monotonic() + limit_s
    while time.monotonic() < end:
        state = view(walt, name)["state"]
        if not states or states[-1] != state:
            states.append(state)
        if state == until and len(states) > 1:
            return states
    raise AssertionError(f"{name}: {states} within {limit_s} s")


def test_reboot_from_inside_leads_to_a_fresh_boot(node, walt):
    """A power-off from inside does not: test_use.py."""
    before = boot_id(walt, node)
    walt("node", "run", node, "--", "(reboot) >/dev/null 2>&1 &", check=False)
    wait_until(lambda: view(walt, node)["state"] != "booted", 60, "the reboot is noticed")
    walt("node", "wait", node, timeout=240)
    assert boot_id(walt, node) != before


def test_crash_of_qemu_leads_to_a_fresh_boot(node, walt, platform):
    os.kill(machine(platform, node), signal.SIGKILL)
    wait_until(lambda: view(walt, node)["state"] != "booted", 30, "the crash is noticed", 0.05)
    walt("node", "wait", node, timeout=240)
    assert view(walt, node)["state"] == "booted"


def test_reboot_then_wait_is_race_free(node, walt):
    before = boot_id(walt, node)
    walt("node", "reboot", node)
    walt("node", "wait", node, timeout=240)
    assert boot_id(walt, node) != before


def test_settings_of_that_moment(node, walt):
    walt("node", "config", node, "cpu.cores=2", "ram=320M")
    assert walt("node", "run", node, "--", "nproc").stdout.strip() == "1"
    walt("node", "reboot", node, "--wait", timeout=240)
    assert walt("node", "run", node, "--", "nproc").stdout.strip() == "2"
    memory_kb = int(walt("node", "run", node, "--", "cat", "/proc/meminfo").stdout.split()[1])
    assert 256_000 < memory_kb < 320 * 1024


def test_fault_03_states_on_the_way(node, walt):
    walt("node", "reboot", node)
    states = seen_states(walt, node, "booted", 240)
    assert set(states) <= {"delaying", "loading", "booting", "booted"}
    assert "booting" in states


def test_removed_node_leaves_nothing(walt, platform):
    walt("node", "create", "shortlived")
    wait_until(lambda: any("shortlived" in line for line in platform.machines().values()), 60, "its machine runs")
    walt("node", "remove", "shortlived")
    wait_until(
        lambda: not any("shortlived" in line for line in platform.machines().values()), 30, "its machine is gone"
    )
    wait_until(lambda: "shortlived" not in platform.inside("ip", "-d", "link").stdout, 30, "its ports are gone")
    walt("node", "create", "shortlived")  # the name is free at once
    walt("node", "remove", "shortlived")
