"""Machines that are none (WALT_VM_LAUNCHER=stub): they need no memory and no processor, so that one computer can play a
hundred hosts (see vm.Launcher).

Such a machine is up at once: it writes READY on its line, echoes what it is told, and ends at `reboot` and `poweroff`.
It has no network. Its record is a file in its run folder, by which the next vmrunner finds it.
"""

from __future__ import annotations

import json
import os
import select
import signal
from dataclasses import asdict
from pathlib import Path

from services.kit.files import write_atomically
from services.vmrunner.qemu import console_writer, endings
from services.vmrunner.qemu.endings import Ending
from services.vmrunner.qemu.open_files import VmFolders
from services.vmrunner.qemu.vm import END_STEP_S, KvmRights, PowerOn, Usage, Vm
from walt.contracts.console import LinePaths
from walt.contracts.errors import Failed

READ_BYTES = 4096
ENDS = {b"reboot": endings.GUEST_REBOOTED, b"poweroff": endings.GUEST_POWERED_OFF}


class StubVm(Vm):
    """pid: 0, as there is no process. How it is ended counts only while it is watched."""

    def __init__(self, record: Path, line: LinePaths) -> None:
        super().__init__(0, None)
        self._record, self._line = record, line
        self._found: Ending | None = None
        self._input = console_writer.open_input(line)
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)

    def usage(self) -> Usage | None:
        return None if self.ending else Usage(0.0, 0)

    def set_cpu_weight(self, weight: float) -> None:
        pass

    def end(self) -> None:
        self._end(endings.QEMU_QUIT)

    def _signal(self, number: signal.Signals) -> None:
        self._end(endings.CRASHED if number == signal.SIGKILL else endings.ending("host-signal"))

    def _end(self, found: Ending) -> None:
        if self.ending is None:
            self._found = found
            os.eventfd_write(self._wake, 1)
            self.wait(END_STEP_S)

    def _until_gone(self) -> None:
        rest = b""
        while self._found is None:
            if self._input in select.select([self._input, self._wake], [], [])[0]:
                *lines, rest = (rest + os.read(self._input, READ_BYTES)).split(b"\n")
                for line in lines:
                    self._obey(line.strip(b"\r"))
        os.close(self._input)
        os.close(self._wake)
        self._record.unlink(missing_ok=True)

    def _watch(self) -> None:
        self._until_gone()
        self.ending = self._found
        self._gone.set()
        self._on_change()

    def _obey(self, word: bytes) -> None:
        if self._found is None and word in ENDS:
            self._found = ENDS[word]
        else:
            write_line(self._line, b"GOT " + word)


class StubMachines:
    fix = "WALT_VM_LAUNCHER=process"

    def __init__(self, folders: VmFolders) -> None:
        self._folders = folders
        self.trial_uid = folders.uids.trial

    def reserve(self, node_id: int) -> int:
        return self._folders.renew(node_id)

    def start(self, power_on: PowerOn) -> Vm:
        record = self._record(power_on.spec.id)
        write_atomically(record, json.dumps(asdict(power_on.line)))
        write_line(power_on.line, b"READY")
        return StubVm(record, power_on.line)

    def adopt(self, node_id: int) -> Vm | None:
        try:
            line = LinePaths(**json.loads(self._record(node_id).read_text()))
        except FileNotFoundError:
            return None
        return StubVm(self._record(node_id), line)

    def forget(self, node_id: int) -> None:
        self._folders.forget(node_id)

    def known(self) -> set[int]:
        return self._folders.known()

    def version(self) -> str:
        return "no qemu: machines of this host are stubs, which run nothing"

    def kvm_rights(self) -> KvmRights | None:
        return None

    def try_kvm(self, kernel: Path, kvm_group: int | None, limit_s: float) -> None:
        raise Failed("stubs boot no kernel")

    def _record(self, node_id: int) -> Path:
        return self._folders.run(node_id) / "stub.json"


def write_line(line: LinePaths, text: bytes) -> None:
    with open(console_writer.open_log(line), "ab") as log:
        log.write(text + b"\r\n")
