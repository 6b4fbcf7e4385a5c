"""Disks, and the guest's clean end, which they need."""

from __future__ import annotations

import os
import signal

import eventlet
import pytest

from tests.support.wait import wait_until
from walt.contracts import serialization
from walt.contracts.errors import Failed
from walt.contracts.nodes import Disk
from walt.contracts.vmrunner import DiskData, TrashedDisk

DISKS = (Disk(21, 10**6, "none"), Disk(22, 16 * 10**6, "ext4"))


def disk_files(platform):
    return sorted(path.name for path in (platform.state_folder / "5/disks").glob("*.raw"))


def disk_data(platform):
    return serialization.load_all(DiskData, platform.call("list_data", node_id=5))


def test_disks_are_made_kept_and_deleted(platform):
    assert disk_data(platform) == []
    platform.boot(disks=DISKS)
    serials = [word for word in platform.argv() if word.startswith("virtio-blk")]
    assert ["walt-21" in serials[0], "walt-22" in serials[1]] == [True, True]
    assert "walt-boot: disk vdb: 16M, template ext4\r\n" in platform.shown()
    assert [(one.disk_id, one.written) for one in disk_data(platform)] == [(21, False), (22, False)]
    with (platform.state_folder / "5/disks/21.raw").open("r+b") as disk:
        disk.write(b"x" * 4096)
    assert [one.written for one in disk_data(platform)] == [True, False]
    assert 'walt_vm_disk_bytes{node="vnode1"}' in platform.process.metrics()
    platform.put(disks=(Disk(23, 10**6, "none"), DISKS[0]))
    platform.settle()
    assert disk_files(platform) == ["21.raw", "22.raw"]  # not while its qemu runs
    platform.put(boot=2)
    platform.wait_state("booting", boot=2)
    assert disk_files(platform) == ["21.raw", "23.raw"]
    assert [one.written for one in disk_data(platform)] == [True, False]
    platform.put(power="off", disks=DISKS[:1], boot=3)
    platform.wait_state("stopped")
    platform.wait(lambda: disk_files(platform) == ["21.raw"], "deleted at its end")
    platform.put(disks=())
    platform.wait(lambda: disk_files(platform) == [], "deleted while it is off")
    platform.put(power="absent")
    platform.wait(lambda: platform.nodes.removed == [5], "removed")
    assert not (platform.state_folder / "5").exists()


def test_a_removed_disk_is_in_the_trash_over_a_kill_and_comes_back(platform):
    platform.boot(disks=DISKS)
    with (platform.state_folder / "5/disks/21.raw").open("r+b") as disk:
        disk.write(b"kept")
    platform.put(power="absent")
    platform.wait(lambda: platform.nodes.removed == [5], "removed")
    platform.process.kill()
    platform.process.start()
    (found,) = serialization.load_all(TrashedDisk, platform.call("list_trash"))
    assert (found.id, found.node, found.number, found.size_bytes) == ("disk-21", "vnode1", 21, 10**6)
    platform.boot(node_id=6, disks=DISKS[:1])
    assert (platform.state_folder / "6/disks/21.raw").read_bytes().startswith(b"kept")
    assert platform.call("list_trash") == []


def test_fault_10_a_disk_that_cannot_be_made_is_the_reason(platform):
    (platform.state_folder / "5").mkdir()
    (platform.state_folder / "5/disks").write_text("a file is in the way")
    platform.put(disks=DISKS)
    assert "disks" in platform.wait_state("failed").reason
    platform.put(power="absent")
    platform.wait(lambda: platform.nodes.removed == [5], "removed all the same")


def test_another_registry_removes_no_disk(platform):
    platform.boot(disks=DISKS)
    platform.nodes.registry = "r2"
    platform.put(owner="bob", boot=9, disks=DISKS[:1])
    wait_until(lambda: "the spec of vnode1 is ignored: " in platform.process.log.read_text())
    platform.process.kill()
    platform.process.start()
    wait_until(lambda: "not reconciled yet: " in platform.process.log.read_text())
    assert disk_files(platform) == ["21.raw", "22.raw"]


def power_off(platform):
    """The guest obeys a moment later."""
    eventlet.spawn_after(0.2, platform.signal, signal.SIGUSR2)
    return 0


@pytest.mark.parametrize(
    ("disks", "hard", "told"), [((), False, ["sync"]), ((), True, []), (DISKS, False, ["poweroff"]), (DISKS, True, [])]
)
def test_a_guest_is_told_before_its_end(platform, disks, hard, told):
    platform.console.status_of = lambda command: power_off(platform) if command == ["poweroff"] else 0
    platform.boot(disks=disks)
    pid = platform.qemus()[5]
    platform.put(boot=2, hard=hard)
    assert platform.wait_state("booting", boot=2).run == 2 and platform.qemus()[5] != pid
    assert platform.reasons("delaying")[1] == "reboot requested"
    assert "stopped" not in platform.states()
    assert platform.console.commands == [[word] for word in told]
    is_shown = "walt-boot: asking the guest to shut down" in platform.shown()
    assert is_shown == (told == ["poweroff"])


@pytest.mark.parametrize(
    ("how", "shown"),
    [
        ("deaf", "asking the guest to shut down"),
        ("refuses", "the guest cannot be told to poweroff: status 127: its output"),
        ("away", "no route"),
    ],
)
def test_fault_30_a_guest_that_does_not_end_is_ended(platform, how, shown):
    def refuse(command):
        raise Failed("192.168.172.2 cannot be reached by ssh: no route")

    status_of = {"deaf": lambda command: 0, "refuses": lambda command: 127, "away": refuse}
    platform.console.status_of = status_of[how]
    platform.boot(disks=DISKS)
    platform.put(power="off", boot=2)
    assert platform.wait_state("stopped").reason == "powered off as requested"
    assert shown in platform.shown() and platform.console.commands == [["poweroff"]]


@pytest.mark.parametrize("variables", [{"WALT_SOFT_END_S": "100"}])
def test_a_guest_that_ends_while_the_command_hangs_is_not_waited_for(platform):
    seen = eventlet.Event()

    def hang(command):
        power_off(platform)
        return seen.wait(60)

    platform.console.status_of = hang
    platform.boot(disks=DISKS)
    platform.put(power="off", boot=2)
    platform.wait(lambda: platform.console.commands, "the guest was told")
    platform.wait_state("stopped")
    seen.send(0)


@pytest.mark.parametrize("variables", [{"WALT_SOFT_END_S": "100"}])
def test_while_it_waits_for_the_guest_a_harder_spec_counts(platform):
    platform.boot(disks=DISKS)
    platform.put(boot=2)
    platform.wait(lambda: platform.console.commands, "the guest was told")
    platform.settle()
    assert platform.last().state == "booted"
    platform.put(boot=3, hard=True)
    platform.wait_state("booting", boot=3)


def last_order(platform):
    """To run or to stop; what the monitor is asked besides comes in any order."""
    return [one for one in platform.monitor_commands(5) if one in ("stop", "cont")][-1]


@pytest.mark.parametrize("variables", [{"WALT_DISK_FLOOR": "1000000T"}])
@pytest.mark.parametrize("file", ["disks/21.raw", "persist/alice~a1.raw"])
def test_fault_s8_a_node_that_writes_below_the_floor_is_paused_until_there_is_room(platform, file):
    """Of two nodes one writes. The floor is above what any disk has, then, after a restart, below what is free."""
    for node_id in (5, 6):
        owner = {"owner_account": "a1", "persist_bytes": 64 * 10**6}
        platform.boot(node_id, disks=DISKS[:1] if node_id == 5 else (Disk(31, 10**6, "none"),), **owner)
        platform.announce_booted(platform.nodes.last_report(node_id))
        platform.wait_state("booted", node_id)
    with (platform.state_folder / "5" / file).open("r+b") as disk:
        eventlet.sleep(2.5)
        disk.seek(0, os.SEEK_END)
        disk.seek(disk.tell() // 2)  # where nothing is yet
        disk.write(b"x" * 400_000)
    platform.wait(lambda: platform.nodes.last_report(5).cause == "no-space", "paused")
    assert "the disk of its host is nearly full" in platform.nodes.last_report(5).reason
    platform.wait(lambda: last_order(platform) == "stop", "its monitor was told so")
    assert "stop" not in platform.monitor_commands(6) and platform.nodes.last_report(6).cause == "ssh-answers"
    assert "space for VMs" in str(platform.call("diagnose"))
    platform.process.kill()
    platform.process.set("WALT_DISK_FLOOR", "1M")
    platform.process.start()
    platform.wait(lambda: platform.nodes.last_report(5).cause == "ssh-answers", "it runs again")
    platform.wait(lambda: last_order(platform) == "cont", "its monitor was told so")
