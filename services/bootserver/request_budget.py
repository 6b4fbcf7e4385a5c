"""How often one address may cause work for which it needs no account. Pure."""

from __future__ import annotations

import time
from collections.abc import Callable

MAX_ADDRESSES = 10_000  # remembered


class RequestBudget:
    """Each address may make `burst` requests at once, and gets one back every `refill_s` seconds."""

    def __init__(self, burst: int, refill_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._burst = burst
        self._refill_s = refill_s
        self._clock = clock
        self._full_at: dict[str, float] = {}  # when the address has its whole burst again

    def spend(self, address: str) -> bool:
        """Takes one request from the budget of this address. False, and nothing is taken, when it is used up."""
        now = self._clock()
        full_at = max(now, self._full_at.pop(address, now)) + self._refill_s
        is_left = full_at - now <= self._burst * self._refill_s
        self._full_at[address] = full_at if is_left else full_at - self._refill_s
        if len(self._full_at) > MAX_ADDRESSES:
            self._forget(now)
        return is_left

    def _forget(self, now: float) -> None:
        """The addresses whose budget is whole; where there are none, those that requested longest ago."""
        kept = {address: full_at for address, full_at in self._full_at.items() if full_at > now}
        self._full_at = dict(list(kept.items())[-MAX_ADDRESSES // 2 :])
