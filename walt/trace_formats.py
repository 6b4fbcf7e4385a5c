"""Files of traces in the formats of others, as traces of walt/contracts/traces.py. Pure.

  mahimahi   one line for each 1500 bytes that may pass: the millisecond, not below that of the line before (mm-link)
  theaterq   KEEP us,LATENCY ns,RATE bit/s,LOSS,LIMIT, or with JITTER behind LATENCY and four more at the end; LOSS as a
             share of 2^32 - 1; RATE -1: any. Its LIMIT, JITTER, duplicates, routes and queues are left out
  csv        a first line of names, `at` and one or more of bw, lat, loss; then rows of values as links have them:
                 at,bw,lat
                 0s,20Mbps,30ms
                 15s,5Mbps,45ms
                 20s,,
             `at` is since the start. The last row tells when the trace ends, and has no other values

Every fault names its line, the word, and what is allowed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TypeVar

from walt.contracts import traces, units
from walt.contracts.links import MAX_LATENCY_US, MAX_RATE_BPS, MAX_SHARE_PPM, MIN_RATE_BPS
from walt.contracts.traces import Trace
from walt.contracts.units import Faults

MAHIMAHI, THEATERQ, CSV = FORMATS = ("mahimahi", "theaterq", "csv")
MOMENT_BYTES = 1500
MAX_FILE_BYTES = 20_000_000
MAX_FAULTS = 20  # that are told of one file
THEATERQ_COLUMNS = (5, 10)
_U32 = 2**32 - 1

T = TypeVar("T")
Lines = Sequence[tuple[int, str]]  # (number, text)


def parse(text: str, kind: str, loops: bool) -> Trace:
    """The trace of a file of this format, one of FORMATS; Faults of its lines. loops: as it will be followed."""
    lines = [(number, line.strip("\r")) for number, line in enumerate(text.removesuffix("\n").split("\n"), 1)]
    if kind == MAHIMAHI:
        return _mahimahi(lines, loops)
    return _theaterq(lines) if kind == THEATERQ else _csv(lines)


def _mahimahi(lines: Lines, loops: bool) -> Trace:
    moments = _each(lines, lambda word: _whole(word, "a whole number of milliseconds", 0, traces.MAX_KEEP_US // 1000))
    for (_, before), (number, now) in pairwise(moments):
        if now < before:
            raise Faults(f"line {number}: '{now}' is below the line before; allowed: {before} or more")
    last = moments[-1][1]
    if not last:
        raise Faults(f"line {moments[-1][0]}: '0' ends the trace at its start; allowed: a last line above 0")
    passing = Counter(now for _, now in moments)
    if loops:  # the end of a run is the start of the next
        passing[0] += passing.pop(last)
    starts = sorted({0, *passing})
    traces.check_rows(len(starts))
    ends = [*starts[1:], last if loops else last + 1]
    keep_us = tuple((end - start) * 1000 for start, end in zip(starts, ends, strict=True))
    return traces.check(Trace(keep_us, pass_bytes=tuple(passing[one] * MOMENT_BYTES for one in starts)), first_line=1)


def _theaterq(lines: Lines) -> Trace:
    rows = [(number, line) for number, line in lines if line[:1].isdigit() or line[:1] == "-"]
    if not rows:
        raise Faults("no line begins with a number; allowed: KEEP,LATENCY,RATE,LOSS,LIMIT")
    traces.check_rows(len(rows))
    values = _each(rows, _theaterq_row)
    keep_us, latency_us, rate_bps, loss_ppm = map(tuple, zip(*(row for _, row in values), strict=True))
    paced = any(rate != MAX_RATE_BPS for rate in rate_bps)
    return traces.check(
        Trace(
            keep_us,
            rate_bps=rate_bps if paced else (),
            latency_us=latency_us,
            loss_ppm=loss_ppm if any(loss_ppm) else (),
        ),
        first_line=1,
    )


def _theaterq_row(line: str) -> tuple[int, int, int, int]:
    words = line.split(",")
    if len(words) not in THEATERQ_COLUMNS:
        raise ValueError(f"{' or '.join(map(str, THEATERQ_COLUMNS))} numbers with commas between them")
    at = 2 if len(words) == THEATERQ_COLUMNS[0] else 3
    keep_us = _whole(words[0], "KEEP, in us", 1, traces.MAX_KEEP_US)
    latency_ns = _whole(words[1], "LATENCY, in ns", 0, MAX_LATENCY_US * 1000)
    rate = words[at].strip()
    rate_bps = MAX_RATE_BPS if rate == "-1" else _whole(rate, "RATE, in bit/s, or -1", 0, MAX_RATE_BPS)
    loss = _whole(words[at + 1], "LOSS", 0, _U32)
    return keep_us, round(latency_ns / 1000), rate_bps, round(loss * MAX_SHARE_PPM / _U32)


def _rate(text: str) -> int:
    """Of a row it may be 0: nothing passes."""
    return 0 if text == "0" else units.parse_rate_bps(text)


# {name in the first line: (column, how it is read, the most, what is allowed)}
_CSV: dict[str, tuple[str, Callable[[str], int], int, str]] = {
    "at": ("at", units.parse_latency_us, traces.MAX_KEEP_US, units.LATENCY_RULE),
    "bw": ("rate_bps", _rate, MAX_RATE_BPS, f"0, or {units.RATE_RULE}"),
    "lat": ("latency_us", units.parse_latency_us, MAX_LATENCY_US, f"{units.LATENCY_RULE}, up to 60s"),
    "loss": ("loss_ppm", units.parse_share_ppm, MAX_SHARE_PPM, f"{units.SHARE_RULE}, up to 100%"),
}
_CSV_RULE = f"at, then one or more of {', '.join(list(_CSV)[1:])}, each once, with commas between them"


def _csv(lines: Lines) -> Trace:
    (head_number, head), *rows = lines
    names = [word.strip() for word in head.split(",")]
    if names[0] != "at" or len(names) < 2 or len(set(names)) < len(names) or not set(names) <= set(_CSV):
        raise Faults(f"line {head_number}: '{head[:80]}' does not name the columns; allowed: {_CSV_RULE}")
    if len(rows) < 2:
        raise Faults(f"line {head_number + len(rows)}: the trace has no row and no end; allowed: a line for each")
    traces.check_rows(len(rows) - 1)
    *values, end = _each(rows[:-1], lambda line: _csv_row(names, line)) + [_csv_end(names, *rows[-1])]
    times = [(number, row[0]) for number, row in (*values, end)]
    if times[0][1] != 0:
        raise Faults(f"line {times[0][0]}: a trace does not begin there; allowed: 0s in its first row")
    for (_, before), (number, now) in pairwise(times):
        if now <= before:
            raise Faults(f"line {number}: it is not after the line before; allowed: more than {before} us")
    keep_us = tuple(now - before for (_, before), (_, now) in pairwise(times))
    columns = dict(zip((_CSV[name][0] for name in names), zip(*(row for _, row in values), strict=True), strict=True))
    return traces.check(Trace(keep_us, **{name: column for name, column in columns.items() if name != "at"}), 2)


def _csv_row(names: Sequence[str], line: str) -> list[int]:
    words = [word.strip() for word in line.split(",")]
    if len(words) != len(names):
        raise ValueError(f"a value for each of {', '.join(names)}")
    return [_csv_value(name, word) for name, word in zip(names, words, strict=True)]


def _csv_end(names: Sequence[str], number: int, line: str) -> tuple[int, list[int]]:
    time, *others = [word.strip() for word in line.split(",")]
    if any(others) or len(others) >= len(names):
        raise Faults(f"line {number}: '{line[:80]}' does not end the trace; allowed: its time alone ('{time},')")
    return _each([(number, time)], lambda word: [_csv_value("at", word)])[0]


def _csv_value(name: str, word: str) -> int:
    _, read, most, rule = _CSV[name]
    try:
        value = 0 if name == "at" and word == "0" else read(word)
    except ValueError:
        value = -1
    if not 0 <= value <= most or (name == "bw" and 0 < value < MIN_RATE_BPS):
        raise Faults(f"'{word[:40]}' is not a value of {name}; allowed: {rule}")
    return value


def _whole(word: str, what: str, low: int, high: int) -> int:
    text = word.strip()
    if not (text.isascii() and text.isdigit() and len(text) < 20 and low <= int(text) <= high):
        raise Faults(f"'{text[:40]}' is not {what}; allowed: a whole number from {low} to {high}")
    return int(text)


def _each(lines: Lines, read: Callable[[str], T]) -> list[tuple[int, T]]:
    """Faults with the first of all that are wrong."""
    found, faults = list[tuple[int, T]](), list[str]()
    for number, line in lines:
        try:
            found.append((number, read(line)))
        except Faults as wrong:
            faults += [f"line {number}: {sentence}" for sentence in wrong.args]
        except ValueError as allowed:
            faults.append(f"line {number}: '{line[:80]}' is not a row; allowed: {allowed}")
        if len(faults) >= MAX_FAULTS:
            break
    if faults:
        raise Faults(*faults)
    return found
