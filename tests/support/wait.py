"""Waiting for a condition: the only helper for it. In service tests `time.sleep` yields to the other green threads."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

Result = TypeVar("Result")


def wait_until(
    condition: Callable[[], Result],
    timeout_s: float = 30,
    what: str | Callable[[], str] = "the condition",
    pause_s: float = 0.05,
) -> Result:
    """The first true result of `condition`; an assertion error after `timeout_s`, which names `what` was awaited."""
    end = time.monotonic() + timeout_s
    while not (result := condition()):
        assert time.monotonic() < end, f"not within {timeout_s:g} s: {what if isinstance(what, str) else what()}"
        time.sleep(pause_s)
    return result
