"""A child process as a session: a shell or command (ssh) or a ping, under a pseudo-terminal or with pipes.

The child ends with its session, and with this process however that ends (PR_SET_PDEATHSIG).
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import struct
import termios
from collections.abc import Callable, Sequence

import eventlet
from eventlet import hubs
from eventlet.green import os as green_os
from eventlet.green import subprocess

from services.console import terminal
from services.console.courier import Input, Outbox
from services.console.terminal import Size, Terminal
from services.contracts import console
from services.contracts.errors import Failed
from services.kit.commands import END_WITH_US

CHUNK_BYTES = 16_384
END_OF_FILE_KEY = b"\x04"
STOPPED = 255  # exit status of a session that was ended from outside


class Program:
    """reason: what to tell the user of this exit status; hear: standard error on its way, and what it becomes; clean_up:
    called once at the end, told whether the child was ended from outside."""

    def __init__(
        self,
        kind: str,
        argv: Sequence[str],
        on: Terminal | None = None,
        *,
        reason: Callable[[int], str] = lambda status: "",
        hear: Callable[[bytes], bytes] = lambda data: data,
        clean_up: Callable[[bool], None] = lambda cut_off: None,
    ) -> None:
        self.kind = kind
        self._reason_of = reason
        self._hear = hear
        self._also_clean_up = clean_up
        self._stop_reason = ""
        if on is None:
            self._start_with_pipes(argv)
        else:
            self._start_with_terminal(argv, on)

    def pump(self, outbox: Outbox) -> None:
        readers = [eventlet.spawn(self._copy, fd, outbox, name) for fd, name in self._outputs]
        try:
            for reader in readers:
                reader.wait()
            self._tell_end(shell_status(self._child.wait()), outbox)
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
        self._stop_reason = self._stop_reason or reason
        kill(self._child)

    def _start_with_pipes(self, argv: Sequence[str]) -> None:
        pipe = subprocess.PIPE
        self._child = start([*END_WITH_US, "setsid", *argv], stdin=pipe, stdout=pipe, stderr=pipe, bufsize=0)
        self._terminal = -1
        self._input = os.dup(self._child.stdin.fileno())
        self._outputs = [(os.dup(self._child.stdout.fileno()), "out"), (os.dup(self._child.stderr.fileno()), "err")]
        for stream in (self._child.stdin, self._child.stdout, self._child.stderr):
            stream.close()
        for fd in (self._input, *(fd for fd, _ in self._outputs)):
            os.set_blocking(fd, False)

    def _start_with_terminal(self, argv: Sequence[str], wanted: Terminal) -> None:
        ours, theirs = os.openpty()
        try:
            _resize(ours, wanted.size)
            env = {**os.environ, "TERM": wanted.term}
            argv = [*END_WITH_US, "setsid", "--ctty", *argv]
            self._child = start(argv, stdin=theirs, stdout=theirs, stderr=theirs, env=env)
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
        said = self._stop_reason or self._reason_of(status)
        if said:
            outbox.send(console.NOTICE, said.encode())
        outbox.send(console.EXIT, str(STOPPED if self._stop_reason else status).encode())

    def _copy(self, fd: int, outbox: Outbox, stream: str) -> None:
        """To the end. The next piece is read when the broker has taken the last: an endless command waits."""
        while data := _read(fd):
            if data := self._hear(data) if stream == "err" else data:
                outbox.send(console.DATA, data, stream=stream)

    def _clean_up(self) -> None:
        cut_off = self._child.returncode is None or self._child.returncode < 0
        self.stop()
        self._child.wait()
        for fd in {self._input, *(fd for fd, _ in self._outputs)}:
            if fd >= 0:
                _close(fd)
        self._input = self._terminal = -1
        self._outputs = []
        self._also_clean_up(cut_off)


def run(argv: Sequence[str], timeout_s: float, keep_bytes: int) -> tuple[int, str]:
    """Exit status and the last words of both streams; Failed, and the child killed, at the limit."""
    child = start(
        [*END_WITH_US, "setsid", *argv],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        bufsize=0,
    )
    said = b""
    try:
        with eventlet.Timeout(timeout_s, Failed(f"no end within {timeout_s:g} s")):
            while data := child.stdout.read(CHUNK_BYTES):
                said = (said + data)[-keep_bytes:]
            return shell_status(child.wait()), said.decode(errors="replace")
    finally:
        kill(child)
        child.wait()
        child.stdout.close()


def start(argv: Sequence[str], **options: object) -> subprocess.Popen:
    try:
        return subprocess.Popen(argv, **options)
    except OSError as error:
        raise Failed(f"{argv[0]} cannot be started: {error}") from None


def kill(child: subprocess.Popen) -> None:
    """The child and its group; nothing when it has ended."""
    if child.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child.pid, signal.SIGKILL)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)


def shell_status(returncode: int) -> int:
    """128 + N for signal N, as a shell has it."""
    return returncode if returncode >= 0 else 128 - returncode


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
