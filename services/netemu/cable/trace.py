"""A trace as the cable carries it out: how many bytes may have passed by any moment; which delay and loss hold then.

Pure, but for the mapping of the file that netemu writes for each trace (trace_store.py): the pages of a file are shared
by all links that follow it, and opening one takes no longer than a frame.

Bytes are counted from the start of the trace: the count grows with the rate, or jumps where bytes may pass at one
moment, as mahimahi has it. A frame leaves at the first moment at which its last byte may pass, and what may pass while
nothing waits is lost.
"""

from __future__ import annotations

import math
import mmap
import struct
import time
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from pathlib import Path

from walt.contracts.links import MAX_RATE_BPS

_HEAD = struct.Struct("=8sqqqqdq")
_MAGIC = b"walttrc2"
_LOOPS, _PACES, _DELAYS, _LOSES = 1, 2, 4, 8
_ITEM = 8  # bytes of each number in a column


def encode(columns: Mapping[str, Sequence[int]], loops: bool, start_us: int = 0) -> bytes:
    """The file of a trace. columns: as in walt.contracts.traces.Trace, of equal length, without those it has not;
    start_us: as in TraceContent."""
    keep_us = columns["keep_us"]
    nothing = [0] * len(keep_us)
    at_ns, count, rates = array("q"), array("d"), array("d")
    now_ns, passed = 0, 0.0
    for keep, rate_bps, moment in zip(
        keep_us, columns.get("rate_bps", nothing), columns.get("pass_bytes", nothing), strict=True
    ):
        passed += moment
        at_ns.append(now_ns)
        count.append(passed)
        rates.append(rate_bps / 8e9)
        now_ns += keep * 1000
        passed += rate_bps * keep / 8e6
    delays = array("q", [latency_us * 1000 for latency_us in columns.get("latency_us", nothing)])
    losses = array("q", columns.get("loss_ppm", nothing))
    paces = _PACES * (not columns.keys().isdisjoint(("rate_bps", "pass_bytes")))
    flags = _LOOPS * loops | paces | _DELAYS * ("latency_us" in columns) | _LOSES * ("loss_ppm" in columns)
    head = _HEAD.pack(_MAGIC, len(keep_us), flags, start_us, now_ns, passed, _mean_bps(columns, passed, now_ns))
    return head + b"".join(column.tobytes() for column in (at_ns, count, rates, delays, losses))


def _mean_bps(columns: Mapping[str, Sequence[int]], passed: float, length_ns: int) -> int:
    """Of the rows with a limit: as much waits as such a rate needs."""
    limited = [
        (keep, rate)
        for keep, rate in zip(columns["keep_us"], columns.get("rate_bps", ()), strict=False)
        if rate < MAX_RATE_BPS
    ]
    if limited:
        return sum(keep * rate for keep, rate in limited) // sum(keep for keep, _ in limited)
    return int(passed * 8e9 / length_ns)


class TraceData:
    """start_us: as in TraceContent. length_ns: of one run through it; total: bytes that may pass in it; mean_bps: 0
    where it leaves the rate alone; paces, delays, loses: what it decides. The columns: at_ns, since when a row holds;
    count: bytes that may have passed by then; rates: bytes per ns from then."""

    def __init__(self, content: bytes | mmap.mmap) -> None:
        magic, rows, flags, self.start_us, length_ns, total, self.mean_bps = _HEAD.unpack_from(content)
        if magic != _MAGIC or len(content) != _HEAD.size + 5 * _ITEM * rows:
            raise ValueError("not the file of a trace")
        self.length_ns, self.total = int(length_ns), float(total)
        self.loops, self.paces = bool(flags & _LOOPS), bool(flags & _PACES)
        self.delays, self.loses = bool(flags & _DELAYS), bool(flags & _LOSES)
        view = memoryview(content)[_HEAD.size :]
        parts = [view[number * _ITEM * rows : (number + 1) * _ITEM * rows] for number in range(5)]
        self.at_ns: Sequence[int] = parts[0].cast("q")
        self.count: Sequence[float] = parts[1].cast("d")
        self.rates: Sequence[float] = parts[2].cast("d")
        self.delays_ns: Sequence[int] = parts[3].cast("q")
        self.losses_ppm: Sequence[int] = parts[4].cast("q")

    def row(self, time_ns: int) -> int:
        """That holds so long after the start."""
        return max(0, bisect_right(self.at_ns, self._within(time_ns)) - 1)

    def passed(self, time_ns: int) -> float:
        """Bytes that may have passed so long after the start."""
        within_ns = self._within(time_ns)
        row = max(0, bisect_right(self.at_ns, within_ns) - 1)
        whole = time_ns // self.length_ns * self.total if self.loops else 0.0
        return whole + self.count[row] + self.rates[row] * (within_ns - self.at_ns[row])

    def moment_ns(self, passed: float) -> int | None:
        """The first moment after the start by which so many bytes (more than 0) may have passed; None: there is none,
        as the trace is at its end."""
        runs = math.ceil(passed / self.total) - 1 if self.loops else 0
        rest = passed - runs * self.total
        row = bisect_left(self.count, rest)
        if row == 0:  # before its start its first row holds
            return runs * self.length_ns + (round(rest / self.rates[0]) if rest < 0 and self.rates[0] else 0)
        before = row - 1
        rate = self.rates[before]
        end_ns: int | None = self.at_ns[row] if row < len(self.at_ns) else None
        if rate:
            moment_ns = self.at_ns[before] + round((rest - self.count[before]) / rate)
            end_ns = moment_ns if end_ns is None else min(moment_ns, end_ns)
        elif end_ns is None and self.loops:  # the sum of many rates is off by less than a byte
            end_ns = self.length_ns
        return None if end_ns is None else runs * self.length_ns + end_ns

    def _within(self, time_ns: int) -> int:
        return time_ns % self.length_ns if self.loops else time_ns


class Playback:
    """One direction that follows a trace. number: which; start_ns: since when, by the monotonic clock."""

    __slots__ = ("data", "number", "start_ns", "_passed")

    def __init__(self, data: TraceData, number: int, start_ns: int) -> None:
        self.data = data
        self.number = number
        self.start_ns = start_ns
        self._passed = data.passed(-start_ns)  # by the moment the last frame leaves

    def waiting_bytes(self, now_ns: int) -> int:
        return max(0, int(self._passed - self.data.passed(self._since(now_ns))))

    def leaving_ns(self, now_ns: int, size: int) -> int | None:
        """When a frame leaves that arrives now, behind those that wait; None: never."""
        moment_ns = self.data.moment_ns(self._last_byte(now_ns, size))
        return None if moment_ns is None else self.start_ns + moment_ns

    def take(self, now_ns: int, size: int) -> None:
        """This frame waits from now on."""
        self._passed = self._last_byte(now_ns, size)

    def latency_ns(self, now_ns: int) -> int:
        return self.data.delays_ns[self.data.row(self._since(now_ns))]

    def loss_ppm(self, now_ns: int) -> int:
        return self.data.losses_ppm[self.data.row(self._since(now_ns))]

    def _last_byte(self, now_ns: int, size: int) -> float:
        return max(self._passed, self.data.passed(self._since(now_ns))) + size

    def _since(self, now_ns: int) -> int:
        """Below 0 before its start."""
        return now_ns - self.start_ns if self.data.start_us else max(0, now_ns - self.start_ns)


class TraceFiles:
    """The traces that netemu has put into a folder, by their numbers."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def open(self, number: int) -> TraceData:
        with open(self._folder / str(number), "rb") as file:
            return TraceData(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


def playback_of(files: TraceFiles | None, number: int, now_ns: int) -> Playback | None:
    """None where a link follows no trace. now_ns: by the monotonic clock."""
    if not number or files is None:
        return None
    data = files.open(number)
    start_ns = now_ns - time.time_ns() + data.start_us * 1000 if data.start_us else now_ns
    return Playback(data, number, start_ns)
