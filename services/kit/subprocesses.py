"""Run a program to its end, or read its output as it comes. Errors contain the command, its status and its stderr.

No program gets the environment of the service, which holds the password of the broker: `child_environment`.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import tempfile
import threading
from collections.abc import Callable, Container, Iterator, Mapping, Sequence

from walt.contracts.errors import Failed

STDERR_BYTES = 2**16  # of what is kept of a stderr: its end
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
    try:
        done = subprocess.run(
            argv,
            input=stdin.encode() if isinstance(stdin, str) else stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            timeout=timeout,
            check=False,
            env=child_environment() if env is None else env,
            **options,  # type: ignore[call-overload]
        )
    except FileNotFoundError:
        raise Failed(f"{argv[0]} is not installed (wanted for: {line})") from None
    except subprocess.TimeoutExpired:
        raise Failed(f"{line}: no end after {timeout:g} s") from None
    if done.returncode not in success:
        output = done.stderr.decode(errors="replace").strip() or done.stdout.decode(errors="replace").strip()
        raise Failed(f"{line}: status {done.returncode}: {output[-2000:]}")
    return str(done.stdout.decode(errors="replace"))


def follow(
    argv: Sequence[str],
    on_line: Callable[[str], None],
    *,
    timeout: float,
    env: Mapping[str, str] | None = None,
) -> None:
    """Calls `on_line` with each line of output as it comes. ProgramFailed when the status is not 0, or after
    `timeout`. env: instead of `child_environment()`."""
    env = child_environment() if env is None else env
    with tempfile.TemporaryFile() as errors:
        with subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, env=env
        ) as process:
            assert process.stdout is not None
            timer = threading.Timer(timeout, process.kill)
            timer.start()
            try:
                for text in process.stdout:
                    on_line(text.decode(errors="replace").rstrip())
            except BaseException:
                process.kill()
                raise
            finally:
                timer.cancel()
        if process.returncode != 0:
            errors.seek(max(0, errors.seek(0, os.SEEK_END) - STDERR_BYTES))
            raise ProgramFailed(process.returncode, errors.read().decode(errors="replace").strip())


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
