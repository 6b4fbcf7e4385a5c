"""What a boot needs: memory, peers, boot files, qemu; each as a reason while it is missing."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.service.vmrunner import world
from walt.contracts import serialization
from walt.contracts.errors import Failed, NotFound, Unreachable
from walt.contracts.vmrunner import (
    CAUSE_BOOT_SCRIPT,
    CAUSE_CANNOT_START,
    CAUSE_NO_MEMORY,
    CAUSE_PEER_AWAY,
    CAUSE_WAITS_FOR_SLOT,
    Capacity,
)


@pytest.mark.parametrize("variables", [{"WALT_MEMORY_FACTOR": "0.02"}])
def test_a_boot_waits_for_memory_until_another_vm_has_ended(platform):
    capacity = serialization.load(Capacity, platform.call("capacity"))
    assert capacity.memory_factor == 0.02 and capacity.cpu_cores == os.cpu_count()
    ram_bytes = int(0.012 * capacity.ram_bytes)
    platform.boot(ram_bytes=ram_bytes, boot_timeout_s=None)
    platform.put(6, ram_bytes=ram_bytes)
    platform.wait(lambda: platform.states(6) and platform.last(6).cause == CAUSE_NO_MEMORY, "it waits")
    waits = platform.last(6)
    assert waits.state == "delaying" and waits.reason.startswith("waits for memory: host lab has promised ")
    assert platform.process.metric("walt_host_promised_memory_bytes") == ram_bytes
    platform.restart()  # what runs is counted again
    platform.settle()
    assert platform.reports()[1] == waits and 6 not in platform.qemus()
    platform.put(power="off", boot=2)
    platform.wait_state("booting", 6)
    assert platform.states(6) == ["delaying", "delaying", "loading", "booting"], "the wait is reported once"
    assert platform.shown(6).count("waits for memory") == 1


@pytest.mark.parametrize("variables", [{"WALT_BOOT_SLOTS": "1"}])
def test_fault_b8_nodes_boot_one_after_the_other_also_over_a_restart(platform):
    platform.put()
    first = platform.wait_state("booting")
    platform.put(6)
    platform.wait(lambda: platform.states(6) and platform.last(6).cause == CAUSE_WAITS_FOR_SLOT, "it waits")
    platform.restart()
    platform.settle()
    platform.wait(lambda: platform.last(6).cause == CAUSE_WAITS_FOR_SLOT, "it waits again")
    assert 6 not in platform.qemus()
    platform.announce_booted(first)
    platform.wait_state("booting", 6)
    assert platform.shown(6).count("other nodes of its host boot before it") == 1


@pytest.mark.parametrize("variables", [{"WALT_MEMORY_FACTOR": "0.02"}])
def test_fault_13_a_node_that_no_host_could_hold_fails_with_a_sentence(platform):
    platform.put(ram_bytes=2**50)
    failed = platform.wait_state("failed")
    assert "host lab has " in failed.reason and failed.cause == CAUSE_NO_MEMORY


@pytest.mark.parametrize(
    ("fault", "cause"),
    [
        (NotFound("there is no image 'default'"), CAUSE_CANNOT_START),
        (Failed("the kernel cannot be read"), CAUSE_CANNOT_START),
        (Unreachable("bootserver"), CAUSE_PEER_AWAY),
    ],
)
def test_faults_of_peers_are_the_reason_and_fix_themselves(platform, fault, cause):
    platform.bootserver.fault = fault
    platform.put()
    failed = platform.wait_state("failed")
    assert (failed.reason, failed.cause) == (f"{fault}; next try in 2 s", cause)
    platform.wait(lambda: platform.last().reason.endswith("next try in 4 s"), "the next try")
    platform.bootserver.fault = None
    platform.put(boot=2)  # at once
    platform.wait_state("booting", boot=2)
    assert str(fault) in platform.shown()


def test_qemu_missing_then_refusing_then_installed(platform):
    (platform.folder / "qemu").unlink()
    platform.put(name="refused")
    assert "is not installed on this host" in platform.wait_state("failed").reason
    platform.install_qemu()
    platform.wait(lambda: "this machine is refused" in platform.last().reason, "the error of qemu itself")
    platform.put(name="accepted", boot=2)
    platform.wait_state("booting")


def test_fault_24_kernel_is_fetched_once_for_all(platform):
    for node_id in range(5, 9):
        platform.put(node_id)
    for node_id in range(5, 9):
        platform.wait_state("booting", node_id)
    fetched = platform.server.fetched
    assert sorted(fetched) == ["/initrd"] + ["/script"] * 4 + ["/vmlinuz"]
    platform.server.files["/vmlinuz"] = b"newer" * 1000
    platform.put(boot=2)
    platform.wait_state("booting", boot=2)
    assert fetched.count("/vmlinuz") == 2 and len(list((platform.state_folder / "cache").iterdir())) == 3


def script_processes(platform):
    """Those of boot scripts: {pid: uid}."""
    pid = platform.process.child.pid
    children = map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
    return {one: os.stat(f"/proc/{one}").st_uid for one in children if "script_process" in command_of(one)}


def command_of(pid):
    return Path(f"/proc/{pid}/cmdline").read_bytes().decode()


def wait_for_the_script(platform, text):
    platform.wait(lambda: (platform.folder / "5.log").exists() and text in platform.shown(), "the script runs")
    ((pid, uid),) = script_processes(platform).items()
    return pid, uid


def test_fault_s4_a_boot_script_runs_in_a_process_of_its_own(platform):
    """As the user of its VM. One that crashes is a failed boot, also for a vmrunner that starts anew."""
    platform.server.files["/script"] = b"#!ipxe\necho begins\nsleep 1000\n"
    platform.put()
    pid, uid = wait_for_the_script(platform, "begins")
    assert uid == 2013265920 + 1 + world.NODE
    os.kill(pid, signal.SIGKILL)
    failed = platform.wait_state("failed")
    assert failed.reason == "the process of the boot script ended: SIGKILL; next try in 2 s"
    assert failed.cause == CAUSE_BOOT_SCRIPT
    platform.restart()
    (report,) = platform.reports()
    assert (report.state, report.cause) == ("failed", CAUSE_BOOT_SCRIPT) and "SIGKILL" in report.reason
    platform.wait(lambda: script_processes(platform), "the next try")
    platform.server.files["/script"] = world.SCRIPT.encode()
    platform.put(boot=2)
    platform.wait_state("booting", boot=2)
    assert not script_processes(platform) and os.stat(f"/proc/{platform.qemus()[5]}").st_uid == uid


def test_fault_s5_a_boot_script_ends_at_once_when_its_node_stops(platform):
    platform.server.files["/script"] = b"#!ipxe\necho begins\nsleep 1000\n"
    platform.put()
    pid, _ = wait_for_the_script(platform, "begins")
    platform.put(power="off")
    platform.wait_state("stopped")
    assert not Path(f"/proc/{pid}").exists()


def test_a_boot_script_ends_with_vmrunner(platform):
    platform.server.files["/script"] = b"#!ipxe\necho begins\nsleep 1000\n"
    platform.put()
    pid, _ = wait_for_the_script(platform, "begins")
    platform.process.kill()
    platform.wait(lambda: not Path(f"/proc/{pid}").exists(), "its process ends")
    platform.process.start()
    platform.wait_until_it_answers()
