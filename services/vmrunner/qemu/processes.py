"""qemu as processes of this host: detached, found again by pid file, watched without polling, ended (see vm.Launcher).

A VM's run folder belongs to its own user and holds its pid file and the socket of its monitor.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import shutil
import signal
import stat
import subprocess
from collections.abc import Sequence
from pathlib import Path

from services.kit import subprocesses
from services.vmrunner.qemu import command_line
from services.vmrunner.qemu.open_files import VmFolders
from services.vmrunner.qemu.qmp import Qmp
from services.vmrunner.qemu.vm import ADOPT_LIMIT_S, START_LIMIT_S, KvmRights, PowerOn, Usage, Vm, begin
from walt.contracts.errors import Failed
from walt.contracts.nodes import NodeWanted

CLOCK_TICKS = os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
PID_CHARS = 20
KVM_DEVICE = Path("/dev/kvm")

log = logging.getLogger(__name__)


class ProcessVm(Vm):
    def __init__(self, pid: int, pidfd: int, monitor: Qmp | None) -> None:
        super().__init__(pid, monitor)
        self._pidfd = pidfd

    def usage(self) -> Usage | None:
        if self.ending:
            return None
        try:
            fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return None
        return Usage((int(fields[11]) + int(fields[12])) / CLOCK_TICKS, int(fields[21]) * PAGE_BYTES)

    def set_cpu_weight(self, weight: float) -> None:
        """Of its session too: where the kernel shares the processor among sessions (sched_autogroup), `nice` counts
        within one only."""
        steps = command_line.nice_steps(weight)
        with contextlib.suppress(ProcessLookupError):  # it has just ended
            os.setpriority(os.PRIO_PGRP, self.pid, command_line.BASE_NICE + steps)
        with contextlib.suppress(ProcessLookupError, FileNotFoundError):  # or the kernel has no such groups
            Path(f"/proc/{self.pid}/autogroup").write_text(str(steps))

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._pidfd, number)

    def _until_gone(self) -> None:
        select.select([self._pidfd], [], [])
        os.close(self._pidfd)


class QemuProcesses:
    fix = "apt-get install qemu-system-x86"

    def __init__(self, binary: str, folders: VmFolders) -> None:
        self._binary = binary
        self._folders = folders
        self.trial_uid = folders.uids.trial

    def pid_file(self, node_id: int) -> Path:
        return self._folders.run(node_id) / "pid"

    def reserve(self, node_id: int) -> int:
        self._end_unreachable(node_id)
        return self._folders.renew(node_id)

    def start(self, power_on: PowerOn) -> Vm:
        if shutil.which(self._binary) is None:
            raise Failed(f"{self._binary} is not installed on this host")
        node_id = power_on.spec.id
        with self._folders.opened(power_on) as opened:
            argv = command_line.command(
                self._binary,
                power_on.spec,
                opened.files,
                command_line=power_on.command_line,
                accelerator=power_on.accelerator,
                pid_file=str(self.pid_file(node_id)),
            )
            argv = command_line.as_user(power_on.uid, argv, power_on.kvm_group)
            _launch(argv, opened.standard, opened.files.descriptors())
        try:
            return self._connect(power_on.spec, Qmp(self._folders.monitor(node_id), START_LIMIT_S))
        except (Failed, OSError) as error:
            reason = self._folders.last_error(node_id) or error
            self._end_unreachable(node_id)
            raise Failed(f"qemu does not start: {reason}") from None

    def adopt(self, node_id: int) -> Vm | None:
        found = self._find(node_id)
        if found is None:
            return None
        monitor = None
        try:
            monitor = Qmp(self._folders.monitor(node_id), ADOPT_LIMIT_S)
        except (Failed, OSError) as error:
            log.warning("node %d: qemu runs, but its monitor does not answer: %s", node_id, error)
        return ProcessVm(*found, monitor)

    def forget(self, node_id: int) -> None:
        self._folders.forget(node_id)

    def known(self) -> set[int]:
        return self._folders.known()

    def version(self) -> str:
        return subprocesses.run([self._binary, "--version"], timeout=10).splitlines()[0]

    def kvm_rights(self) -> KvmRights | None:
        try:
            device = KVM_DEVICE.stat()
        except FileNotFoundError:
            return None
        return KvmRights(device.st_mode, device.st_uid, device.st_gid)

    def try_kvm(self, kernel: Path, kvm_group: int | None, limit_s: float) -> None:
        with kernel.open("rb") as file:
            argv = command_line.as_user(
                self.trial_uid, command_line.probe(self._binary, file.fileno()), kvm_group, detached=False
            )
            subprocesses.run(argv, timeout=limit_s, name="qemu", pass_fds=[file.fileno()], cwd="/")

    def _connect(self, spec: NodeWanted, monitor: Qmp) -> Vm:
        found = self._find(spec.id)
        if found is None:
            monitor.close()
            raise Failed("it answers, but its pid file is not there")
        begin(monitor, spec.interfaces)
        return ProcessVm(*found, monitor)

    def _end_unreachable(self, node_id: int) -> None:
        """End what a failed start may have left, and remove its folder."""
        found = self._find(node_id)
        if found is not None:
            vm = ProcessVm(*found, None)
            vm.watch(lambda: None)
            vm.end()
        self.forget(node_id)

    def _find(self, node_id: int) -> tuple[int, int] | None:
        """(pid, pidfd) of this node's qemu. Since its user can write the pid file, the process must also have that
        user and the path of this pid file on its command line."""
        try:
            pid = _read_pid(self.pid_file(node_id))
            pidfd = os.pidfd_open(pid)
        except (OSError, ValueError):
            return None
        with contextlib.suppress(OSError):
            argv = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            is_ours = os.stat(f"/proc/{pid}").st_uid == self._folders.uid(node_id)
            if is_ours and os.fsencode(self.pid_file(node_id)) in argv:
                return pid, pidfd
        os.close(pidfd)
        return None


def _read_pid(path: Path) -> int:
    """Of a file, and nothing else that its user may have put there: a link to what never ends, a pipe that waits."""
    file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        return int(os.read(file, PID_CHARS)) if stat.S_ISREG(os.fstat(file).st_mode) else 0
    finally:
        os.close(file)


def _launch(argv: Sequence[str], standard: tuple[int, int, int], files: Sequence[int]) -> None:
    stdin, stdout, stderr = standard
    try:
        done = subprocess.run(
            argv,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            pass_fds=files,
            cwd="/",
            timeout=START_LIMIT_S,
            check=False,
            env=subprocesses.child_environment(),
        )
    except subprocess.TimeoutExpired:
        raise Failed(f"qemu does not start: {argv[0]}: no end after {START_LIMIT_S:g} s") from None
    if done.returncode:
        raise Failed(f"{argv[0]}: status {done.returncode}")
