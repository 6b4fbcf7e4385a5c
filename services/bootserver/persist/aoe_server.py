"""`python -m services.bootserver.persist.aoe_server`: the disks of physical machines, as a process of its own.

Separate from bootserver, so that a restart of that service interrupts no machine. This process is the parent of one
vblade for each machine that has a disk: it follows a file that bootserver writes (`export_files.py`), and says in
another what it serves. So bootserver needs no pid of this side, and the two may run in different containers. Parent and
children end together; a machine waits until they are back.

Environment: WALT_STATE_DIR.
"""

from __future__ import annotations

import fcntl
import logging
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import NoReturn

from services.bootserver.persist import disk_exports, export_files
from services.bootserver.persist.disk_exports import DiskExport
from services.kit.environment import environment
from services.kit.log_lines import set_up_logging
from services.kit.say_once import SayOnce
from services.kit.subprocesses import child_environment
from walt.contracts import bootserver
from walt.contracts.errors import WaltError
from walt.contracts.names import WALT_NET

POLL_S = 0.2
PAUSE_S = 2.0  # before a server that has ended is started again
END_LIMIT_S = 5.0

log = logging.getLogger(__name__)


class DiskServers:
    """The vblades. state: STATE_DIR/bootserver."""

    def __init__(self, state: Path) -> None:
        self._state = state
        self._running: dict[DiskExport, subprocess.Popen[bytes]] = {}
        self._ended_at: dict[DiskExport, float] = {}
        self._bridge = 0

    def follow(self) -> None:
        """One turn: start what is missing, end what is not wanted any more, say what is served."""
        wanted = [one for one in export_files.load_exports(self._state).all if one.mac]
        before = set(self._running)
        self._leave_former_bridge()
        for export in [one for one in self._running if one not in wanted]:
            self._end(export)
        for export, server in list(self._running.items()):
            if server.poll() is not None:
                log.warning("the server of %s has ended with status %s", export.file, server.returncode)
                self._ended_at[export] = time.monotonic()
                del self._running[export]
        self._ended_at = {export: at for export, at in self._ended_at.items() if export in wanted}
        for export in wanted:
            if self._bridge and export not in self._running and self._has_paused(export):
                self._try(export)
        if set(self._running) != before:
            export_files.store_served(self._state, self._running)

    def stop(self) -> None:
        for export in list(self._running):
            self._end(export)

    def _leave_former_bridge(self) -> None:
        """A raw socket stays with the interface that it was opened on, also when one of the same name follows."""
        bridge = dict((name, index) for index, name in socket.if_nameindex()).get(WALT_NET, 0)
        if bridge != self._bridge:
            self.stop()
            self._bridge = bridge

    def _has_paused(self, export: DiskExport) -> bool:
        return time.monotonic() - self._ended_at.get(export, -PAUSE_S) >= PAUSE_S

    def _try(self, export: DiskExport) -> None:
        try:
            self._start(export)
        except OSError as error:
            log.warning("%s cannot be served: %s", export.file, error.strerror)
            self._ended_at[export] = time.monotonic()

    def _start(self, export: DiskExport) -> None:
        with (export_files.disks(self._state) / export.file).open("r+b") as file:
            argv = disk_exports.server_argv(export, WALT_NET, file.fileno())
            self._running[export] = subprocess.Popen(
                argv, env=child_environment(), stdin=subprocess.DEVNULL, pass_fds=(file.fileno(),)
            )
        log.info("%s has %s as %s", export.mac, export.file, export.device)

    def _end(self, export: DiskExport) -> None:
        server = self._running.pop(export)
        server.terminate()
        try:
            server.wait(END_LIMIT_S)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def main() -> NoReturn:
    set_up_logging()
    if shutil.which(disk_exports.SERVER) is None:
        raise SystemExit(f"{disk_exports.SERVER} is not installed (Debian: vblade)")
    state = environment().state_dir / bootserver.SERVICE
    state.mkdir(parents=True, exist_ok=True)
    with export_files.lock(state).open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        servers = DiskServers(state)
        for name in (signal.SIGTERM, signal.SIGINT):
            signal.signal(name, _end_process)
        try:
            export_files.store_served(state, ())
            _follow(servers)
        finally:
            servers.stop()


def _follow(servers: DiskServers) -> NoReturn:
    fault = SayOnce(log, "the disks stay as they are: %s", "the disks are as they should be again")
    while True:
        try:
            servers.follow()
            fault.succeeded()
        except (OSError, ValueError, WaltError) as error:
            fault.failed(error)
        time.sleep(POLL_S)


def _end_process(*_: object) -> NoReturn:
    raise SystemExit


if __name__ == "__main__":
    main()
