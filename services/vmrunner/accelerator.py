"""KVM or TCG: found out by booting a kernel, not by asking, and remembered for this kernel and this qemu.

A /dev/kvm that opens proves nothing: there are some under which a stock Linux kernel never gets anywhere.
"""

from __future__ import annotations

import json
import logging
import os
import stat
import threading
from dataclasses import asdict, dataclass
from pathlib import Path

from services.contracts.errors import Failed
from services.kit import commands
from services.kit.files import write_atomically
from services.vmrunner import qemu

KVM_DEVICE = Path("/dev/kvm")
PROBE_LIMIT_S = 8.0
AUTO = "auto"
CHOICES = (AUTO, qemu.TCG, qemu.KVM)

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Choice:
    name: str
    why: str


class Accelerator:
    """asked: WALT_ACCEL; a choice by probing is made once, with the first kernel that is booted."""

    def __init__(self, asked: str, binary: str, uid: int, memory: Path) -> None:
        self._asked = asked
        self._binary = binary
        self._uid = uid
        self._memory = memory
        self._turn = threading.Lock()

    def known(self) -> Choice | None:
        """Without probing; None when only a boot could tell."""
        if self._asked != AUTO:
            return Choice(self._asked, f"WALT_ACCEL={self._asked}")
        if not KVM_DEVICE.exists():
            return Choice(qemu.TCG, f"there is no {KVM_DEVICE}")
        try:
            remembered = json.loads(self._memory.read_text())
            if remembered["key"] == self._key():
                return Choice(remembered["name"], remembered["why"])
        except (OSError, ValueError, KeyError):
            pass
        return None

    def choose(self, kernel: Path) -> Choice:
        """Many machines starting at once wait for one probe."""
        with self._turn:
            choice = self.known()
            if choice is None:
                choice = self._probe(kernel)
                log.info("accelerator: %s (%s)", choice.name, choice.why)
                write_atomically(self._memory, json.dumps({"key": self._key(), **asdict(choice)}))
            return choice

    def groups(self, choice: Choice) -> str:
        """setpriv's option: the group of /dev/kvm where that is what opens it, and no other."""
        if choice.name == qemu.KVM:
            device = KVM_DEVICE.stat()
            if device.st_gid and device.st_mode & stat.S_IRGRP and device.st_mode & stat.S_IWGRP:
                return f"--groups={device.st_gid}"
        return "--clear-groups"

    def _probe(self, kernel: Path) -> Choice:
        """A kernel without a root panics, and with panic=-1 resets at once: then, and only then, qemu ends well."""
        kvm = Choice(qemu.KVM, f"a kernel boots under {KVM_DEVICE}")
        descriptor = os.open(kernel, os.O_RDONLY)
        try:
            argv = qemu.as_user(self._uid, qemu.probe(self._binary, descriptor), self.groups(kvm), detached=False)
            commands.run(argv, timeout=PROBE_LIMIT_S, pass_fds=[descriptor], cwd="/")
        except Failed as error:
            log.info("KVM probe: %s", error)
            end = f"{KVM_DEVICE} is there, but a kernel does not boot under it"
            return Choice(qemu.TCG, f"{end} ({str(error).rpartition(': ')[2][-120:]})")
        finally:
            os.close(descriptor)
        return kvm

    def _key(self) -> str:
        device = KVM_DEVICE.stat()
        rights = f"{stat.S_IMODE(device.st_mode):o} {device.st_uid}:{device.st_gid}"
        return f"{os.uname().release}; {version(self._binary)}; uid {self._uid}; {KVM_DEVICE} {rights}"


def version(binary: str) -> str:
    """'QEMU emulator version 7.2.22 (…)'; Failed when it is not installed."""
    return commands.run([binary, "--version"], timeout=10).splitlines()[0]
