"""The type and the size of a user's terminal."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated

from marshmallow.validate import Range, Regexp

from walt.contracts.errors import InvalidRequest

MAX_SIDE = 10_000
_SIZE = re.compile(rb"([0-9]{1,5}) ([0-9]{1,5})")

TerminalType = Annotated[
    str,
    Regexp(
        re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,63}\Z", re.ASCII),
        error="is not a terminal type; allowed: letters, digits and '._+-'",
    ),
]
Side = Annotated[int, Range(1, MAX_SIDE, error=f"is not a size; allowed: 1 to {MAX_SIDE}")]


@dataclass(frozen=True)
class TerminalSize:
    rows: int
    columns: int


@dataclass(frozen=True)
class TerminalRequest:
    """term: as in the environment variable TERM."""

    term: TerminalType
    rows: Side
    columns: Side

    @property
    def size(self) -> TerminalSize:
        return TerminalSize(self.rows, self.columns)


def parse_size(body: bytes) -> TerminalSize:
    """b'24 80', the body of a RESIZE."""
    match = _SIZE.fullmatch(body)
    if match and all(1 <= int(side) <= MAX_SIDE for side in match.groups()):
        return TerminalSize(int(match[1]), int(match[2]))
    raise InvalidRequest(f"{body[:40]!r} is not a size; allowed: ROWS COLUMNS, 1 to {MAX_SIDE} each")
