"""Modules of this service that run as processes of their own, since they keep a processor or a file system busy."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from services.contracts.errors import Failed, InvalidRequest, NotFound, WaltError
from services.kit.commands import CommandEnded, follow

ERRORS: dict[int, type[WaltError]] = {kind.exit_code: kind for kind in (InvalidRequest, NotFound)}


def helper(module: str, *words: str | Path, say: Callable[[str], None], timeout: float) -> None:
    """Each sentence that it prints is said; its last words are the error, its exit status the kind. It ends with us."""
    python = ["setpriv", "--pdeathsig", "KILL", sys.executable, "-m", f"services.bootserver.{module}"]
    try:
        follow([*python, *map(str, words)], say, timeout=timeout)
    except CommandEnded as end:
        if end.status < 0:
            raise Failed(f"no end of it after {timeout:g} s: given up") from None
        last = end.said if end.status in ERRORS else end.said[-2000:]
        raise ERRORS.get(end.status, Failed)(last or f"{module} ended with status {end.status}") from None


def end_with(error: Exception) -> int:
    """For the helper's side."""
    print(error, file=sys.stderr)
    return error.exit_code if isinstance(error, WaltError) else 1
