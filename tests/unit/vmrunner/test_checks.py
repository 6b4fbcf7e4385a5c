"""Findings of `walt doctor`: what is not well says what follows and how to mend it."""

from pathlib import Path

import pytest

from services.contracts.health import FAIL, OK, WARN
from services.vmrunner import checks
from services.vmrunner.accelerator import Choice

MEMORY = Path("/s/accelerator.json")


@pytest.mark.parametrize(
    ("check", "status", "found"),
    [
        (checks.check_accelerator(Choice("tcg", "there is no /dev/kvm"), MEMORY), WARN, "no /dev/kvm"),
        (checks.check_accelerator(Choice("kvm", "a kernel boots"), MEMORY), OK, "KVM"),
        (checks.check_accelerator(None, MEMORY), OK, "not chosen yet"),
        (checks.check_ksm(None, None), WARN, "no KSM"),
        (checks.check_ksm(0, 0), WARN, "off"),
        (checks.check_ksm(1, 256), OK, "on, 1 MiB saved"),
        (checks.check_memory(2**29), WARN, "0.5 GiB"),
        (checks.check_memory(2**33), OK, "8.0 GiB"),
        (checks.check_disk_tools({"mkfs.vfat", "sfdisk"}), FAIL, "mkfs.vfat, sfdisk not installed"),
        (checks.check_disk_tools(set()), OK, "sfdisk are there"),
        (checks.check_space(2**30, Path("/s")), WARN, "1.0 GiB free in /s"),
        (checks.check_space(2**35, Path("/s")), OK, "32.0 GiB"),
    ],
)
def test_checks(check, status, found):
    assert check.status == status and found in check.found
    assert status == OK or (check.consequence and check.mend)


def test_a_probe_that_may_have_come_to_no_end_can_be_made_again():
    check = checks.check_accelerator(Choice("tcg", "/dev/kvm is there, but a kernel does not boot under it"), MEMORY)
    assert "rm /s/accelerator.json" in check.mend


def test_fault_29_memory_saved_by_sharing_is_told():
    assert "1 MiB saved" in checks.check_ksm(1, 256).found
    assert "fewer fit" in checks.check_ksm(0, 0).consequence
