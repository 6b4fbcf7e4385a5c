"""Work that keeps a processor or a file system busy runs in processes of its own: `run_worker` starts a module of this
folder, `worker_main` is its frame on the other side."""

from __future__ import annotations

import os
import resource
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from services.bootserver.workers import disk_reserve
from services.kit.subprocesses import DIE_WITH_PARENT, ProgramFailed, follow
from walt.contracts.errors import Denied, Failed, InvalidRequest, LimitReached, NotFound, WaltError

ERRORS: dict[int, type[WaltError]] = {kind.exit_code: kind for kind in (InvalidRequest, NotFound, Denied, LimitReached)}
BEHIND = ("nice", "-n", "5")  # work on images leaves the processor to the services
CHECK_EVERY_S = 0.2
MEMORY_BYTES = 2 * 2**30
STDERR_CHARS = 2000


def run_worker(module: str, *arguments: str | Path, on_line: Callable[[str], None], timeout: float) -> None:
    """Runs the module to its end; `on_line` gets each line that it prints. Its stderr becomes the error, its exit
    status the class of it. It is killed after `timeout` seconds, and when this process ends."""
    python = [*DIE_WITH_PARENT, *BEHIND, sys.executable, "-m", f"services.bootserver.workers.{module}"]
    try:
        follow([*python, *map(str, arguments)], on_line, timeout=timeout)
    except ProgramFailed as failure:
        if failure.status < 0:
            raise Failed(f"it was killed: no end of it after {timeout:g} s, or no memory left on the server") from None
        stderr = failure.stderr if failure.status in ERRORS else failure.stderr[-STDERR_CHARS:]
        raise ERRORS.get(failure.status, Failed)(stderr or f"{module} ended with status {failure.status}") from None


def worker_main(work: Callable[[], None], folder: Path | None = None) -> NoReturn:
    """Runs `work` and ends the process, before its memory is full or, if `work` writes much in the file system of
    `folder`, before that is."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    if folder is not None:
        threading.Thread(target=_watch_space, args=(folder,), daemon=True).start()
    try:
        work()
    except (WaltError, OSError) as error:
        _exit(str(error), error.exit_code if isinstance(error, WaltError) else Failed.exit_code)
    except RecursionError:
        _exit("folders within folders are too deep", Failed.exit_code)
    except MemoryError:
        _exit(f"this takes more than {MEMORY_BYTES / 2**30:g} GiB of the server's memory", Failed.exit_code)
    _exit("", 0)


def _watch_space(folder: Path) -> None:
    while not (fault := disk_reserve.fault(folder)):
        time.sleep(CHECK_EVERY_S)
    _exit(fault, Failed.exit_code)


def _exit(message: str, status: int) -> NoReturn:
    """At once, from whichever thread."""
    print(message, end="", file=sys.stderr, flush=True)
    sys.stdout.flush()
    os._exit(status)
