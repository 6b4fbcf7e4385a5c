"""Pure: arguments as they come from the bus, where a user's program can send anything."""

from __future__ import annotations

from typing import Any

from services.contracts.errors import InvalidRequest
from services.nodes import journal
from services.nodes.journal import Query

MAX_ID = 2**63 - 1  # of the database
MAX_SECONDS = 2**53


def text(name: str, value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise InvalidRequest(f"{name}={value!r} is not a text; allowed: a text that is not empty")
    return value


def secret(name: str, value: Any) -> str:
    """As `text`, but a refusal does not repeat it."""
    if not isinstance(value, str):
        raise InvalidRequest(f"{name} is not a text; allowed: a text")
    return value


def texts(name: str, value: Any) -> list[str]:
    if not isinstance(value, list | tuple) or not all(isinstance(item, str) for item in value):
        raise InvalidRequest(f"{name}={value!r} is not a list of texts; allowed: a list of texts")
    return list(value)


def number(name: str, value: Any, low: int, high: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise InvalidRequest(f"{name}={value!r} is not accepted; allowed: a whole number from {low} to {high}")
    return value


def seconds(name: str, value: Any) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value < MAX_SECONDS:
        raise InvalidRequest(f"{name}={value!r} is not a time; allowed: seconds of the epoch, from 0")
    return float(value)


def event_query(since: Any, after: Any, limit: Any) -> Query:
    return Query(
        seconds("since", since), number("after", after, 0, MAX_ID), number("limit", limit, 1, journal.MAX_EVENTS)
    )


def flag(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise InvalidRequest(f"{name}={value!r} is not a flag; allowed: true or false")
    return value
