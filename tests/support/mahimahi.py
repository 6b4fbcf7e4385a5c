"""The link of mahimahi (mm-link), written out from its LinkQueue step by step: the reference of traces of that kind.

Time is in whole milliseconds. At each moment of the schedule 1500 bytes may pass; the rest of a moment is for the
frames that wait behind, and is lost when none does. The schedule begins again at its last moment.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

MOMENT_BYTES = 1500


class MahimahiLink:
    def __init__(self, schedule: Sequence[int], loops: bool) -> None:
        self._schedule, self._loops = schedule, loops
        self._next, self._base_ms, self._is_finished = 0, 0, False
        self._queue: deque[tuple[int, int]] = deque()  # (number, size)
        self._in_transit: tuple[int, int] | None = None
        self._departures: dict[int, int] = {}

    def departures(self, frames: Sequence[tuple[int, int]]) -> list[int | None]:
        """When each of (arrival, size) leaves; None: never."""
        for number, (arrival_ms, size) in enumerate(frames):
            self._rationalize(arrival_ms)
            self._queue.append((number, size))
        while (self._queue or self._in_transit) and not self._is_finished:
            self._rationalize(self._next_ms())
        return [self._departures.get(number) for number in range(len(frames))]

    def _next_ms(self) -> int:
        return self._schedule[self._next] + self._base_ms

    def _rationalize(self, now_ms: int) -> None:
        while not self._is_finished and self._next_ms() <= now_ms:
            moment_ms, left = self._next_ms(), MOMENT_BYTES
            self._use_moment()
            while left:
                if self._in_transit is None:
                    if not self._queue:
                        break
                    self._in_transit = self._queue.popleft()
                number, size = self._in_transit
                sent = min(left, size)
                left -= sent
                self._in_transit = (number, size - sent) if size > sent else None
                if self._in_transit is None:
                    self._departures[number] = moment_ms

    def _use_moment(self) -> None:
        self._next = (self._next + 1) % len(self._schedule)
        if self._next == 0:
            self._base_ms += self._schedule[-1]
            self._is_finished = not self._loops
