"""Run a helper program to its end, or read what it prints as it comes; a failure tells the whole story."""

from __future__ import annotations

import os
import shlex
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence

from services.contracts.errors import Failed

LAST_BYTES = 2**16
END_WITH_US = ("setpriv", "--pdeathsig", "KILL")  # before the words of a program


class CommandEnded(Exception):
    """A program that was followed ended with this status (negative: by this signal), saying this on its stderr at last."""

    def __init__(self, status: int, said: str) -> None:
        super().__init__(status, said)
        self.status = status
        self.said = said


def run(argv: Sequence[str], *, stdin: str | bytes | None = None, timeout: float = 60, **options: object) -> str:
    """What the program printed; Failed with the command, its status and its stderr."""
    line = shlex.join(argv)
    try:
        done = subprocess.run(
            argv,
            input=stdin.encode() if isinstance(stdin, str) else stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            timeout=timeout,
            check=False,
            **options,  # type: ignore[call-overload]
        )
    except FileNotFoundError:
        raise Failed(f"{argv[0]} is not installed (wanted for: {line})") from None
    except subprocess.TimeoutExpired:
        raise Failed(f"{line}: no end after {timeout:g} s") from None
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip() or done.stdout.decode(errors="replace").strip()
        raise Failed(f"{line}: status {done.returncode}: {said[-2000:]}")
    return str(done.stdout.decode(errors="replace"))


def follow(argv: Sequence[str], on_line: Callable[[str], None], *, timeout: float) -> None:
    """Each line that the program prints, as it comes. CommandEnded when its status is not 0, or after `timeout`."""
    with tempfile.TemporaryFile() as errors:
        with subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors) as process:
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
            errors.seek(max(0, errors.seek(0, os.SEEK_END) - LAST_BYTES))
            raise CommandEnded(process.returncode, errors.read().decode(errors="replace").strip())


def stream(argv: Sequence[str], piece_bytes: int = 2**18) -> Iterator[bytes]:
    """What the program prints, piece by piece; it is ended when nobody reads on. Failed when it fails in the end."""
    with subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            while piece := process.stdout.read(piece_bytes):
                yield piece
        except GeneratorExit:
            process.kill()
            raise
    if process.returncode != 0:
        raise Failed(f"{shlex.join(argv)}: status {process.returncode}")
