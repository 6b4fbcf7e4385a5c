"""Takes out of a replay what a terminal answers, since the answer would be typed into the node. Pure.

A program in the node may ask the terminal for its kind or its cursor (`ESC [ c`, `ESC [ 6 n`) and read the answer. In a
replay nobody waits for it any more but the shell, which would run it.
"""

from __future__ import annotations

import re

MAX_HELD_BYTES = 65_536

_PARAMETERS = rb"[\x00-\x1a\x1c-\x3f]*"  # and control characters, which terminals allow in between
_CONTROL = rb"(?:\x1b\[|\xc2\x9b)"
_STRING = rb"(?:\x1b[P\]_^X]|\xc2[\x90\x9d\x9f\x9e\x98])"
_SEQUENCE = re.compile(
    rb"\x05|\x1b[\x00-\x1a]*Z|\xc2\x9a"  # ENQ, DECID
    rb"|(?P<control>" + _CONTROL + _PARAMETERS + rb"[\x40-\x7e])"
    rb"|(?P<string>" + _STRING + rb"[^\x07\x1b]*(?:\x07|\x1b\\))"
)
_INCOMPLETE = re.compile(
    rb"(?:\x1b[\x00-\x1a]*|\xc2|" + _CONTROL + _PARAMETERS + rb"|" + _STRING + rb"[^\x07\x1b]*\x1b?)\Z"
)
# Device attributes, status and cursor, terminal parameters; version, modes, window, keyboard, graphics, checksum.
_CONTROL_QUERY = re.compile(
    rb"[\d;?>=<]*(?:[cnx]|[>?][\d;]*[qu]|\$[pw]|[\d;]*\*y|'[|w])|>[\d;]*q|\?[\d;]*[uS]|(?:1[1-9]|2[01])[\d;]*t"
)
_STRING_QUERY = re.compile(rb"[$+]q|.*\?", re.DOTALL)  # of settings, of capabilities, of colours and the clipboard


class ReplayFilter:
    """One replay, from its first byte on."""

    def __init__(self) -> None:
        self._held = b""

    def feed(self, data: bytes) -> bytes:
        """The next piece without its queries; an incomplete sequence is held back until it is complete."""
        data, self._held = _SEQUENCE.sub(_without_query, self._held + data), b""
        if (found := _INCOMPLETE.search(data)) and len(data) - found.start() <= MAX_HELD_BYTES:
            data, self._held = data[: found.start()], data[found.start() :]
        return data


def _without_query(found: re.Match[bytes]) -> bytes:
    if found["control"] is not None:
        body = re.sub(rb"[\x00-\x1a\x1c-\x1f]", b"", found[0][2:])
        return b"" if _CONTROL_QUERY.fullmatch(body) else found[0]
    if found["string"] is not None:
        return b"" if _STRING_QUERY.match(found[0][2:]) else found[0]
    return b""
