"""KVM or TCG: found out by booting a kernel, not by asking, and remembered for the host's kernel and this qemu.

A /dev/kvm that opens proves nothing: there are some under which a stock Linux kernel never gets anywhere. But one kernel
that boots proves it for all, and one that does not proves nothing for another: it may be a user's own, and at fault itself.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import stat
import threading
from dataclasses import asdict, dataclass
from pathlib import Path

from services.contracts.errors import Failed
from services.kit.files import write_atomically
from services.vmrunner import qemu
from services.vmrunner.vm import KvmRights, Launcher

KVM_DEVICE = "/dev/kvm"
PROBE_LIMIT_S = 8.0
AUTO = "auto"
CHOICES = (AUTO, qemu.TCG, qemu.KVM)

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Choice:
    name: str
    why: str


class Accelerator:
    """asked: WALT_ACCEL; a choice by probing is made once: KVM for all kernels, TCG for each by itself."""

    def __init__(self, asked: str, launcher: Launcher, memory: Path) -> None:
        self._asked = asked
        self._launcher = launcher
        self.memory = memory
        self._turn = threading.Lock()

    def known(self, kernel: Path | None = None) -> Choice | None:
        """Without probing, for this kernel, or for what was tried last; None when only a boot could tell."""
        if self._asked != AUTO:
            return Choice(self._asked, f"WALT_ACCEL={self._asked}")
        rights = self._launcher.kvm_rights()
        if rights is None:
            return Choice(qemu.TCG, f"there is no {KVM_DEVICE}")
        choice, tried = self._remembered(rights)
        if choice is None or choice.name == qemu.KVM or kernel is None or kernel.name in tried:
            return choice
        return None

    def choose(self, kernel: Path) -> Choice:
        """Many machines starting at once wait for one probe."""
        with self._turn:
            choice = self.known(kernel)
            if choice is None:
                choice = self._probe(kernel)
                log.info("accelerator: %s (%s)", choice.name, choice.why)
                self._remember(choice, kernel)
            return choice

    def group(self, choice: Choice) -> int | None:
        """The group of /dev/kvm where that is what opens it."""
        rights = self._launcher.kvm_rights() if choice.name == qemu.KVM else None
        if rights and rights.gid and rights.mode & stat.S_IRGRP and rights.mode & stat.S_IWGRP:
            return rights.gid
        return None

    def _probe(self, kernel: Path) -> Choice:
        """A kernel without a root panics, and with panic=-1 resets at once: then, and only then, qemu ends well."""
        kvm = Choice(qemu.KVM, f"a kernel boots under {KVM_DEVICE}")
        try:
            self._launcher.try_kvm(kernel, self.group(kvm), PROBE_LIMIT_S)
        except Failed as error:
            log.info("KVM probe: %s", error)
            end = f"{KVM_DEVICE} is there, but a kernel does not boot under it"
            return Choice(qemu.TCG, f"{end} ({str(error).rpartition(': ')[2][-120:]})")
        return kvm

    def _remember(self, choice: Choice, kernel: Path) -> None:
        rights = self._launcher.kvm_rights()
        _, tried = self._remembered(rights)
        content = {"key": self._key(rights), **asdict(choice), "tried": [*tried, kernel.name]}
        write_atomically(self.memory, json.dumps(content))

    def _remembered(self, rights: KvmRights | None) -> tuple[Choice | None, list[str]]:
        """The last choice, and the kernels (files that are named by their content) that were tried."""
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            remembered = json.loads(self.memory.read_text())
            if remembered["key"] == self._key(rights):
                return Choice(remembered["name"], remembered["why"]), remembered["tried"]
        return None, []

    def _key(self, rights: KvmRights | None) -> str:
        who = f"{stat.S_IMODE(rights.mode):o} {rights.uid}:{rights.gid}" if rights else "gone"
        return f"{os.uname().release}; {self._launcher.version()}; {KVM_DEVICE} {who}"
