"""What is refused without --force: a person at a terminal is asked, nobody else ever is."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import click

from cli.output import say
from services.contracts.errors import Conflict, NotOwner, Refused

FORCE = "--force"


def insist(order: Callable[[bool], Any], force: bool) -> Any:
    """`order(force)`. A service says that force would help by naming the flag in its refusal; that refusal stands
    unless a person answers yes to it."""
    try:
        return order(force)
    except (Conflict, NotOwner) as refusal:
        if force or not would_help(refusal) or not sys.stdin.isatty():
            raise
        for sentence in refusal.args:
            say(f"walt: {sentence}")
        if not _confirmed():
            raise type(refusal)("nothing was changed") from None
        return order(True)


def _confirmed() -> bool:
    try:
        return click.confirm("Do it all the same?", default=False, err=True)
    except click.Abort:
        say("")  # ends the line of the question
        raise


def would_help(refusal: Refused) -> bool:
    return any(FORCE in str(sentence) for sentence in refusal.args)
