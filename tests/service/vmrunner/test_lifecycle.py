"""The life of VMs, as nodes sees it: the reports, in order, and which qemus run."""

from __future__ import annotations

import os
import re
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from tests.service.vmrunner import world
from tests.support.specs import spec
from walt.contracts import bootserver
from walt.contracts.bootserver import NodeCopying
from walt.contracts.nodes import Revision
from walt.contracts.vmrunner import (
    CAUSE_COPYING_IMAGE,
    CAUSE_ENDED_UNSEEN,
    CAUSE_GUEST_POWERED_OFF,
    CAUSE_NO_BOOT,
    CAUSE_POWERED_ON,
    CAUSE_SSH_ANSWERS,
)


def test_from_spec_to_booted(platform):
    report = platform.boot()
    assert platform.states() == ["delaying", "loading", "booting", "booted"]
    causes = [one.cause for one in platform.nodes.reports]
    assert causes == [CAUSE_POWERED_ON, CAUSE_POWERED_ON, CAUSE_POWERED_ON, CAUSE_SSH_ANSWERS]
    assert report.reason.startswith("ssh answers after 10.4 s") and (report.run, report.boot) == (1, 1)
    sequences = [one.sequence for one in platform.nodes.reports]
    assert sequences == sorted(set(sequences))
    assert "walt.mac=52:54:00:00:00:01" in platform.argv()
    assert b"WALT_" not in Path(f"/proc/{platform.qemus()[5]}/environ").read_bytes()
    assert f"walt-boot: http://127.0.0.1:{platform.server.port}/vmlinuz ... ok 0.0 MB\r\n" in platform.shown()
    for word in ("root\n", "reboot\n"):  # each closes the FIFO: that is not the end of its input
        with (platform.folder / "5.in").open("w") as line:
            line.write(word)
        platform.wait(lambda word=word: platform.shown().endswith("got " + word), "input and output")
    assert platform.reports() == [report]
    text = platform.process.metrics()
    assert 'walt_vms{state="booted"} 1.0' in text and 'walt_vm_boots_total{node="vnode1",outcome="booted"} 1.0' in text
    assert 'walt_vm_memory_bytes{node="vnode1"}' in text


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        (signal.SIGUSR1, "the guest rebooted"),
        (signal.SIGKILL, "qemu crashed"),
    ],
)
def test_its_end_leads_to_a_fresh_boot(platform, number, reason):
    platform.boot()
    platform.put(cpu_cores=7)  # taken up at the next boot only
    platform.settle()
    assert platform.last().state == "booted"
    platform.signal(number)
    platform.wait(lambda: platform.states()[4:7] == ["delaying", "loading", "booting"], "a fresh boot")
    assert platform.reasons("delaying")[-1] == reason
    assert platform.last().run == 2
    argv = platform.argv()
    assert argv[argv.index("-smp") + 1] == "7"


def test_fault_02_a_guest_that_powers_off_stays_off_until_it_is_started(platform):
    platform.boot()
    platform.signal(signal.SIGUSR2)
    stopped = platform.wait_state("stopped")
    assert (stopped.reason, stopped.cause) == ("the guest powered off", CAUSE_GUEST_POWERED_OFF)
    platform.put(ram_bytes=2**30)  # a change of settings starts nothing
    platform.restart()  # nor does vmrunner's own start
    platform.settle()
    assert platform.reports() == [stopped] and platform.qemus() == {}
    platform.put(boot=2)
    assert platform.wait_state("booting", boot=2).run == 2


def test_fault_25_a_guest_that_reboots_for_ever_before_it_is_booted_fails(platform):
    platform.put(boot_retries=2)
    for run in (1, 2, 3):
        platform.wait(lambda run=run: platform.states().count("booting") == run, f"run {run}")
        platform.signal(signal.SIGUSR1)
    reason = "the guest rebooted before it was booted, 2 retries spent; left as it is"
    assert platform.wait_state("failed").reason == reason
    reasons = [f"the guest rebooted before it was booted; retry {n} of 2" for n in (1, 2)]
    assert platform.reasons("delaying")[1:] == reasons
    assert 'walt_vm_boots_total{node="vnode1",outcome="ended"} 3.0' in platform.process.metrics()
    platform.put(boot=2)
    platform.wait_state("booting", boot=2)


def test_reboot_and_doubled_and_late_specs(platform):
    platform.boot()
    platform.boot(6)
    platform.put(6, boot=2)
    first, pid = platform.nodes.specs[5], platform.qemus()[5]
    second = platform.put(boot=2)
    assert platform.wait_state("booting", boot=2).run == 2
    for one in (second, first, second):
        platform.announce(one)
    platform.announce_booted(replace(platform.last(), run=1))  # late, of the former run
    platform.announce_booted(platform.wait_state("booting", 6, boot=2))
    platform.wait_state("booted", 6, boot=2)  # that one came later
    platform.settle()
    assert (platform.last().state, platform.last().run) == ("booting", 2)
    assert platform.qemus()[5] != pid


def test_off_on_and_absent(platform):
    platform.boot()
    platform.put(power="off", boot=2)
    assert platform.wait_state("stopped").boot == 2 and platform.qemus() == {}
    platform.put(power="on", boot=3)
    platform.wait_state("booting", boot=3)
    gone = platform.put(power="absent")
    platform.wait(lambda: platform.nodes.removed == [5], "removed")
    assert platform.qemus() == {} and not (platform.state_folder / "5").exists()
    platform.announce(replace(gone, power="on", version=gone.version - 1))  # late
    platform.announce(spec(id=6, host=world.HOST, power="absent"))  # never was on this host
    platform.wait(lambda: 6 in platform.nodes.removed, "the removal of nothing is announced too")
    assert platform.qemus() == {} and platform.reports() == []


def test_fault_23_a_fixed_delay_counts_down_on_the_line(platform):
    platform.put(boot_delay_s=2)
    assert platform.wait_state("delaying").reason == "powered on; boots in 2 s"
    platform.wait_state("booting")
    shown = platform.shown()
    assert "booting in 2 s" in shown and "booting in 1 s" in shown.split("booting in 2 s")[1]


def test_a_random_delay_is_drawn_for_each_boot(platform):
    def drawn(number):
        platform.put(boot=number, boot_delay_s=None)
        reason = platform.wait_state("delaying", boot=number).reason
        return int(re.findall(r"^.*; boots in (\d+) s$", reason)[0])

    delays = [drawn(number) for number in range(1, 21)]
    assert 1 <= min(delays) < max(delays) <= 10


def test_boot_that_hangs_is_tried_again(platform):
    platform.put(boot_timeout_s=1, boot_retries=1)
    platform.wait_state("booting")
    hung = platform.qemus()[5]
    os.kill(hung, signal.SIGSTOP)
    platform.wait(lambda: platform.states().count("booting") == 2, "the next try boots")
    assert platform.reasons("delaying")[1] == "no boot within 1 s; retry 1 of 1"
    assert platform.qemus()[5] != hung
    failed = platform.wait_state("failed")
    assert (failed.reason, failed.cause) == ("no boot within 1 s, 1 retries spent; left as it is", CAUSE_NO_BOOT)


def test_a_copy_of_the_image_to_a_disk_is_reported(platform):
    platform.put()
    run = platform.wait_state("booting").run
    platform.nodes.announce(bootserver.NODE_COPYING, NodeCopying(5, run), by=bootserver.SERVICE)
    platform.wait(lambda: platform.last().cause == CAUSE_COPYING_IMAGE, "it is reported")
    assert platform.last().reason == "powered on; its system copies the image to its disk"
    platform.announce_booted(platform.last())
    platform.wait_state("booted")


def test_fault_01_killed_and_started_again_it_finds_everything(platform):
    before = platform.boot()
    platform.boot(6)
    platform.boot(7)
    platform.put(8)
    waiting = platform.wait_state("booting", 8)
    pids = platform.qemus()
    platform.process.kill()
    os.kill(pids[6], signal.SIGKILL)  # ends unseen
    del platform.nodes.specs[7]  # unknown to nodes when vmrunner is back
    platform.put(9)  # new meanwhile
    platform.announce_booted(waiting)
    for _ in range(3):  # heard at its start, together with the answer of nodes: one VM all the same
        platform.announce(platform.nodes.specs[5])
    platform.process.start()
    platform.wait_state("booting", 9)
    platform.wait_state("booted", 8)
    platform.wait(lambda: 7 not in platform.qemus(), "the VM without a spec ends")
    assert platform.last(5) == before and platform.qemus()[5] == pids[5]
    reports = [one for one in platform.nodes.reports if one.node_id == 6]
    assert reports[4].reason == "its qemu ended while vmrunner was away" and reports[4].cause == CAUSE_ENDED_UNSEEN
    assert reports[4].sequence > reports[3].sequence
    platform.wait(lambda: (platform.last(6).state, platform.last(6).run) == ("booting", 2), "booted again")
    platform.put(boot=2)
    assert platform.wait_state("booting", boot=2).run == 2
    platform.put(9, power="absent")
    platform.wait(lambda: 9 in platform.nodes.removed, "a later spec has had its effect")
    assert platform.states(5)[4:] == ["delaying", "loading", "booting"]


def test_another_registry_removes_and_takes_over_nothing(platform):
    """The database of nodes was lost: its ids begin anew, and it knows none of the VMs."""
    before = platform.boot()
    running, old = platform.qemus(), dict(platform.nodes.specs)

    def log():
        return platform.process.log.read_text()

    platform.nodes.registry = "r2"
    platform.put(owner="bob", boot=9)
    platform.wait(lambda: "the spec of vnode1 is ignored: " in log(), "the spec is ignored")
    platform.nodes.specs.clear()
    platform.process.kill()
    platform.process.start()
    platform.wait(lambda: "not reconciled yet: " in log(), "nothing is reconciled")
    platform.put(owner="bob", boot=9)
    platform.wait(lambda: log().count("the spec of vnode1 is ignored: ") == 2, "the spec is ignored again")
    assert (platform.qemus(), platform.last()) == (running, before)
    assert [one["status"] for one in platform.call("diagnose") if one["subject"] == "registry"] == ["fail"]
    platform.nodes.registry = "r1"
    platform.nodes.specs.clear()
    platform.nodes.specs.update(old)
    platform.wait(lambda: platform.reports() == [before], "found again")
    assert platform.qemus() == running


def test_fault_s11_a_registry_from_a_backup_removes_nothing_until_it_is_accepted(platform):
    """Older nodes obey it again then, though it counts versions and boots from where it was."""
    platform.nodes.revision = Revision("e1", 7)
    before = platform.boot(boot=9)
    running, old = platform.qemus(), dict(platform.nodes.specs)
    platform.nodes.revision = Revision("e2", 5)
    platform.nodes.specs.clear()
    platform.process.kill()
    platform.process.start()
    platform.wait(lambda: "but nodes has an older one now" in platform.process.log.read_text(), "it is noticed")
    assert platform.qemus() == running
    platform.nodes.specs.update(old)
    platform.nodes.specs[5] = replace(old[5], version=0, boot=3)
    platform.nodes.accepted.add("e1")
    platform.wait(lambda: [one.boot for one in platform.reports()] == [3], "it is obeyed")
    assert (platform.qemus(), platform.reports()[0].run) == (running, before.run)
    platform.put(boot=4)
    platform.wait(lambda: platform.reports()[0].run == before.run + 1, "its next boot is obeyed too")


def test_fault_s38_a_second_vmrunner_of_the_host_does_not_serve(platform):
    before = platform.boot()
    second = platform.new_process()
    try:
        platform.wait(lambda: "another vmrunner@" in second.log.read_text(), "it says why it waits")
    finally:
        second.kill()
    platform.settle()
    assert platform.reports() == [before]
    platform.restart()
    platform.wait(lambda: platform.reports() == [before], "the lock went with its process")


def test_diagnose(platform):
    platform.wait(lambda: "walt_vms" in platform.process.metrics(), "it serves")
    subjects = {check["subject"] for check in platform.call("diagnose")}
    assert {"accelerator", "qemu", "memory", "registry"} <= subjects
