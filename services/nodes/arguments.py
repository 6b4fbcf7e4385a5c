"""Pure: arguments as they come from the bus, where a user's program can send anything."""

from __future__ import annotations

from reprlib import repr as short
from typing import Any

from services.contracts.errors import InvalidRequest
from services.contracts.names import NODE_SETS
from services.nodes import journal
from services.nodes.journal import Query

MAX_ID = 2**63 - 1  # of the database
MAX_SECONDS = 2**53
MAX_CHARACTERS = 65_536  # of one argument: the longest names of all the nodes that the usual walt-net has room for


def text(name: str, value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise InvalidRequest(f"{name}={short(value)} is not a text; allowed: a text that is not empty")
    _check_length(name, len(value))
    if not value.isprintable():
        raise InvalidRequest(f"{name}={short(value)} cannot be printed; allowed: letters, digits, signs and spaces")
    return value


def node_set(value: Any) -> str:
    """What the names in it are is for others to say."""
    if not isinstance(value, str) or not value or not value.isprintable():
        raise InvalidRequest(
            f"{short(value)} is not a node set; allowed: names and {', '.join(NODE_SETS)}, split by commas"
        )
    _check_length("the node set", len(value))
    return value


def secret(name: str, value: Any) -> str:
    """As `text`, but a refusal does not repeat it."""
    if not isinstance(value, str):
        raise InvalidRequest(f"{name} is not a text; allowed: a text")
    return value


def texts(name: str, value: Any) -> list[str]:
    if not isinstance(value, list | tuple) or not all(isinstance(item, str) for item in value):
        raise InvalidRequest(f"{name}={short(value)} is not a list of texts; allowed: a list of texts")
    _check_length(name, sum(len(item) + 1 for item in value))
    return list(value)


def number(name: str, value: Any, low: int, high: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise InvalidRequest(f"{name}={short(value)} is not accepted; allowed: a whole number from {low} to {high}")
    return value


def seconds(name: str, value: Any) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value < MAX_SECONDS:
        raise InvalidRequest(f"{name}={short(value)} is not a time; allowed: seconds of the epoch, from 0")
    return float(value)


def event_query(since: Any, after: Any, limit: Any) -> Query:
    return Query(
        seconds("since", since), number("after", after, 0, MAX_ID), number("limit", limit, 1, journal.MAX_EVENTS)
    )


def flag(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise InvalidRequest(f"{name}={short(value)} is not a flag; allowed: true or false")
    return value


def _check_length(name: str, characters: int) -> None:
    """What is longer would keep the service from all others for too long."""
    if characters > MAX_CHARACTERS:
        raise InvalidRequest(f"{name} has {characters} characters; allowed: at most {MAX_CHARACTERS} in one command")
