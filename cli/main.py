"""The process of `walt` from start to end: standard files, signals, the exit code.

The commands, which take most of the start-up time, are imported once ctrl-c is caught.
"""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType
from typing import NoReturn

from walt.contracts.errors import EXIT_INTERRUPTED

EXIT_TERMINATED = 143


def main() -> NoReturn:
    """Every outcome is an exit code of docs/cli.md, never a traceback."""
    try:
        _open_standard_files()
        for number in (signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) != signal.SIG_IGN:  # nohup
                signal.signal(number, _end)
        status = _execute()
    except KeyboardInterrupt:  # before a command began, or while it was ending
        status = EXIT_INTERRUPTED
    sys.exit(status)


def _execute() -> int:
    from walt.client import Client

    from .completion import VARIABLE
    from .tree import run, unexpected, walt

    client = Client()
    if VARIABLE in os.environ:
        from .completion.scripts import complete

        complete(walt, client, os.environ[VARIABLE])
    try:
        status = run(sys.argv[1:], client)
        sys.stdout.flush()
    except OSError as error:
        # Python flushes again at exit, and must not meet the full disk or the closed pipe a second time.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 1 if isinstance(error, BrokenPipeError) else unexpected(error)
    except Exception as error:
        status = unexpected(error)
    finally:
        client.close()
    return status


def _open_standard_files() -> None:
    """Open those that the caller has closed; else the connection to the broker would get such a number."""
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(number)
    sys.stdin = sys.stdin or os.fdopen(0)
    sys.stdout = sys.stdout or os.fdopen(1, "w")
    sys.stderr = sys.stderr or os.fdopen(2, "w")


def _end(number: int, frame: FrameType | None) -> NoReturn:
    # An exception, so that the terminal is restored.
    raise SystemExit(EXIT_TERMINATED)


if __name__ == "__main__":
    main()
