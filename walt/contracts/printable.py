"""Text of users and nodes as it is shown and logged: what would control a terminal, or begin a line, is escaped."""

from __future__ import annotations


def printable(text: str) -> str:
    """On one line: all but printable characters and blanks (so newlines, ESC, C0, C1, bidi controls) as in a literal.

    >>> printable("a\\x1b[2J\\nb")
    'a\\\\x1b[2J\\\\nb'
    """
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else repr(one)[1:-1] for one in text)


def printable_lines(text: str) -> str:
    """The same, but newlines stay."""
    return "\n".join(map(printable, text.split("\n")))
