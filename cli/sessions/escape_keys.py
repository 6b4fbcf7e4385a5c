"""Escape keys of the console: ctrl-a and one more key. Pure. Works byte by byte, since a read may end anywhere.

ctrl-a d leaves; ctrl-a a and ctrl-a ctrl-a send ctrl-a; ctrl-a r tells the node's shell the size of the window;
ctrl-a ? shows the keys; ctrl-a and any other key sends nothing.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

ESCAPE = 0x01

HELP = "ctrl-a d leaves the console; ctrl-a a sends ctrl-a; ctrl-a r sets the size of the window; ctrl-a ? shows this"


class EscapeCommand(enum.Enum):
    LEAVE = "leave"
    HELP = "help"
    WINDOW_SIZE = "window size"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Send:
    data: bytes


Action = Send | EscapeCommand

_COMMANDS = {ord("d"): EscapeCommand.LEAVE, ord("r"): EscapeCommand.WINDOW_SIZE, ord("?"): EscapeCommand.HELP}


class EscapeKeys:
    """`feed` turns typed bytes into actions; bytes after a LEAVE are dropped."""

    def __init__(self) -> None:
        self._escaped = False
        self._left = False

    def feed(self, data: bytes) -> list[Action]:
        actions: list[Action] = []
        plain = bytearray()
        for byte in data:
            if self._left:
                break
            if not self._escaped:
                if byte == ESCAPE:
                    self._escaped = True
                else:
                    plain.append(byte)
                continue
            self._escaped = False
            if byte in (ESCAPE, ord("a")):
                plain.append(ESCAPE)
                continue
            if plain:
                actions.append(Send(bytes(plain)))
                plain.clear()
            command = _COMMANDS.get(byte, EscapeCommand.UNKNOWN)
            self._left = command is EscapeCommand.LEAVE
            actions.append(command)
        if plain:
            actions.append(Send(bytes(plain)))
        return actions
