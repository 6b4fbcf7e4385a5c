"""Pure: arguments as they come from the bus, where a user's program can send anything."""

from __future__ import annotations

from typing import Any

from services.contracts.errors import InvalidRequest


def text(name: str, value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise InvalidRequest(f"{name}={value!r} is not a text; allowed: a text that is not empty")
    return value


def texts(name: str, value: Any) -> list[str]:
    if not isinstance(value, list | tuple) or not all(isinstance(item, str) for item in value):
        raise InvalidRequest(f"{name}={value!r} is not a list of texts; allowed: a list of texts")
    return list(value)


def flag(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise InvalidRequest(f"{name}={value!r} is not a flag; allowed: true or false")
    return value
