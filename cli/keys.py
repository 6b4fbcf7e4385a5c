"""Escape keys of the console: ctrl-a and one more key. Pure, and byte-wise: reads may end anywhere.

ctrl-a d leaves; ctrl-a a and ctrl-a ctrl-a send ctrl-a; ctrl-a ? helps; any other key after ctrl-a sends nothing.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

ESCAPE = 0x01

HELP = "ctrl-a d leaves the console; ctrl-a a sends ctrl-a; ctrl-a ? shows this"


class Order(enum.Enum):
    LEAVE = "leave"
    HELP = "help"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Send:
    data: bytes


Action = Send | Order

_ORDERS = {ord("d"): Order.LEAVE, ord("?"): Order.HELP}


class EscapeKeys:
    """Feeds on what was typed; what follows a LEAVE is dropped."""

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
            order = _ORDERS.get(byte, Order.UNKNOWN)
            self._left = order is Order.LEAVE
            actions.append(order)
        if plain:
            actions.append(Send(bytes(plain)))
        return actions
