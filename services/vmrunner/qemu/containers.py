"""qemu in containers, one per VM: for a vmrunner that is itself in a container (see vm.Launcher).

Another process has the Docker socket and says what a container may do (`launcher/docker_vms.py`); what qemu needs is
opened here and handed to it. The engine removes the container at its end; how qemu ended is known from its monitor.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from services.kit.say_once import SayOnce
from services.vmrunner.launcher.client import FileHandover, LauncherRefused, VmLauncher
from services.vmrunner.launcher.protocol import CPU_SHARES, FIRST_FILE, MIN_CPU_SHARES, StartTrial, StartVm
from services.vmrunner.qemu import command_line
from services.vmrunner.qemu.open_files import VmFolders
from services.vmrunner.qemu.qmp import Qmp
from services.vmrunner.qemu.vm import ADOPT_LIMIT_S, START_LIMIT_S, KvmRights, PowerOn, Usage, Vm, begin
from walt.contracts.errors import Failed

KVM_DEVICE = "/dev/kvm"
RETRY_S = 1.0
OUTPUT_BYTES = 2**20  # of a program in a trial

log = logging.getLogger(__name__)


class ContainerVm(Vm):
    def __init__(self, launcher: VmLauncher, node_id: int, pid: int, monitor: Qmp | None) -> None:
        super().__init__(pid, monitor)
        self._launcher = launcher
        self._node_id = node_id

    def usage(self) -> Usage | None:
        if self.ending:
            return None
        with contextlib.suppress(Failed):
            found = self._launcher.usage(self._node_id)
            return None if found is None else Usage(*found)
        return None

    def set_cpu_weight(self, weight: float) -> None:
        self._launcher.weigh_vm(self._node_id, max(MIN_CPU_SHARES, round(CPU_SHARES * weight)))

    def _signal(self, number: signal.Signals) -> None:
        self._launcher.signal_vm(self._node_id, int(number))

    def _until_gone(self) -> None:
        fault = SayOnce(log, f"waiting for the end of the VM of node {self._node_id}: %s", "the launcher answers again")
        while True:
            try:
                if self._launcher.wait_vm(self._node_id):
                    return
                fault.succeeded()
            except Failed as error:
                fault.failed(error)
                time.sleep(RETRY_S)


class QemuContainers:
    fix = "docker compose build; look at the log of the launcher, which needs the Docker Engine's socket"

    def __init__(self, binary: str, folders: VmFolders, launcher: VmLauncher) -> None:
        self._binary = binary
        self._folders = folders
        self._launcher = launcher
        self.trial_uid = folders.uids.trial
        self._image = ""  # of which the next two are known
        self._version = ""
        self._rights: KvmRights | None = None
        self._turn = threading.Lock()
        self._trial_turn = threading.Lock()

    def reserve(self, node_id: int) -> int:
        self._launcher.remove_vm(node_id)  # what a failed start may have left
        return self._folders.renew(node_id)

    def start(self, power_on: PowerOn) -> Vm:
        spec = power_on.spec
        with self._folders.opened(power_on) as opened, FileHandover(START_LIMIT_S) as handover:
            argv = command_line.command(
                self._binary,
                spec,
                opened.files.numbered_from(FIRST_FILE),
                command_line=power_on.command_line,
                accelerator=power_on.accelerator,
            )
            request = StartVm(
                node_id=spec.id,
                run=power_on.run,
                uid=power_on.uid,
                ram_bytes=spec.ram_bytes,
                cpu_cores=spec.cpu_cores,
                socket=handover.name,
                has_kvm=power_on.accelerator == command_line.KVM,
                kvm_group=power_on.kvm_group,
            )
            pid = self._launcher.start_vm(request)
            try:
                handover.send(power_on.uid, argv, [*opened.standard, *opened.files.descriptors()])
            except BaseException:
                self._launcher.remove_vm(spec.id)
                raise
        try:
            monitor = Qmp(self._folders.monitor(spec.id), START_LIMIT_S)
            begin(monitor, spec.interfaces)
            return ContainerVm(self._launcher, spec.id, pid, monitor)
        except (Failed, OSError) as error:
            reason = self._folders.last_error(spec.id) or error
            self.forget(spec.id)
            raise Failed(f"qemu does not start: {reason}") from None

    def adopt(self, node_id: int) -> Vm | None:
        pid = self._launcher.find_vm(node_id)
        if pid is None:
            return None
        monitor = None
        try:
            monitor = Qmp(self._folders.monitor(node_id), ADOPT_LIMIT_S)
        except (Failed, OSError) as error:
            log.warning("node %d: its container runs, but its monitor does not answer: %s", node_id, error)
        return ContainerVm(self._launcher, node_id, pid, monitor)

    def forget(self, node_id: int) -> None:
        self._launcher.remove_vm(node_id)
        self._folders.forget(node_id)

    def known(self) -> set[int]:
        return {*self._folders.known(), *self._launcher.list_vms()}

    def version(self) -> str:
        self._inspect_image()
        return self._version

    def kvm_rights(self) -> KvmRights | None:
        self._inspect_image()
        return self._rights

    def try_kvm(self, kernel: Path, kvm_group: int | None, limit_s: float) -> None:
        with kernel.open("rb") as file:
            argv = command_line.probe(self._binary, FIRST_FILE)
            self._perform(argv, [file.fileno()], limit_s, has_kvm=True, kvm_group=kvm_group)

    def _perform(
        self,
        argv: Sequence[str],
        files: Sequence[int] = (),
        limit_s: float = 10,
        has_kvm: bool = False,
        kvm_group: int | None = None,
    ) -> str:
        """The output of a program that runs in such a container to its end; Failed as `kit.subprocesses.run`. One at a
        time."""
        with self._trial_turn, contextlib.ExitStack() as stack:
            reader, writer = os.pipe()
            output = stack.enter_context(open(reader, "rb"))
            with open(writer, "wb"), open(os.devnull, "rb") as nothing, FileHandover(START_LIMIT_S) as handover:
                self._launcher.start_trial(StartTrial(self.trial_uid, handover.name, has_kvm, kvm_group))
                stack.callback(self._launcher.remove_trial)
                handover.send(self.trial_uid, argv, [nothing.fileno(), writer, writer, *files])
            status = self._launcher.wait_trial(limit_s)
            if status is None:
                raise Failed(f"{argv[0]}: no end after {limit_s:g} s")
            self._launcher.remove_trial()  # and with it the last writer
            text = output.read(OUTPUT_BYTES).decode(errors="replace")
        if status:
            raise Failed(f"{argv[0]}: status {status}: {text.strip()[-2000:]}")
        return text

    def _inspect_image(self) -> None:
        """Once per image, since it takes two containers."""
        with self._turn:
            image = self._launcher.image_id()
            if self._image != image:
                self._version = self._perform([self._binary, "--version"]).splitlines()[0]
                self._rights = self._read_kvm_rights()
                self._image = image

    def _read_kvm_rights(self) -> KvmRights | None:
        """The engine refuses to start a container with a device that its host lacks. It has just started one
        without."""
        try:
            output = self._perform(["stat", "--format=%f %u %g", KVM_DEVICE], has_kvm=True)
        except LauncherRefused as error:
            log.info("VMs have no %s: %s", KVM_DEVICE, error)
            return None
        mode, uid, gid = output.split()
        return KvmRights(int(mode, 16), int(uid), int(gid))
