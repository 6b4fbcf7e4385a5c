"""Names of traces, as numbers: the value of the link option `trace`, as all values of links are numbers. Pure.

A name is a number written with the 37 characters of DIGITS, of which none stands for nothing (bijective numeration); 0
is no trace. In a spec (NodeWanted) the number is the id of the trace instead, as a name may mean another trace later.
"""

from __future__ import annotations

import re

DIGITS = "abcdefghijklmnopqrstuvwxyz0123456789-"
MAX_LETTERS = 16
NO_TRACE = "none"
OF_SCHEDULES = "at-"  # how the names of traces begin that schedules have become
NAME_RULE = f"a small letter first, then small letters, digits and '-', at most {MAX_LETTERS} characters"
RULE = f"none, or the name of a trace ({NAME_RULE})"

_NAME = re.compile(rf"[a-z][a-z0-9-]{{0,{MAX_LETTERS - 1}}}", re.ASCII)


def is_name(text: str) -> bool:
    return text != NO_TRACE and _NAME.fullmatch(text) is not None


def parse(text: str) -> int:
    """'lte' -> its number, 'none' -> 0; ValueError(what is allowed)."""
    if text == NO_TRACE:
        return 0
    if not is_name(text):
        raise ValueError(RULE)
    number = 0
    for letter in text:
        number = number * len(DIGITS) + DIGITS.index(letter) + 1
    return number


def format_number(number: int) -> str:
    letters = ""
    while number:
        number, digit = divmod(number - 1, len(DIGITS))
        letters = DIGITS[digit] + letters
    return letters or NO_TRACE


MAX_NUMBER = parse("z" + DIGITS[-1] * (MAX_LETTERS - 1))
MAX_ID = 2**31 - 1
