"""Quantities as users write them. Parsers raise ValueError(what is allowed); they never clamp.

Times are whole microseconds, rates bits per second (decimal), memory bytes (binary units), disks bytes (decimal
units, as the original has them and as disks are sold), shares of frames parts per million.

What has parts (disks, networks, the options of a link) is parsed part by part: `Faults` tells of all that are wrong.
"""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from typing import TypeVar

Parsed = TypeVar("Parsed")
Named = TypeVar("Named")

LATENCY_UNITS_US = {"us": 1, "ms": 1_000, "s": 1_000_000}
RATE_UNITS_BPS = {"kbps": 10**3, "mbps": 10**6, "gbps": 10**9}
RATE_NAMES = {"kbps": "kbps", "mbps": "Mbps", "gbps": "Gbps"}
MEMORY_UNITS_BYTES = {"M": 2**20, "G": 2**30}
DISK_UNITS_BYTES = {"M": 10**6, "G": 10**9, "T": 10**12}
PPM_PER_PERCENT = 10_000

_QUANTITY = re.compile(r"([0-9]+(?:\.[0-9]+)?)([A-Za-z]+)", re.ASCII)
_WHOLE = re.compile(r"[0-9]{1,18}", re.ASCII)
_SHARE = re.compile(r"([0-9]{1,3}(?:\.[0-9]{1,10})?)%", re.ASCII)

LATENCY_RULE = "a number with us, ms or s, down to 1 us (10ms, 10.15ms, 10150us)"
RATE_RULE = "a number above 0 with kbps, Mbps or Gbps (512kbps, 100Mbps, 1.5Gbps)"
MEMORY_RULE = "a whole number with M or G (512M, 2G)"
DISK_RULE = "a whole number above 0 with M, G or T (256M, 32G, 1T)"
SHARE_RULE = "a percentage with at most 4 decimals (1%, 0.1%, 12.5%)"
COUNT_RULE = "a whole number"


class Faults(ValueError):
    """Of parts of a value: a whole sentence for each, naming the part and what is allowed."""

    def __init__(self, *sentences: str) -> None:
        super().__init__(*dict.fromkeys(sentences))

    def __str__(self) -> str:
        return "\n".join(self.args)


def parse_each(parse: Callable[[str], Parsed], parts: Iterable[str], faults: list[str]) -> list[Parsed]:
    """The parts that are right; what is wrong with the others goes to `faults`."""
    parsed = []
    for part in parts:
        try:
            parsed.append(parse(part))
        except Faults as found:
            faults += found.args
    return parsed


def doubled(parts: Iterable[str]) -> list[str]:
    """Each that is there more than once, in their order."""
    return [part for part, count in Counter(parts).items() if count > 1]


def split_named(text: str, table: Mapping[str, Named], kind: str, example: str) -> tuple[Named, str]:
    """'ram=2G' -> what the table has under 'ram', and '2G'. kind: what a fault calls it ('setting')."""
    name, equals, value = text.partition("=")
    if not equals:
        raise Faults(f"'{text}' is not a {kind}; allowed: NAME=VALUE, for instance {example}")
    if name not in table:
        raise Faults(f"'{name}' is not a {kind}{nearest(name, table)}; allowed: {', '.join(table)}")
    return table[name], value


def nearest(word: str, known: Iterable[str]) -> str:
    """' (did you mean ram?)', or nothing when no known word is near."""
    near = difflib.get_close_matches(word, list(known), n=1)
    return f" (did you mean {near[0]}?)" if near else ""


def parse_whole(text: str) -> int:
    if not _WHOLE.fullmatch(text):
        raise ValueError("a whole number")
    return int(text)


def parse_latency_us(text: str) -> int:
    return _scaled(text, LATENCY_UNITS_US, LATENCY_RULE)


def parse_rate_bps(text: str) -> int:
    rate = _scaled(text, RATE_UNITS_BPS, RATE_RULE)
    if rate == 0:
        raise ValueError(RATE_RULE)
    return rate


def parse_memory_bytes(text: str) -> int:
    number, unit = text[:-1], text[-1:]
    if unit not in MEMORY_UNITS_BYTES or not _WHOLE.fullmatch(number):
        raise ValueError(MEMORY_RULE)
    return int(number) * MEMORY_UNITS_BYTES[unit]


def parse_disk_bytes(text: str) -> int:
    number, unit = text[:-1], text[-1:]
    if unit not in DISK_UNITS_BYTES or not _WHOLE.fullmatch(number) or int(number) == 0:
        raise ValueError(DISK_RULE)
    return int(number) * DISK_UNITS_BYTES[unit]


def parse_share_ppm(text: str) -> int:
    """'0.1%' -> 1000 parts per million."""
    match = _SHARE.fullmatch(text)
    value = Decimal(match[1]) * PPM_PER_PERCENT if match else None
    if value is None or value != int(value):
        raise ValueError(SHARE_RULE)
    return int(value)


def format_latency(latency_us: int) -> str:
    return _in_largest_unit(latency_us, LATENCY_UNITS_US)


def format_rate(rate_bps: int) -> str:
    text = _in_largest_unit(rate_bps, RATE_UNITS_BPS)
    for unit, name in RATE_NAMES.items():
        text = text.replace(unit, name)
    return text


def format_memory(memory_bytes: int) -> str:
    unit = "G" if memory_bytes % MEMORY_UNITS_BYTES["G"] == 0 else "M"
    return f"{memory_bytes // MEMORY_UNITS_BYTES[unit]}{unit}"


def format_disk(disk_bytes: int) -> str:
    """The largest unit that leaves a whole number: 1500 GB -> '1500G'."""
    units = [one for one in DISK_UNITS_BYTES if disk_bytes and disk_bytes % DISK_UNITS_BYTES[one] == 0]
    unit = units[-1] if units else "M"
    return f"{disk_bytes // DISK_UNITS_BYTES[unit]}{unit}"


def format_size(size_bytes: int) -> str:
    """How much there is of something, '1.23 GB': rounded, for people to read; in decimal units, as disks are."""
    value, units = float(size_bytes), ["bytes", "kB", "MB", "GB", "TB"]
    while value >= 999.5 and len(units) > 1:
        value, units = value / 1000, units[1:]
    return f"{value:.3g} {units[0]}"


def format_share(share_ppm: int) -> str:
    text = f"{Decimal(share_ppm) / PPM_PER_PERCENT:f}"
    return (text.rstrip("0").rstrip(".") if "." in text else text) + "%"


def _scaled(text: str, units: dict[str, int], rule: str) -> int:
    match = _QUANTITY.fullmatch(text)
    unit = match and match[2].lower()
    if not match or len(match[1]) > 20 or unit not in units:
        raise ValueError(rule)
    value = Decimal(match[1]) * units[unit]
    if value != int(value):
        raise ValueError(rule)
    return int(value)


def _in_largest_unit(value: int, units: dict[str, int]) -> str:
    """The largest unit that leaves at least 1 before the point: 10150 -> '10.15ms'."""
    unit = next((u for u in reversed(units) if value >= units[u]), next(iter(units)))
    number = Decimal(value) / units[unit]
    return f"{number.normalize():f}{unit}"


def split_outside_brackets(text: str) -> list[str]:
    """'a[x=1,y=2],b' -> ['a[x=1,y=2]', 'b']."""
    items, depth, start = [], 0, 0
    for position, character in enumerate(text):
        depth += {"[": 1, "]": -1}.get(character, 0)
        if character == "," and depth == 0:
            items.append(text[start:position])
            start = position + 1
    return [*items, text[start:]]
