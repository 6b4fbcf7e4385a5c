"""Findings of `walt doctor`: a fault says what follows from it and how to fix it."""

from pathlib import Path

import pytest

from services.vmrunner import health
from services.vmrunner.qemu.accelerator import AcceleratorChoice, Reason
from walt.contracts.checks import FAIL, OK, WARN
from walt.contracts.vmrunner import TrashedDisk

MEMORY = Path("/s/accelerator.json")
OLD = TrashedDisk("disk-1", "n", "bob", "b", used_bytes=2**30, left_s=5 * 3600.0)
NEW = TrashedDisk("disk-2", "n", "bob", "b", used_bytes=2**29, left_s=60 * 3600.0)
CLAIMED = TrashedDisk("disk-3", "n", "bob", "b", left_s=1.0, for_node=7)


@pytest.mark.parametrize(
    ("check", "status", "found"),
    [
        (health.check_accelerator(AcceleratorChoice("tcg", Reason.NO_DEVICE), MEMORY), WARN, "no /dev/kvm"),
        (health.check_accelerator(AcceleratorChoice("kvm", Reason.BOOTS), MEMORY), OK, "KVM"),
        (health.check_accelerator(None, MEMORY), OK, "not chosen yet"),
        (health.check_ksm(None, None), WARN, "no KSM"),
        (health.check_ksm(0, 0), WARN, "off"),
        (health.check_ksm(1, 256), OK, "on, 1 MiB saved"),
        (health.check_memory(2**29), WARN, "0.5 GiB"),
        (health.check_memory(2**33), OK, "8.0 GiB"),
        (health.check_disk_tools({"mkfs.vfat", "sfdisk"}), FAIL, "mkfs.vfat, sfdisk not installed"),
        (health.check_disk_tools(set()), OK, "sfdisk are installed"),
        (health.check_space(2**30, 2**30, Path("/s")), WARN, "1.0 GiB free in /s"),
        (health.check_space(2**29, 2**30, Path("/s")), FAIL, "0.5 GiB free in /s"),
        (health.check_space(2**35, 2**30, Path("/s")), OK, "32.0 GiB"),
        (health.check_trash([]), OK, "empty"),
        (health.check_trash([OLD, NEW]), OK, "2 disks, 1.5 GiB; the next is deleted in 5 h (walt trash show)"),
        (
            health.check_trash([NEW, CLAIMED]),
            OK,
            "2 disks, 0.5 GiB; the next is deleted in 60 h (walt trash show); 1 kept",
        ),
    ],
)
def test_checks(check, status, found):
    assert check.status == status and found in check.found
    assert status == OK or (check.consequence and check.fix)


def test_a_probe_that_may_have_come_to_no_end_can_be_made_again():
    check = health.check_accelerator(AcceleratorChoice("tcg", Reason.DOES_NOT_BOOT, "no end after 8 s"), MEMORY)
    assert "rm /s/accelerator.json" in check.fix
    assert check.found == "TCG (emulation): /dev/kvm is there, but a kernel does not boot under it (no end after 8 s)"


def test_a_device_that_qemu_may_not_open_is_fixed_by_its_rights():
    check = health.check_accelerator(AcceleratorChoice("tcg", Reason.NOT_PERMITTED, "Permission denied"), MEMORY)
    assert "chgrp kvm /dev/kvm" in check.fix and "rm " not in check.fix


def test_fault_29_memory_saved_by_sharing_is_told():
    assert "1 MiB saved" in health.check_ksm(1, 256).found
    assert "fewer fit" in health.check_ksm(0, 0).consequence
