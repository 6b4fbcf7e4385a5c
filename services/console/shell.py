"""One shell or command on a node: ssh in a child process, under a pseudo-terminal or with pipes.

The child ends with its session, and with this process however that ends (PR_SET_PDEATHSIG).
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import signal
import struct
import tempfile
import termios
from collections.abc import Sequence
from pathlib import Path

import eventlet
from eventlet import hubs
from eventlet.green import os as green_os
from eventlet.green import subprocess

from services.console import metrics, terminal
from services.console.courier import Input, Outbox
from services.console.terminal import Size, Terminal
from services.contracts import console
from services.contracts.bootserver import NodeAccess
from services.contracts.errors import Failed
from services.kit.files import write_atomically

CHUNK_BYTES = 16_384
END_OF_FILE_KEY = b"\x04"
SSH_FAILED = 255


class Shell:
    kind = metrics.SHELL

    def __init__(
        self, ssh: str, run_dir: Path, access: NodeAccess, command: Sequence[str], terminal_: Terminal | None
    ) -> None:
        run_dir.mkdir(parents=True, exist_ok=True)
        self._reason = ""
        with contextlib.ExitStack() as undo:
            self._folder = Path(tempfile.mkdtemp(prefix="ssh-", dir=run_dir))
            undo.callback(shutil.rmtree, self._folder, ignore_errors=True)
            write_atomically(self._folder / "key", access.private_key, 0o600)
            write_atomically(self._folder / "known_hosts", f"{terminal.HOST_ALIAS} {access.host_key}\n", 0o600)
            argv = terminal.ssh_argv(ssh, self._folder, access.user, access.ip, command, terminal_ is not None)
            if terminal_ is None:
                self._start_with_pipes(argv)
            else:
                self._start_with_terminal(argv, terminal_)
            undo.pop_all()

    def pump(self, outbox: Outbox) -> None:
        readers = [eventlet.spawn(_copy, fd, outbox, name) for fd, name in self._outputs]
        try:
            for reader in readers:
                reader.wait()
            status = self._child.wait()
            self._tell_end(status if status >= 0 else 128 - status, outbox)
        finally:
            for reader in readers:
                reader.kill()
            self._clean_up()

    def take(self, message: Input, outbox: Outbox) -> None:
        if message.kind == console.DATA:
            self._write(message.body)
        elif message.kind == console.END_OF_INPUT:
            self._end_input()
        elif message.kind == console.RESIZE and self._terminal >= 0:
            _resize(self._terminal, terminal.parse_size(message.body))

    def stop(self, reason: str = "") -> None:
        self._reason = self._reason or reason
        if self._child.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._child.pid, signal.SIGKILL)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._child.pid, signal.SIGKILL)

    def _start_with_pipes(self, argv: list[str]) -> None:
        pipe = subprocess.PIPE
        self._child = _popen([*_WITH_US, "setsid", *argv], stdin=pipe, stdout=pipe, stderr=pipe, bufsize=0)
        self._terminal = -1
        self._input = os.dup(self._child.stdin.fileno())
        self._outputs = [(os.dup(self._child.stdout.fileno()), "out"), (os.dup(self._child.stderr.fileno()), "err")]
        for stream in (self._child.stdin, self._child.stdout, self._child.stderr):
            stream.close()
        for fd in (self._input, *(fd for fd, _ in self._outputs)):
            os.set_blocking(fd, False)

    def _start_with_terminal(self, argv: list[str], wanted: Terminal) -> None:
        ours, theirs = os.openpty()
        try:
            _resize(ours, wanted.size)
            env = {**os.environ, "TERM": wanted.term}
            argv = [*_WITH_US, "setsid", "--ctty", *argv]
            self._child = _popen(argv, stdin=theirs, stdout=theirs, stderr=theirs, env=env)
        except BaseException:
            os.close(ours)
            raise
        finally:
            os.close(theirs)
        os.set_blocking(ours, False)
        self._terminal = self._input = ours
        self._outputs = [(ours, "out")]

    def _write(self, data: bytes) -> None:
        while data and self._input >= 0:
            try:
                data = data[green_os.write(self._input, data) :]
            except BrokenPipeError:  # the command does not read (any more): its output goes on
                self._end_input()

    def _end_input(self) -> None:
        if self._terminal >= 0:
            self._write(END_OF_FILE_KEY)
        elif self._input >= 0:
            _close(self._input)
            self._input = -1

    def _tell_end(self, status: int, outbox: Outbox) -> None:
        said = self._reason or self._said() if status == SSH_FAILED or self._reason else ""
        if said:
            outbox.send(console.NOTICE, said.encode())
        outbox.send(console.EXIT, str(SSH_FAILED if self._reason else status).encode())

    def _said(self) -> str:
        with contextlib.suppress(OSError):
            return (self._folder / "said").read_text(errors="replace").strip()[-2000:]
        return ""

    def _clean_up(self) -> None:
        self.stop()
        self._child.wait()
        for fd in {self._input, *(fd for fd, _ in self._outputs)}:
            if fd >= 0:
                _close(fd)
        self._input = self._terminal = -1
        self._outputs = []
        shutil.rmtree(self._folder, ignore_errors=True)


_WITH_US = ("setpriv", "--pdeathsig", "KILL")


def _popen(argv: list[str], **options: object) -> subprocess.Popen:
    try:
        return subprocess.Popen(argv, **options)
    except OSError as error:
        raise Failed(f"{argv[0]} cannot be started: {error}") from None


def _copy(fd: int, outbox: Outbox, stream: str) -> None:
    """To the end. The next piece is read when the broker has taken the last: an endless command waits."""
    while data := _read(fd):
        outbox.send(console.DATA, data, stream=stream)


def _read(fd: int) -> bytes:
    try:
        return bytes(green_os.read(fd, CHUNK_BYTES) or b"")
    except OSError:  # EIO: the last one at the other side of the terminal is gone
        return b""


def _close(fd: int) -> None:
    hubs.notify_close(fd)  # wakes a greenthread that waits for it: the number may soon be another file's
    os.close(fd)


def _resize(fd: int, size: Size) -> None:
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("4H", size.rows, size.columns, 0, 0))
