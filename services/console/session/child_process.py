"""A child process (ssh or ping) as a session, under a pseudo-terminal or with pipes; and one run to its end.

The child ends with its session, and with this process however that ends (PR_SET_PDEATHSIG).
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import struct
import termios
from collections.abc import Callable, Mapping, Sequence

from services.console.amqp_streams import InputMessage, SessionPublisher
from services.console.session import terminal
from services.console.session.terminal import TerminalRequest, TerminalSize
from services.kit import tasks
from services.kit.subprocesses import DIE_WITH_PARENT, child_environment
from services.kit.tasks import subprocess
from walt.contracts import console
from walt.contracts.errors import EXIT_SESSION_LOST, Failed

CHUNK_BYTES = 65_536
END_OF_FILE_KEY = b"\x04"
IUTF8 = 0o40000  # of Linux; the module termios lacks it
INPUT_FLAGS = 0  # position in what tcgetattr returns


class ChildProcess:
    """An endpoint (`sessions.Endpoint`).

    failure: what to tell the user of an exit status, "" for nothing. filter_stderr: applied to each piece of standard
    error. on_end: called once at the end; its argument says whether the child was killed.
    """

    def __init__(
        self,
        kind: str,
        argv: Sequence[str],
        terminal_request: TerminalRequest | None = None,
        *,
        failure: Callable[[int], str] = lambda status: "",
        filter_stderr: Callable[[bytes], bytes] = lambda data: data,
        on_end: Callable[[bool], None] = lambda killed: None,
    ) -> None:
        self.kind = kind
        self._failure = failure
        self._filter_stderr = filter_stderr
        self._on_end = on_end
        self._stop_reason = ""
        if terminal_request is None:
            self._start_with_pipes(argv)
        else:
            self._start_with_terminal(argv, terminal_request)

    def run(self, publisher: SessionPublisher) -> None:
        try:
            tasks.wait_for_all([tasks.spawn(self._copy, fd, publisher, stream) for fd, stream in self._outputs])
            self._send_exit(shell_status(self._child.wait()), publisher)
        finally:
            self._clean_up()

    def handle(self, message: InputMessage, publisher: SessionPublisher) -> None:
        if message.kind == console.DATA:
            self._write(message.body)
        elif message.kind == console.END_OF_INPUT:
            self._end_input()
        elif message.kind == console.RESIZE and self._terminal >= 0:
            _resize(self._terminal, terminal.parse_size(message.body))

    def stop(self, reason: str = "") -> None:
        self._stop_reason = self._stop_reason or reason
        _kill(self._child)

    def _start_with_pipes(self, argv: Sequence[str]) -> None:
        pipe = subprocess.PIPE
        self._child = _start([*DIE_WITH_PARENT, "setsid", *argv], stdin=pipe, stdout=pipe, stderr=pipe, bufsize=0)
        self._terminal = -1
        self._input = os.dup(self._child.stdin.fileno())
        self._outputs = [(os.dup(self._child.stdout.fileno()), "out"), (os.dup(self._child.stderr.fileno()), "err")]
        for stream in (self._child.stdin, self._child.stdout, self._child.stderr):
            stream.close()
        for fd in (self._input, *(fd for fd, _ in self._outputs)):
            os.set_blocking(fd, False)

    def _start_with_terminal(self, argv: Sequence[str], request: TerminalRequest) -> None:
        ours, theirs = os.openpty()
        try:
            _resize(ours, request.size)
            _delete_whole_characters(theirs)
            env = child_environment(TERM=request.term)
            argv = [*DIE_WITH_PARENT, "setsid", "--ctty", *argv]
            self._child = _start(argv, stdin=theirs, stdout=theirs, stderr=theirs, env=env)
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
                data = data[tasks.write(self._input, data) :]
            except BrokenPipeError:  # the command reads no more input; its output goes on
                self._end_input()

    def _end_input(self) -> None:
        if self._terminal >= 0:
            self._write(END_OF_FILE_KEY)
        elif self._input >= 0:
            tasks.close(self._input)
            self._input = -1

    def _send_exit(self, status: int, publisher: SessionPublisher) -> None:
        if notice := self._stop_reason or self._failure(status):
            publisher.send(console.NOTICE, notice.encode())
            status = EXIT_SESSION_LOST
        publisher.send(console.EXIT, str(status).encode())

    def _copy(self, fd: int, publisher: SessionPublisher, stream: str) -> None:
        """To the end. The next piece is read when the broker has taken the last: an endless command waits."""
        while data := _read(fd):
            if data := self._filter_stderr(data) if stream == "err" else data:
                publisher.send(console.DATA, data, stream=stream)

    def _clean_up(self) -> None:
        killed = self._child.returncode is None or self._child.returncode < 0
        self.stop()
        self._child.wait()
        for fd in {self._input, *(fd for fd, _ in self._outputs)}:
            if fd >= 0:
                tasks.close(fd)
        self._input = self._terminal = -1
        self._outputs = []
        self._on_end(killed)


def run(argv: Sequence[str], timeout_s: float, max_bytes: int) -> tuple[int, str]:
    """Run it without input; its exit status and the last of its output. Failed, and it is killed, at the limit."""
    child = _start(
        [*DIE_WITH_PARENT, "setsid", *argv],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        bufsize=0,
    )
    output = b""
    try:
        with tasks.Timeout(timeout_s, Failed(f"no end within {timeout_s:g} s")):
            while data := child.stdout.read(CHUNK_BYTES):
                output = (output + data)[-max_bytes:]
            return shell_status(child.wait()), output.decode(errors="replace")
    finally:
        _kill(child)
        child.wait()
        child.stdout.close()


def shell_status(returncode: int) -> int:
    """128 + N for signal N, as a shell has it."""
    return returncode if returncode >= 0 else 128 - returncode


def _start(argv: Sequence[str], *, env: Mapping[str, str] | None = None, **options: object) -> subprocess.Popen:
    try:
        return subprocess.Popen(argv, env=child_environment() if env is None else env, **options)
    except OSError as error:
        raise Failed(f"{argv[0]} cannot be started: {error}") from None


def _kill(child: subprocess.Popen) -> None:
    """The child and its process group; nothing if it has ended."""
    if child.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child.pid, signal.SIGKILL)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)


def _read(fd: int) -> bytes:
    try:
        return tasks.read(fd, CHUNK_BYTES)
    except OSError:  # EIO: no process has the other side of the terminal open
        return b""


def _delete_whole_characters(fd: int) -> None:
    """Not single bytes of UTF-8, when the user erases in a line that the terminal edits. ssh gives the node's terminal
    the same flag."""
    attributes = termios.tcgetattr(fd)
    attributes[INPUT_FLAGS] |= IUTF8
    termios.tcsetattr(fd, termios.TCSANOW, attributes)


def _resize(fd: int, size: TerminalSize) -> None:
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("4H", size.rows, size.columns, 0, 0))
