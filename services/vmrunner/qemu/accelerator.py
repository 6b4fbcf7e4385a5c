"""KVM or TCG: found out by booting a kernel, and remembered for the host's kernel and this qemu.

A /dev/kvm that opens proves nothing: under some of them a stock Linux kernel hangs. Success with one kernel is valid
for all; failure is remembered per kernel, since a user's own kernel may be broken.
"""

from __future__ import annotations

import contextlib
import enum
import json
import logging
import os
import stat
import threading
from dataclasses import dataclass
from pathlib import Path

from services.kit.files import write_atomically
from services.vmrunner.qemu import command_line
from services.vmrunner.qemu.vm import KvmRights, Launcher
from walt.contracts.errors import Failed

KVM_DEVICE = "/dev/kvm"
PROBE_LIMIT_S = 8.0
DETAIL_CHARS = 120
AUTO = "auto"
ALLOWED = (AUTO, command_line.TCG, command_line.KVM)


class Reason(enum.Enum):
    """Why an accelerator was chosen; the value is how `walt doctor` shows it."""

    CONFIGURED = "set by WALT_ACCEL"
    NO_DEVICE = f"there is no {KVM_DEVICE}"
    NOT_PERMITTED = f"qemu may not open {KVM_DEVICE}"
    BOOTS = f"a kernel boots under {KVM_DEVICE}"
    DOES_NOT_BOOT = f"{KVM_DEVICE} is there, but a kernel does not boot under it"


log = logging.getLogger(__name__)


@dataclass(frozen=True)
class AcceleratorChoice:
    """name: KVM or TCG; detail: the end of the probe's output, if it failed."""

    name: str
    reason: Reason
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.reason.value} ({self.detail})" if self.detail else self.reason.value


class Accelerator:
    """configured: WALT_ACCEL. A choice by probing is made once: KVM for all kernels, TCG for each."""

    def __init__(self, configured: str, launcher: Launcher, memory: Path) -> None:
        self._configured = configured
        self._launcher = launcher
        self.memory = memory
        self._turn = threading.Lock()

    def known(self, kernel: Path | None = None) -> AcceleratorChoice | None:
        """Without probing, for this kernel, or for what was probed last; None when only a boot could tell."""
        if self._configured != AUTO:
            return AcceleratorChoice(self._configured, Reason.CONFIGURED)
        rights = self._launcher.kvm_rights()
        if rights is None:
            return AcceleratorChoice(command_line.TCG, Reason.NO_DEVICE)
        choice, probed = self._remembered(rights)
        if choice is None or choice.name == command_line.KVM or kernel is None or kernel.name in probed:
            return choice
        return None

    def choose(self, kernel: Path) -> AcceleratorChoice:
        """Many VMs that start at once wait for one probe."""
        with self._turn:
            choice = self.known(kernel)
            if choice is None:
                choice = self._probe(kernel)
                log.info("accelerator: %s: %s", choice.name, choice)
                self._remember(choice, kernel)
            return choice

    def group(self, choice: AcceleratorChoice) -> int | None:
        """The group of /dev/kvm, if that is what opens it."""
        rights = self._launcher.kvm_rights() if choice.name == command_line.KVM else None
        return _opening_group(rights) if rights else None

    def _probe(self, kernel: Path) -> AcceleratorChoice:
        """A kernel without a root file system panics, and with panic=-1 resets at once: then, and only then, qemu
        succeeds."""
        kvm = AcceleratorChoice(command_line.KVM, Reason.BOOTS)
        try:
            self._launcher.try_kvm(kernel, self.group(kvm), PROBE_LIMIT_S)
        except Failed as error:
            log.info("KVM probe: %s", error)
            rights = self._launcher.kvm_rights()
            is_permitted = rights is not None and _may_open(rights, self._launcher.trial_uid)
            reason = Reason.DOES_NOT_BOOT if is_permitted else Reason.NOT_PERMITTED
            return AcceleratorChoice(command_line.TCG, reason, str(error)[-DETAIL_CHARS:])
        return kvm

    def _remember(self, choice: AcceleratorChoice, kernel: Path) -> None:
        rights = self._launcher.kvm_rights()
        _, probed = self._remembered(rights)
        content = {
            "key": self._key(rights),
            "name": choice.name,
            "reason": choice.reason.name,
            "detail": choice.detail,
            "probed": [*probed, kernel.name],
        }
        write_atomically(self.memory, json.dumps(content))

    def _remembered(self, rights: KvmRights | None) -> tuple[AcceleratorChoice | None, list[str]]:
        """The last choice, and the kernels (files that are named by their content) that were probed."""
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            content = json.loads(self.memory.read_text())
            if content["key"] == self._key(rights):
                choice = AcceleratorChoice(content["name"], Reason[content["reason"]], content["detail"])
                return choice, content["probed"]
        return None, []

    def _key(self, rights: KvmRights | None) -> str:
        owner = f"{stat.S_IMODE(rights.mode):o} {rights.uid}:{rights.gid}" if rights else "gone"
        return f"{os.uname().release}; {self._launcher.version()}; {KVM_DEVICE} {owner}"


def _opening_group(rights: KvmRights) -> int | None:
    opens = rights.gid and rights.mode & stat.S_IRGRP and rights.mode & stat.S_IWGRP
    return rights.gid if opens else None


def _may_open(rights: KvmRights, uid: int) -> bool:
    others = stat.S_IROTH | stat.S_IWOTH
    return uid == rights.uid or _opening_group(rights) is not None or rights.mode & others == others
