"""Which of the requests that wait runs next: a bounded number at a time, few of them of one caller, callers in turn.
Pure.

    shares.offer("ada", request, size)  False: too many of hers wait, or too large ones
    while (request := shares.next()):   …it runs…
    shares.done("ada")                  one of hers has ended; ask `next` again
"""

from __future__ import annotations

from collections import Counter, deque
from typing import Generic, TypeVar

T = TypeVar("T")

WATCHING = 400  # patient calls at a time that wait for something to happen, of all users
WATCHING_OF_ONE_USER = 40

REFUSALS_S = 5.0
FLOOD = 300  # of one caller in that time; those beyond cost as little as possible


class Shares(Generic[T]):
    """total: how many run at a time; each: how many of one caller; waiting, size: how many of one caller may wait, and
    how large these may be together (one may always wait)."""

    def __init__(self, total: int, each: int, waiting: int, size: int) -> None:
        self._total, self._each, self._limit, self._size_limit = total, each, waiting, size
        self._running: Counter[str] = Counter()
        self._waiting: dict[str, deque[tuple[T, int]]] = {}  # in the order in which callers get their turn

    def offer(self, caller: str, request: T, size: int = 0) -> bool:
        queue = self._waiting.get(caller, deque())
        if queue and (len(queue) >= self._limit or sum(one for _, one in queue) + size > self._size_limit):
            return False
        queue.append((request, size))
        self._waiting[caller] = queue
        return True

    def next(self) -> T | None:
        """One that runs from now on; None while none may."""
        if self._running.total() >= self._total:
            return None
        caller = next((one for one in self._waiting if self._running[one] < self._each), None)
        if caller is None:
            return None
        queue = self._waiting.pop(caller)
        request, _ = queue.popleft()
        self._running[caller] += 1
        if queue:
            self._waiting[caller] = queue  # behind the others
        return request

    def done(self, caller: str) -> None:
        self._running[caller] -= 1
        if not self._running[caller]:
            del self._running[caller]


class Refusals:
    """How many requests of each caller were refused lately."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._since_s = 0.0

    def count(self, caller: str, now_s: float) -> int:
        """With this one, in the present period of REFUSALS_S."""
        if now_s - self._since_s >= REFUSALS_S:
            self._counts.clear()
            self._since_s = now_s
        self._counts[caller] += 1
        return self._counts[caller]
