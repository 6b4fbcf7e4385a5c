"""What `walt doctor` should know of this host's ability to run VMs."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from services.kit import registry_guard
from services.vmrunner.disks import templates
from services.vmrunner.memory.host_memory import meminfo_bytes
from services.vmrunner.qemu import command_line
from services.vmrunner.qemu.accelerator import Accelerator, AcceleratorChoice, Reason
from services.vmrunner.qemu.vm import Launcher
from walt.contracts.checks import FAIL, OK, WARN, Check
from walt.contracts.errors import Failed
from walt.contracts.vmrunner import TrashedDisk

KSM_RUN = Path("/sys/kernel/mm/ksm/run")
KSM_SHARING = Path("/sys/kernel/mm/ksm/pages_sharing")
PAGE_BYTES = 4096
LOW_MEMORY_BYTES = 2**30


def diagnose(
    chooser: Accelerator,
    launcher: Launcher,
    state_folder: Path,
    floor_bytes: int,
    trash: Sequence[TrashedDisk],
    registry_fault: str,
) -> Iterator[Check]:
    """floor_bytes: WALT_DISK_FLOOR; registry_fault: of the RegistryGuard, "" for none."""
    try:
        yield check_accelerator(chooser.known(), chooser.memory)
        yield Check("qemu", OK, launcher.version())
    except Failed as error:
        yield Check("qemu", FAIL, str(error), "no node can boot", launcher.fix)
    yield check_ksm(read_number(KSM_RUN), read_number(KSM_SHARING))
    yield check_memory(meminfo_bytes("MemAvailable"))
    yield check_disk_tools({tool for tool in templates.TOOLS if shutil.which(tool) is None})
    yield check_space(shutil.disk_usage(state_folder).free, floor_bytes, state_folder)
    yield check_trash(trash)
    yield check_registry(registry_fault)


def check_registry(fault: str) -> Check:
    consequence = "no node is made, changed or removed on this host; its VMs run on"
    return registry_guard.diagnosis(fault, "VMs and disks", consequence)


def check_accelerator(choice: AcceleratorChoice | None, memory: Path) -> Check:
    subject = "accelerator"
    if choice is None:
        return Check(subject, OK, "not chosen yet", "the first boot tries KVM, up to 8 s")
    if choice.name == command_line.KVM:
        return Check(subject, OK, f"KVM: {choice}")
    fix = "use a host with VT-x or AMD-V (in a VM: nested virtualisation) and a /dev/kvm that works"
    if choice.reason is Reason.NOT_PERMITTED:
        fix = "chgrp kvm /dev/kvm; chmod 660 /dev/kvm (qemu runs without privileges, with that group)"
    elif choice.reason is Reason.DOES_NOT_BOOT:
        fix += f"; if the host was only too busy then: rm {memory}, and the next boot tries again"
    consequence = "nodes work but are slow: 10 to 20 times the CPU time of KVM"
    return Check(subject, WARN, f"TCG (emulation): {choice}", consequence, fix)


def check_ksm(running: int | None, sharing_pages: int | None) -> Check:
    subject, consequence = "memory sharing (KSM)", "nodes with the same image do not share memory: fewer fit"
    if running is None:
        return Check(subject, WARN, "this kernel has no KSM", consequence, "a kernel with CONFIG_KSM")
    if running != 1:
        return Check(subject, WARN, "off", consequence, f"echo 1 > {KSM_RUN}")
    return Check(subject, OK, f"on, {(sharing_pages or 0) * PAGE_BYTES / 2**20:.0f} MiB saved")


def check_memory(available_bytes: int) -> Check:
    found = f"{available_bytes / 2**30:.1f} GiB free"
    if available_bytes >= LOW_MEMORY_BYTES:
        return Check("memory", OK, found)
    return Check("memory", WARN, found, "a new node may push others out of memory", "remove nodes or lower their ram")


def check_disk_tools(missing: set[str]) -> Check:
    subject = "disk templates"
    if not missing:
        return Check(subject, OK, f"{', '.join(sorted(templates.TOOLS))} are installed")
    packages = " ".join(sorted(templates.TOOLS[tool] for tool in missing))
    found = f"{', '.join(sorted(missing))} not installed"
    return Check(subject, FAIL, found, "nodes with such disks cannot boot", f"apt-get install {packages}")


def check_space(free_bytes: int, floor_bytes: int, folder: Path) -> Check:
    subject, found = "space for VMs", f"{free_bytes / 2**30:.1f} GiB free in {folder}"
    if free_bytes >= 2 * floor_bytes:
        return Check(subject, OK, found)
    if free_bytes < floor_bytes:
        return Check(subject, FAIL, found, "nodes that write to their disks are paused", f"free space in {folder}")
    return Check(
        subject,
        WARN,
        found,
        f"nodes that write to their disks are paused below {floor_bytes / 2**30:.1f} GiB",
        f"free space in {folder}",
    )


def check_trash(disks: Sequence[TrashedDisk]) -> Check:
    subject = "trash"
    if not disks:
        return Check(subject, OK, "empty")
    used = (
        f"{len(disks)} {'disk' if len(disks) == 1 else 'disks'}, {sum(one.used_bytes for one in disks) / 2**30:.1f} GiB"
    )
    aging = [one.left_s for one in disks if not one.for_node]
    if aging:
        used += f"; the next is deleted in {min(aging) / 3600:.0f} h (walt trash show)"
    if len(aging) < len(disks):
        used += f"; {len(disks) - len(aging)} kept for a node until its next boot"
    return Check(subject, OK, used)


def read_number(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except OSError:
        return None
