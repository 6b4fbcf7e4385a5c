"""What commands print: messages, progress, colours, ages. stdout is data; `say` writes messages to stderr.

The data of read commands is printed by `forms`.
"""

from __future__ import annotations

import math
import os
import sys
from typing import IO, Any

import click

RED, YELLOW, GREEN = "red", "yellow", "green"


def printable(text: str) -> str:
    return "".join(one if one.isprintable() else repr(one)[1:-1] for one in text)


def age(seconds: float) -> str:
    """'12s', '3m', '5h', '2d': the largest unit that leaves at least one. A clock behind ours is age 0."""
    whole = math.floor(max(seconds, 0))
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if whole >= length:
            return f"{whole // length}{unit}"
    return f"{whole}s"


def coloured(text: str, colour: str | None, stream: IO[Any]) -> str:
    """Colour on a terminal that wants it (https://no-color.org)."""
    if colour is None or os.environ.get("NO_COLOR") or not stream.isatty():
        return text
    return click.style(text, fg=colour)


def say(sentence: str) -> None:
    """A message for the person, on stderr: data on stdout stays clean."""
    click.echo(printable(sentence), err=True)


class Progress:
    """One line on stderr that is rewritten in place; nothing at all when stderr is not a terminal."""

    def __init__(self) -> None:
        self._stream = sys.stderr
        self._shown = ""

    def show(self, text: str) -> None:
        if not self._stream.isatty() or text == self._shown:
            return
        self._shown = text
        columns = os.get_terminal_size(self._stream.fileno()).columns or 80
        self._stream.write(f"\r\x1b[K{printable(text)[: columns - 1]}")
        self._stream.flush()

    def clear(self) -> None:
        if self._shown:
            self._shown = ""
            self._stream.write("\r\x1b[K")
            self._stream.flush()
