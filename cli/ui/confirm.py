"""Commands that are refused without --force: a person at a terminal is asked for confirmation, a script never is."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TypeVar

import click

from walt.contracts.errors import Refused

from .messages import ask, print_message

T = TypeVar("T")


def confirm_force(command: Callable[[bool], T], force: bool) -> T:
    """`command(force)`; when it is refused, force would help and a person confirms, `command(True)`."""
    try:
        return command(force)
    except Refused as refusal:
        if force or not refusal.force_helps or not sys.stdin.isatty():
            raise
        for sentence in refusal.args:
            print_message(f"walt: {sentence}")
        if not _is_confirmed():
            raise type(refusal)("nothing was changed") from None
        return command(True)


def _is_confirmed() -> bool:
    try:
        return ask("Do it anyway?", default=False)
    except click.Abort:
        print_message("")  # ends the line of the question
        raise
