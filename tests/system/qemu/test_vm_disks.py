"""Disks and interfaces of a VM, as its guest finds them."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from services.netemu.kernel.taps import persistent_tap
from services.vmrunner.disks.store import DiskStore
from services.vmrunner.disks.trash import Trash
from services.vmrunner.qemu import command_line, endings
from tests.support.specs import spec
from tests.system.qemu.rig import (
    NODE,
)
from walt.contracts.disks import EXT4, FAT32, MAX_DISKS, NO_TEMPLATE
from walt.contracts.network_uses import MAX_NETWORKS
from walt.contracts.nodes import Disk, Interface, Network, Owner

NOBODY = Owner("", "")


@pytest.fixture
def store(tmp_path: Path) -> DiskStore:
    return DiskStore(tmp_path, Trash(tmp_path / "trash", 0))


@pytest.fixture
def taps() -> Iterator[list[str]]:
    """As many as a node may have, connected to nothing."""
    names = [f"wtest{n}" for n in range(MAX_NETWORKS)]
    with contextlib.ExitStack() as undo:
        for name in names:
            with persistent_tap(name):
                pass
            undo.callback(subprocess.run, ["ip", "link", "delete", name], check=True)
        yield names


def used_bytes(store: DiskStore) -> list[int]:
    return [one.used_bytes for one in store.data(NODE)]


def test_fault_13_all_disks_and_interfaces_that_may_be_asked_for(start, line, store, taps):
    """And fault 18: each at its place."""
    interfaces = tuple(Interface(2 + n, f"52:54:00:00:00:{n:02x}", Network(n, "a", "")) for n in range(MAX_NETWORKS))
    disks = tuple(Disk(100 - n, (n + 1) * 8_000_000, NO_TEMPLATE) for n in range(MAX_DISKS))
    node = spec(interfaces=interfaces, disks=disks, ram_bytes=256 * 2**20, cpu_cores=2)
    start(node, taps, store.prepare(NODE, disks, NOBODY))
    line.wait(b"READY")
    line.type(b"modules\n")
    line.wait(b"LOADED")
    line.type(b"devices\n")
    line.wait(b"LISTED")
    shown = line.seen.decode().split()
    for n, disk in enumerate(disks):
        place = shown.index(command_line.disk_name(n))
        assert shown[place + 1 : place + 3] == [str(disk.size_bytes // 512), f"walt-{disk.id}"]
    for one in interfaces:
        address = shown[shown.index(one.mac) - 1]
        assert address.split("/")[-2].endswith(f":00:{one.slot:02x}.0")
    slots = shown[shown.index("slots") + 1 : shown.index("LISTED")]
    assert {str(one.slot) for one in interfaces} <= set(slots)  # from which the guest names them ens2, ens3, …


@pytest.mark.parametrize("kind", ["process"])
def test_disks_hold_what_the_guest_writes_and_stay_sparse(start, line, store):
    disks = (Disk(3, 10**12, EXT4), Disk(4, 64_000_000, FAT32), Disk(5, 64_000_000, NO_TEMPLATE))
    small = spec(interfaces=(), ram_bytes=128 * 2**20, cpu_cores=1, disks=disks)
    vm = start(small, (), store.prepare(NODE, disks, NOBODY))
    before = used_bytes(store)
    vm.watch(lambda: None)
    line.wait(b"READY")
    line.type(b"modules\n")
    line.wait(b"LOADED")
    line.type(
        b"sh cd /; b=/bin/busybox; $b mkdir /a /b; $b mount -t ext4 /dev/vda1 /a; $b mount -t vfat /dev/vdb1 /b; "
        b"echo kept > /a/f; echo kept > /b/f; $b umount /a /b; $b head -c 5000000 /dev/zero > /dev/vdc; "
        b"echo bare > /dev/vdc; $b sync; $b poweroff -f\n"
    )
    assert vm.wait(60) and vm.ending == endings.GUEST_POWERED_OFF
    grown = [now - then for now, then in zip(used_bytes(store), before, strict=True)]
    assert all(one.written for one in store.data(NODE))
    assert grown[0] < 10**6 and grown[1] < 10**5 and grown[2] <= 65536, grown  # zeros take no room
    larger = (replace(disks[0], size_bytes=2 * 10**12), *disks[1:])
    vm = start(replace(small, disks=larger), (), store.prepare(NODE, larger, NOBODY))
    line.wait(b"READY", times=2)
    line.type(b"modules\n")
    line.wait(b"LOADED", times=2)
    line.type(
        b"sh cd /; b=/bin/busybox; $b mkdir /a /b; $b mount -t ext4 /dev/vda1 /a; $b mount -t vfat /dev/vdb1 /b; "
        b"$b cat /sys/block/vda/size /a/f /b/f; $b head -c 4 /dev/vdc\n"
    )
    line.wait(b"DONE")
    assert line.seen.decode().split("LOADED")[-1].split() == ["3906250000", "kept", "kept", "bareDONE"]
    assert b"GPT:" not in line.seen  # the kernel found nothing wrong with the partition table
