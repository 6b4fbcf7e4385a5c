"""Opens what a VM needs of its host, and keeps its run folder: RUN_DIR/NODE_ID, with the socket of its monitor.

The folder belongs to the VM's own user, and stays until its next start or the end of the node: it is the record of who
has which user. The stderr of qemu is a file in memory that takes no more than STDERR_BYTES: a guest can have qemu
complain for ever.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from services.kit.files import remove_tree
from services.vmrunner.qemu import console_writer, taps
from services.vmrunner.qemu.command_line import QemuFiles
from services.vmrunner.qemu.vm import PowerOn
from services.vmrunner.uids import UidRange

STDERR_BYTES = 2**16
_FIXED_SIZE = fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK


@dataclass(frozen=True)
class OpenFiles:
    """standard: qemu's stdin, stdout and stderr."""

    standard: tuple[int, int, int]
    files: QemuFiles


class VmFolders:
    """The files of the VMs of this host, by node id."""

    def __init__(self, run_folder: Path, uids: UidRange) -> None:
        self.uids = uids
        self._run_folder = run_folder
        self._stderr: dict[int, int] = {}  # descriptors
        self._turn = threading.Lock()

    def run(self, node_id: int) -> Path:
        return self._run_folder / str(node_id)

    def monitor(self, node_id: int) -> Path:
        return self.run(node_id) / "qmp.sock"

    def uid(self, node_id: int) -> int | None:
        """The user who runs the VM of this node, or ran its last; None when it has no run folder."""
        try:
            return self.run(node_id).stat().st_uid
        except FileNotFoundError:
            return None

    def renew(self, node_id: int) -> int:
        """Make an empty run folder for a start of this VM, while it does not run. The result is its user."""
        with self._turn:
            taken = {self.uid(other) for other in self.known() - {node_id}}
            uid = self.uids.choose(node_id, self.uid(node_id), {one for one in taken if one is not None})
            self.forget(node_id)
            self.run(node_id).mkdir(parents=True)
            self.run(node_id).chmod(0o700)
            os.chown(self.run(node_id), uid, uid)
        return uid

    def forget(self, node_id: int) -> None:
        remove_tree(self.run(node_id))  # whatever its user has put there
        if node_id in self._stderr:
            os.close(self._stderr.pop(node_id))

    def known(self) -> set[int]:
        with contextlib.suppress(FileNotFoundError):
            return {int(folder.name) for folder in self._run_folder.iterdir() if folder.name.isdigit()}
        return set()

    @contextlib.contextmanager
    def opened(self, power_on: PowerOn) -> Iterator[OpenFiles]:
        """They are closed at the end: qemu has its own by then."""
        with contextlib.ExitStack() as stack:

            def keep(descriptor: int) -> int:
                stack.callback(os.close, descriptor)
                return descriptor

            standard = (
                keep(console_writer.open_input(power_on.line)),
                keep(console_writer.open_log(power_on.line)),
                self._new_stderr(power_on.spec.id),
            )
            files = QemuFiles(
                kernel=keep(os.open(power_on.kernel, os.O_RDONLY)),
                initrd=keep(os.open(power_on.initrd, os.O_RDONLY)) if power_on.initrd else None,
                monitor=stack.enter_context(_listen(self.monitor(power_on.spec.id))).fileno(),
                taps={slot: keep(taps.open_tap(name)) for slot, name in power_on.taps.items()},
                disks=tuple(keep(os.open(path, os.O_RDWR)) for path in power_on.disks),
                persist=keep(os.open(power_on.persist, os.O_RDWR)) if power_on.persist else None,
                root=keep(os.open(power_on.root, os.O_RDONLY)) if power_on.root else None,
            )
            yield OpenFiles(standard, files)

    def last_error(self, node_id: int) -> str:
        """The last line of the stderr of a qemu that did not start, "" if there is none. It comes just before its
        sockets close."""
        for _ in range(3):
            stderr = os.pread(self._stderr[node_id], STDERR_BYTES, 0).rstrip(b"\0") if node_id in self._stderr else b""
            lines = stderr.decode(errors="replace").strip().splitlines()
            if lines:
                return str(lines[-1][-500:])
            time.sleep(0.05)
        return ""

    def _new_stderr(self, node_id: int) -> int:
        file = os.memfd_create("qemu-stderr", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        os.ftruncate(file, STDERR_BYTES)
        fcntl.fcntl(file, fcntl.F_ADD_SEALS, _FIXED_SIZE)
        former = self._stderr.get(node_id)
        self._stderr[node_id] = file
        if former is not None:
            os.close(former)
        return file


def _listen(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX)
    try:
        listener.bind(str(path))
        path.chmod(0o600)
        listener.listen(1)
    except BaseException:
        listener.close()
        raise
    return listener
