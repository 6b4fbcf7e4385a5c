"""The process of `walt`, from its first moment to its last: standard files, signals, the exit code.

The commands are imported late, where ctrl-c is caught already: they take most of the time of a start.
"""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType
from typing import NoReturn

from services.contracts.errors import EXIT_INTERRUPTED

EXIT_TERMINATED = 143


def main() -> NoReturn:
    """Whatever happens ends in an exit code of the table, never in a traceback."""
    try:
        _open_standard_files()
        for number in (signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) != signal.SIG_IGN:  # nohup
                signal.signal(number, _end)
        status = _work()
    except KeyboardInterrupt:  # before a command had begun, or while one was ending
        status = EXIT_INTERRUPTED
    sys.exit(status)


def _work() -> int:
    from cli.client import Client
    from cli.commands import run, unexpected, walt
    from cli.completion import VARIABLE

    client = Client()
    if VARIABLE in os.environ:
        from cli.shells import complete

        complete(walt, client, os.environ[VARIABLE])
    try:
        status = run(sys.argv[1:], client)
        sys.stdout.flush()
    except OSError as error:
        # Python's own flush at exit must not meet the full disk, or the pipe without a reader, again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 1 if isinstance(error, BrokenPipeError) else unexpected(error)
    except Exception as error:
        status = unexpected(error)
    finally:
        client.close()
    return status


def _open_standard_files() -> None:
    """One that was closed would be the number of the next file that is opened: the connection to the broker."""
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(number)
    sys.stdin = sys.stdin or os.fdopen(0)
    sys.stdout = sys.stdout or os.fdopen(1, "w")
    sys.stderr = sys.stderr or os.fdopen(2, "w")


def _end(number: int, frame: FrameType | None) -> NoReturn:
    # As an exception, so that the terminal is restored on the way out.
    raise SystemExit(EXIT_TERMINATED)


if __name__ == "__main__":
    main()
