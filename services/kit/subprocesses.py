"""Run a program to its end, or read its output as it comes. Errors contain the command, its status and its stderr.

No program gets the environment of the service, which holds the password of the broker: `child_environment`. What it
prints is bounded here: it may work on what users have made, which can have it complain without end.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import subprocess
import threading
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from typing import IO

from walt.contracts.errors import Failed

OUTPUT_BYTES = 2**26  # of a program that is run to its end
STDERR_BYTES = 2**16  # of what is kept of a stderr: its end
PIECE_BYTES = 2**16
END_LIMIT_S = 5.0  # for what it has printed, once it has ended
LINE_BYTES = 2**16  # of a line that is followed; a longer one comes in pieces
DIE_WITH_PARENT = ("setpriv", "--pdeathsig", "KILL")  # argv prefix
INHERITED = ("PATH", "HOME", "TMPDIR", "PYTHONPATH", "PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED")


def child_environment(*names: str, **variables: str) -> dict[str, str]:
    """The environment of a program that a service starts. names: of further variables to inherit where they are set;
    variables: to add."""
    inherited = {name: os.environ[name] for name in (*INHERITED, *names) if name in os.environ}
    return {**inherited, "LANG": "C.UTF-8", **variables}


class ProgramFailed(Exception):
    """status: of the program that `follow` ran; negative: the signal that ended it. stderr: the end of it."""

    def __init__(self, status: int, stderr: str) -> None:
        super().__init__(status, stderr)
        self.status = status
        self.stderr = stderr


def run(
    argv: Sequence[str],
    *,
    stdin: str | bytes | None = None,
    timeout: float = 60,
    success: Container[int] = (0,),
    name: str = "",
    env: Mapping[str, str] | None = None,
    **options: object,
) -> str:
    """The output of the program. Failed when its status is not one of `success`.

    name: replaces the command in errors. env: instead of `child_environment()`.
    """
    line = name or shlex.join(argv)
    pipe = subprocess.PIPE
    feed, env = subprocess.DEVNULL if stdin is None else pipe, child_environment() if env is None else env
    options |= {"stdin": feed, "stdout": pipe, "stderr": pipe, "start_new_session": True}
    try:
        process = subprocess.Popen(argv, env=env, **options)  # type: ignore[call-overload]
    except FileNotFoundError:
        raise Failed(f"{argv[0]} is not installed (wanted for: {line})") from None
    with process, _killed_after(timeout, process) as is_late:
        output, errors = _Tail(process.stdout, OUTPUT_BYTES), _Tail(process.stderr, STDERR_BYTES)
        if stdin is not None:
            _write(process.stdin, stdin.encode() if isinstance(stdin, str) else stdin)
        process.wait()
        text, error_text = output.text(), errors.text()
    if is_late.is_set():
        raise Failed(f"{line}: no end after {timeout:g} s")
    if process.returncode not in success:
        raise Failed(f"{line}: status {process.returncode}: {(error_text.strip() or text.strip())[-2000:]}")
    if output.is_cut:
        raise Failed(f"{line}: it prints more than {OUTPUT_BYTES} bytes")
    return text


def follow(
    argv: Sequence[str],
    on_line: Callable[[str], None],
    *,
    timeout: float,
    env: Mapping[str, str] | None = None,
) -> None:
    """Calls `on_line` with each line of output as it comes. ProgramFailed when the status is not 0, or after
    `timeout`. env: instead of `child_environment()`."""
    pipe, env = subprocess.PIPE, child_environment() if env is None else env
    nothing = subprocess.DEVNULL
    with subprocess.Popen(argv, stdin=nothing, stdout=pipe, stderr=pipe, env=env, start_new_session=True) as process:
        assert process.stdout is not None
        errors = _Tail(process.stderr, STDERR_BYTES)
        with _killed_after(timeout, process):
            while text := process.stdout.readline(LINE_BYTES):
                on_line(text.decode(errors="replace").rstrip())
            process.wait()
        error_text = errors.text()
    if process.returncode != 0:
        raise ProgramFailed(process.returncode, error_text.strip())


def stream(argv: Sequence[str], piece_bytes: int = 2**18, success: Container[int] = (0,)) -> Iterator[bytes]:
    """What the program prints, piece by piece. It is killed when the caller stops reading. Failed, after the last
    piece, when its status is not one of `success`."""
    pipe = subprocess.PIPE
    with subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=pipe, env=child_environment()) as process:
        assert process.stdout is not None
        try:
            while piece := process.stdout.read(piece_bytes):
                yield piece
        except GeneratorExit:
            process.kill()
            raise
    if process.returncode not in success:
        raise Failed(f"{shlex.join(argv)}: status {process.returncode}")


class _Tail:
    """The end of what comes through a pipe, which is read at once. is_cut: there was more before it."""

    def __init__(self, pipe: IO[bytes] | None, limit_bytes: int) -> None:
        assert pipe is not None
        self.is_cut = False
        self._pipe = pipe
        self._limit_bytes = limit_bytes
        self._kept = bytearray()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def text(self) -> str:
        """Once the program has ended. What a child of it that goes on prints is left out."""
        self._thread.join(END_LIMIT_S)
        return self._kept.decode(errors="replace")

    def _read(self) -> None:
        with contextlib.suppress(OSError, ValueError):  # it is closed
            while piece := os.read(self._pipe.fileno(), PIECE_BYTES):
                self._kept += piece
                if len(self._kept) > self._limit_bytes:
                    del self._kept[: -self._limit_bytes]
                    self.is_cut = True


@contextlib.contextmanager
def _killed_after(timeout: float, process: subprocess.Popen[bytes]) -> Iterator[threading.Event]:
    """The event is set when it was."""
    is_late = threading.Event()

    def kill() -> None:
        is_late.set()
        _kill(process)

    timer = threading.Timer(timeout, kill)
    timer.start()
    try:
        yield is_late
    except BaseException:
        _kill(process)
        raise
    finally:
        timer.cancel()


def _kill(process: subprocess.Popen[bytes]) -> None:
    """And its children: they have its output too."""
    if process.returncode is not None:
        return
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _write(pipe: IO[bytes] | None, data: bytes) -> None:
    assert pipe is not None
    with contextlib.suppress(BrokenPipeError), pipe:
        pipe.write(data)
