"""What commands print beside data, on stderr: messages and progress; colours and ages. `tables` prints data."""

from __future__ import annotations

import math
import os
import sys
from collections import Counter
from collections.abc import Iterable
from typing import IO, Any

import click

from walt.contracts.printable import printable

RED, YELLOW, GREEN = "red", "yellow", "green"


def counted(sentences: Iterable[object]) -> list[str]:
    """Each once, in order; those that are repeated with their number: ['a', 'b', 'a'] -> ['a (2 times)', 'b']"""
    counts = Counter(map(str, sentences))
    return [f"{sentence} ({times} times)" if times > 1 else sentence for sentence, times in counts.items()]


def age(seconds: float) -> str:
    """'12s', '3m', '5h', '2d': the largest unit that leaves at least one. Never negative."""
    whole = math.floor(max(seconds, 0))
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if whole >= length:
            return f"{whole // length}{unit}"
    return f"{whole}s"


def coloured(text: str, colour: str | None, stream: IO[Any]) -> str:
    """Coloured on a terminal, unless NO_COLOR is set (https://no-color.org)."""
    if colour is None or os.environ.get("NO_COLOR") or not stream.isatty():
        return text
    return click.style(text, fg=colour)


def print_message(text: str) -> None:
    """A message for people: on stderr, control characters shown as escapes."""
    click.echo(printable(text), err=True)


def ask(question: str, *, default: bool) -> bool:
    return click.confirm(printable(question), default=default, err=True)


class Progress:
    """One line on stderr that is rewritten in place; nothing when stderr is not a terminal."""

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
