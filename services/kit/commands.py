"""Run a helper program to its end, or read what it prints as it comes; a failure tells the whole story."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Iterator, Sequence

from services.contracts.errors import Failed


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
