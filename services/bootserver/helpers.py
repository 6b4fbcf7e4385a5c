"""Modules of this service that run as processes of their own, since they keep a processor or a file system busy."""

from __future__ import annotations

import os
import resource
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from services.bootserver import space
from services.contracts.errors import Failed, InvalidRequest, NotFound, WaltError
from services.kit.commands import END_WITH_US, CommandEnded, follow

ERRORS: dict[int, type[WaltError]] = {kind.exit_code: kind for kind in (InvalidRequest, NotFound)}
LOOK_S = 0.2
MEMORY_BYTES = 2 * 2**30  # a tar of two million files takes half of it


def helper(module: str, *words: str | Path, say: Callable[[str], None], timeout: float) -> None:
    """Each sentence that it prints is said; its last words are the error, its exit status the kind. It ends with us."""
    python = [*END_WITH_US, sys.executable, "-m", f"services.bootserver.{module}"]
    try:
        follow([*python, *map(str, words)], say, timeout=timeout)
    except CommandEnded as end:
        if end.status < 0:
            raise Failed(f"it was killed: no end of it after {timeout:g} s, or no memory left on the server") from None
        last = end.said if end.status in ERRORS else end.said[-2000:]
        raise ERRORS.get(end.status, Failed)(last or f"{module} ended with status {end.status}") from None


def main(work: Callable[[], None], folder: Path) -> NoReturn:
    """The helper's side. `work` writes in the file system of `folder`; it ends before that, or our memory, is full."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    threading.Thread(target=_watch_space, args=(folder,), daemon=True).start()
    try:
        work()
    except (WaltError, OSError) as error:
        _end(str(error), error.exit_code if isinstance(error, WaltError) else Failed.exit_code)
    except MemoryError:
        _end(f"this takes more than {MEMORY_BYTES / 2**30:g} GiB of the server's memory", Failed.exit_code)
    _end("", 0)


def _watch_space(folder: Path) -> None:
    while not (why := space.fault(folder)):
        time.sleep(LOOK_S)
    _end(why, Failed.exit_code)


def _end(said: str, status: int) -> NoReturn:
    """At once, whichever thread says so."""
    print(said, end="", file=sys.stderr, flush=True)
    sys.stdout.flush()
    os._exit(status)
