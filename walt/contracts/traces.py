"""A trace: rate, delay and loss of one direction of a link as functions of time. Pure.

It is a list of rows, each of which holds for some time. A column that it does not have is left to the other options of
the link: without rates `bw` holds, without losses `loss`. Delays are added to `lat`; those of a schedule may be below
0. `pass_bytes` is for traces of mahimahi: so many bytes may pass at the first moment of the row, if they wait there;
otherwise the moment is lost.

On the wire a trace is a text: the first line names its columns, each further line is a row of whole numbers.

    keep_us rate_bps latency_us
    15000000 250000000 40000
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from walt.contracts.links import MAX_LATENCY_US, MAX_RATE_BPS, MAX_SHARE_PPM
from walt.contracts.units import Faults

MAX_ROWS = 100_000
MAX_TEXT = 1_500_000  # characters
MAX_KEEP_US = 86_400_000_000
MAX_PASS_BYTES = 2**30
TRACES_OF_ONE = 50  # of one account, besides those of schedules
ROWS_OF_ONE = 500_000

_NUMBER = re.compile(r"-?[0-9]{1,15}", re.ASCII)

KEEP = "keep_us"
MAXIMA = {
    KEEP: MAX_KEEP_US,
    "rate_bps": MAX_RATE_BPS,
    "latency_us": MAX_LATENCY_US,
    "loss_ppm": MAX_SHARE_PPM,
    "pass_bytes": MAX_PASS_BYTES,
}
COLUMNS_RULE = f"{KEEP}, then one or more of {', '.join(list(MAXIMA)[1:])}, each once"


@dataclass(frozen=True)
class Trace:
    """Columns of equal length; () for one that it does not have."""

    keep_us: tuple[int, ...]
    rate_bps: tuple[int, ...] = ()
    latency_us: tuple[int, ...] = ()
    loss_ppm: tuple[int, ...] = ()
    pass_bytes: tuple[int, ...] = ()

    @property
    def columns(self) -> dict[str, tuple[int, ...]]:
        """Those that it has, by name."""
        return {name: column for name in MAXIMA if (column := getattr(self, name))}

    @property
    def length_us(self) -> int:
        return sum(self.keep_us)

    @property
    def total_bytes(self) -> float:
        """That may pass in its length; 0 for one that leaves the rate alone."""
        paced = zip(self.keep_us, self.rate_bps, strict=False)
        return sum(self.pass_bytes) + sum(keep * rate for keep, rate in paced) / 8e6


@dataclass(frozen=True)
class TraceContent:
    """What agents need: `text` as `write` makes it; loops: it begins again at its end, else its last row holds;
    start_us: of the epoch, before which its first row holds; 0: it begins when a link is set to follow it."""

    text: str
    loops: bool = True
    start_us: int = 0


@dataclass(frozen=True)
class TraceView:
    """One trace of an account. at: epoch seconds of its import; mean_bps: None for one that leaves the rate alone;
    used_by: 'vnode1 (home-net)', …; start_us: as in TraceContent; one of a schedule has one."""

    name: str
    at: float
    loops: bool
    rows: int
    length_us: int
    columns: tuple[str, ...]
    mean_bps: int | None = None
    min_latency_us: int | None = None
    max_latency_us: int | None = None
    used_by: tuple[str, ...] = ()
    start_us: int = 0


def write(trace: Trace) -> str:
    columns = trace.columns
    rows = (" ".join(map(str, row)) for row in zip(*columns.values(), strict=True))
    return "\n".join([" ".join(columns), *rows, ""])


def read(text: str) -> Trace:
    """The trace of a text as `write` makes it; Faults, of which each names its line."""
    if len(text) > MAX_TEXT:
        raise Faults(f"a trace of {len(text)} characters; allowed: {MAX_TEXT} (cut it into parts)")
    head, *lines = text.split("\n")
    names = head.split(" ")
    if names[0] != KEEP or len(names) < 2 or len(set(names)) < len(names) or not set(names) <= set(MAXIMA):
        raise Faults(f"line 1: '{head[:80]}' does not name the columns of a trace; allowed: {COLUMNS_RULE}")
    if lines and not lines[-1]:
        lines.pop()
    check_rows(len(lines))
    rows = [_row(number, line, len(names)) for number, line in enumerate(lines, 2)]
    return check(Trace(**dict(zip(names, map(tuple, zip(*rows, strict=True)), strict=True))), first_line=2)


def check_rows(rows: int) -> None:
    if not 1 <= rows <= MAX_ROWS:
        raise Faults(f"a trace of {rows} rows; allowed: 1 to {MAX_ROWS} (cut it into parts)")


def check(trace: Trace, first_line: int) -> Trace:
    """The trace itself; Faults, where rows begin in that line."""
    check_rows(len(trace.keep_us))
    faults = list(_out_of_range(trace, first_line))
    if not faults and (trace.rate_bps or trace.pass_bytes) and not trace.total_bytes:
        faults.append("it lets nothing pass in all its length; allowed: a rate above 0 in one row at least")
    if not faults and trace.rate_bps and trace.pass_bytes:
        faults.append("it has rate_bps and pass_bytes; allowed: one of them")
    if faults:
        raise Faults(*faults)
    return trace


def _out_of_range(trace: Trace, first_line: int) -> Iterator[str]:
    """At most a sentence for each column."""
    for name, column in trace.columns.items():
        low, high = _minimum(name), MAXIMA[name]
        if not low <= min(column) <= max(column) <= high:
            row, value = next((row, value) for row, value in enumerate(column) if not low <= value <= high)
            yield f"line {row + first_line}: {name} {value} is out of range; allowed: {low} to {high}"
    if trace.length_us > MAX_KEEP_US:
        yield f"it is {trace.length_us / 1e6:.0f} s long; allowed: a day at most"


def _minimum(name: str) -> int:
    return -MAX_LATENCY_US if name == "latency_us" else int(name == KEEP)


def _row(number: int, line: str, columns: int) -> list[int]:
    words = line.split(" ")
    if len(words) == columns and all(_NUMBER.fullmatch(word) for word in words):
        return [int(word) for word in words]
    raise Faults(f"line {number}: '{line[:80]}' is not a row; allowed: {columns} whole numbers")
