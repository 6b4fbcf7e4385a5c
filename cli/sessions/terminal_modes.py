"""What programs in a node did to the user's terminal, and how to undo it. Pure.

Sequences: ECMA-48 and xterm's control sequences; the keyboard protocols of xterm (modifyOtherKeys) and kitty.
"""

from __future__ import annotations

import re

MAX_HELD_BYTES = 64

_SEQUENCE = re.compile(
    rb"\x1b(?:\[(?P<prefix>[?<>]?)(?P<parameters>[\d;]*)(?P<final>[a-zA-Z])|(?P<single>[=>c])|[()](?P<charset>.))"
    rb"|(?P<shift>[\x0e\x0f])",
    re.DOTALL,
)
_INCOMPLETE = re.compile(rb"\x1b(?:\[[?<>]?[\d;]*|[()])?\Z")

_SET_AT_FIRST = {b"7", b"25"}  # lines wrap, the cursor is visible
_OTHER_SCREEN = {b"47", b"1047", b"1049"}
_STYLE, _INSERT, _KEYPAD, _MARGINS, _CHARSET = "style", "insert", "keypad", "margins", "charset"
_MODIFIED_KEYS, _KEYBOARD = "modified keys", "keyboard"
_UNDO = {
    _STYLE: b"\x1b[0m",
    _INSERT: b"\x1b[4l",
    _KEYPAD: b"\x1b>",
    _MARGINS: b"\x1b7\x1b[r\x1b8",  # resetting the margins moves the cursor: it is saved and restored
    _MODIFIED_KEYS: b"\x1b[>4m",
    _KEYBOARD: b"\x1b[<9u",
    _CHARSET: b"\x1b(B\x0f",
}


class TerminalModes:
    """The modes after all output so far; a terminal begins with the usual ones."""

    def __init__(self) -> None:
        self._held = b""
        self._private: set[bytes] = set()  # modes of DECSET that are not as at first
        self._changed: set[str] = set()  # keys of _UNDO

    def feed(self, data: bytes) -> None:
        data, self._held = self._held + data, b""
        for found in _SEQUENCE.finditer(data):
            self._apply(found)
        if (tail := _INCOMPLETE.search(data)) and len(tail[0]) <= MAX_HELD_BYTES:
            self._held = tail[0]

    def undo(self) -> bytes:
        """What to write to the terminal; the main screen comes last, as it restores the cursor."""
        modes = sorted(self._private, key=lambda mode: (mode in _OTHER_SCREEN, mode))
        private = [b"\x1b[?" + mode + (b"h" if mode in _SET_AT_FIRST else b"l") for mode in modes]
        others = [_UNDO[one] for one in sorted(self._changed)]
        return b"".join([*others, *private])

    def _apply(self, found: re.Match[bytes]) -> None:
        if found["single"] == b"c":  # a full reset
            self._private.clear()
            self._changed.clear()
        elif found["single"]:
            self._note(_KEYPAD, found["single"] == b"=")
        elif found["charset"]:
            self._note(_CHARSET, found["charset"] != b"B")
        elif found["shift"]:
            self._note(_CHARSET, found["shift"] == b"\x0e")
        else:
            self._apply_control(found["prefix"], found["parameters"], found["final"])

    def _apply_control(self, prefix: bytes, parameters: bytes, final: bytes) -> None:
        match prefix, final:
            case b"?", b"h" | b"l":
                for mode in filter(None, parameters.split(b";")):
                    self._set_private(mode, is_set=final == b"h")
            case b"", b"h" | b"l" if parameters == b"4":
                self._note(_INSERT, final == b"h")
            case b"", b"r":
                self._note(_MARGINS, bool(parameters.strip(b"0;")))
            case b"", b"m":
                self._note(_STYLE, bool(parameters.strip(b"0;")))
            case b">", b"m" if parameters.startswith(b"4"):
                self._note(_MODIFIED_KEYS, parameters not in (b"4", b"4;0"))
            case b">", b"u":
                self._note(_KEYBOARD, True)
            case b"<", b"u":
                self._note(_KEYBOARD, False)

    def _set_private(self, mode: bytes, *, is_set: bool) -> None:
        if is_set == (mode in _SET_AT_FIRST):
            self._private.discard(mode)
        else:
            self._private.add(mode)

    def _note(self, what: str, changed: bool) -> None:
        (self._changed.add if changed else self._changed.discard)(what)
