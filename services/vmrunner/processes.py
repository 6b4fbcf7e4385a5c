"""qemu processes: started as children of nobody, found again by pid file, watched, ended. Not one is waited for by polling.

A machine's run folder (RUN_DIR/ID) belongs to qemu's user and holds its pid file and the socket of its monitor;
what qemu said on stderr is in `qemu.log` of its state folder.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from services.contracts.errors import Failed
from services.vmrunner import lifecycle, qemu
from services.vmrunner.qmp import Qmp, QmpClosed

START_LIMIT_S = 15.0
ADOPT_LIMIT_S = 3.0
END_STEP_S = 3.0
CLOCK_TICKS = os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Usage:
    cpu_seconds: float
    memory_bytes: int


class Vm:
    """A running qemu. `ended` tells how it ended, '' as long as it runs."""

    def __init__(self, pid: int, pidfd: int, monitor: Qmp | None) -> None:
        self.pid = pid
        self.ended = ""
        self._pidfd = pidfd
        self._monitor = monitor
        self._gone = threading.Event()

    def watch(self, on_end: Callable[[], None]) -> None:
        """Call `on_end` once, when the process is gone."""
        threading.Thread(target=self._watch, args=(on_end,), daemon=True).start()

    def wait(self, limit_s: float) -> bool:
        """Whether it has ended within that time."""
        return self._gone.wait(limit_s)

    def end(self) -> None:
        """Ask, then tell, then force it; Failed if it is still there after that."""
        if self._monitor is not None:
            with contextlib.suppress(QmpClosed):
                self._monitor.send("quit")
            if self.wait(END_STEP_S):
                return
        for number in (signal.SIGTERM, signal.SIGKILL):
            if not self.ended:
                with contextlib.suppress(ProcessLookupError):
                    signal.pidfd_send_signal(self._pidfd, number)
            if self.wait(END_STEP_S):
                return
        raise Failed(f"qemu, process {self.pid}, does not end")

    def usage(self) -> Usage | None:
        """None once it is gone."""
        if self.ended:
            return None
        try:
            fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return None
        return Usage((int(fields[11]) + int(fields[12])) / CLOCK_TICKS, int(fields[21]) * PAGE_BYTES)

    def _watch(self, on_end: Callable[[], None]) -> None:
        reason = lifecycle.ENDED_UNSEEN
        if self._monitor is not None:
            reason = lifecycle.ending(_shutdown_reason(self._monitor))
        select.select([self._pidfd], [], [])
        os.close(self._pidfd)
        self.ended = reason
        self._gone.set()
        on_end()


def _shutdown_reason(monitor: Qmp) -> str | None:
    """Reads events until qemu closes the connection."""
    reason = None
    with contextlib.suppress(QmpClosed), contextlib.closing(monitor):
        while True:
            event = monitor.next_event()
            if event["event"] == "SHUTDOWN":
                reason = str(event["data"]["reason"])
    return reason


class Processes:
    """The qemu processes of this host, by node id."""

    def __init__(self, run_folder: Path, state_folder: Path, uid: int) -> None:
        self._run_folder = run_folder
        self._state_folder = state_folder
        self._uid = uid

    def pid_file(self, node_id: int) -> Path:
        return self._run_folder / str(node_id) / "pid"

    def start(
        self,
        node_id: int,
        command: Callable[[int], Sequence[str]],
        *,
        stdin: int,
        stdout: int,
        files: Sequence[int],
        groups: str,
    ) -> Vm:
        """command: from the descriptor of the monitor's listening socket to qemu's argv; files: kept open for it."""
        folder = self._fresh_folder(node_id)
        said = self._state_folder / str(node_id) / "qemu.log"
        said.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.ExitStack() as stack:
            listener = stack.enter_context(socket.socket(socket.AF_UNIX))
            listener.bind(str(folder / "qmp.sock"))
            (folder / "qmp.sock").chmod(0o600)
            listener.listen(1)
            stderr = stack.enter_context(said.open("wb")).fileno()
            argv = qemu.as_user(self._uid, list(command(listener.fileno())), groups)
            _launch(argv, (stdin, stdout, stderr), [*files, listener.fileno()])
        try:
            return self._connect(node_id, Qmp(folder / "qmp.sock", START_LIMIT_S))
        except (Failed, OSError) as error:
            self._end_unreachable(node_id)
            raise Failed(f"qemu does not start: {_tail(said) or error}") from None

    def adopt(self, node_id: int) -> Vm | None:
        """The qemu of this node that another process had started; None when there is none."""
        found = self._find(node_id)
        if found is None:
            return None
        monitor = None
        try:
            monitor = Qmp(self._run_folder / str(node_id) / "qmp.sock", ADOPT_LIMIT_S)
        except (Failed, OSError) as error:
            log.warning("node %d: qemu runs, but its monitor does not answer: %s", node_id, error)
        return Vm(*found, monitor)

    def forget(self, node_id: int) -> None:
        shutil.rmtree(self._run_folder / str(node_id), ignore_errors=True)

    def known(self) -> set[int]:
        with contextlib.suppress(FileNotFoundError):
            return {int(folder.name) for folder in self._run_folder.iterdir() if folder.name.isdigit()}
        return set()

    def _fresh_folder(self, node_id: int) -> Path:
        self._end_unreachable(node_id)
        folder = self._run_folder / str(node_id)
        folder.mkdir(parents=True)
        folder.chmod(0o700)
        os.chown(folder, self._uid, self._uid)
        return folder

    def _connect(self, node_id: int, monitor: Qmp) -> Vm:
        found = self._find(node_id)
        if found is None:
            monitor.close()
            raise Failed("it answers, but its pid file is not there")
        return Vm(*found, monitor)

    def _end_unreachable(self, node_id: int) -> None:
        """End what a start that went wrong may have left, and its folder."""
        found = self._find(node_id)
        if found is not None:
            vm = Vm(*found, None)
            vm.watch(lambda: None)
            vm.end()
        self.forget(node_id)

    def _find(self, node_id: int) -> tuple[int, int] | None:
        """(pid, pidfd) of this node's qemu. qemu's user can write its pid file, so the process itself is asked
        who it is: its user, and the path of that very file on its command line."""
        try:
            pid = int(self.pid_file(node_id).read_text())
            pidfd = os.pidfd_open(pid)
        except (OSError, ValueError):
            return None
        with contextlib.suppress(OSError):
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            is_ours = os.stat(f"/proc/{pid}").st_uid == self._uid
            if is_ours and os.fsencode(self.pid_file(node_id)) in words:
                return pid, pidfd
        os.close(pidfd)
        return None


def _launch(argv: Sequence[str], standard: tuple[int, int, int], files: Sequence[int]) -> None:
    stdin, stdout, stderr = standard
    done = subprocess.run(
        argv,
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        pass_fds=files,
        cwd="/",
        timeout=START_LIMIT_S,
        check=False,
    )
    if done.returncode:
        raise Failed(f"{argv[0]}: status {done.returncode}")


def _tail(path: Path) -> str:
    """The last words of a qemu that did not start. It writes them just before its sockets close."""
    for _ in range(3):
        lines = path.read_text(errors="replace").strip().splitlines()
        if lines:
            return lines[-1][-500:]
        time.sleep(0.05)
    return ""
