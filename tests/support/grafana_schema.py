"""A dashboard against Grafana's own schema, as the models of its SDK have it."""

from __future__ import annotations

import json
import types
import typing
from collections.abc import Iterator
from enum import Enum
from typing import Any

from grafana_foundation_sdk.cog import plugins
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard

plugins.register_default_plugins()  # models of the panels and of the queries to Prometheus


def faults(board: dict[str, Any]) -> list[str]:
    """Paths of the fields that the models do not know, which Grafana would drop without a word, and of values of a
    wrong type."""
    read = Dashboard.from_json(board)
    written = json.loads(JSONEncoder().encode(read))
    return [*_differences(board, written, ""), *_wrong_types(read, Dashboard, "")]


def _differences(mine: Any, theirs: Any, path: str) -> Iterator[str]:
    if isinstance(mine, dict) and isinstance(theirs, dict):
        for key, value in mine.items():
            yield from _differences(value, theirs.get(key), f"{path}/{key}")
    elif isinstance(mine, list) and isinstance(theirs, list) and len(mine) == len(theirs):
        for number, value in enumerate(mine):
            yield from _differences(value, theirs[number], f"{path}/{number}")
    elif mine != theirs:
        yield path


def _wrong_types(value: Any, hint: Any, path: str) -> Iterator[str]:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        found = [list(_wrong_types(value, one, path)) for one in arguments]
        yield from min(found, key=lambda paths: -len(paths[0]) if paths else -1000)  # that which fits best
    elif origin is list and isinstance(value, list):
        for number, item in enumerate(value):
            yield from _wrong_types(item, arguments[0], f"{path}/{number}")
    elif origin is dict and isinstance(value, dict):
        for key, item in value.items():
            yield from _wrong_types(item, arguments[1], f"{path}/{key}")
    elif origin is typing.Literal:
        yield from [] if value in arguments else [path]
    elif isinstance(hint, type) and issubclass(hint, Enum):
        yield from [] if value in [member.value for member in hint] else [path]
    elif not isinstance(value, (float, int) if hint is float else origin or hint):
        yield path
    elif hasattr(type(value), "from_json"):
        hints = typing.get_type_hints(type(value))  # of a panel's options: `hint` is only object
        for key, item in vars(value).items():
            yield from _wrong_types(item, hints[key], f"{path}/{key}")
