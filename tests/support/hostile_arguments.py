"""Calls that no program of ours makes: each argument of each public method, and each field of what it holds, in turn
replaced by what it should not be."""

from __future__ import annotations

import dataclasses
import inspect
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from services.kit.bus.entrypoints import public_methods
from tests.support.amqp_user import AmqpUser
from walt.contracts.errors import WIRE_ERRORS

DEEP: Any = []
for _ in range(200):
    DEEP = [DEEP]

WORDS = ["", "\0", "\ud800", "\udc80", "\x1b[2J", "x" * 70_000, "9" * 5000, "../../etc/passwd", "a,b", "-x", "*"]
NUMBERS = [-1, True, 2**63, 10**400, 1.5, 1e308]
OTHERS = [None, [], [None], ["\ud800"], {}, {"\0": 1}, DEEP]
HOSTILE: list[Any] = [*WORDS, *NUMBERS, *OTHERS]
WITHIN: list[Any] = ["\ud800", "x" * 70_000, 10**400, None, DEEP]  # of what an argument holds


def hostile_calls(service: type, usual: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """(method, arguments). usual: arguments by their names, for those that are to pass the first look."""
    for method in public_methods(service):
        function = inspect.unwrap(getattr(service, method))
        hints = typing.get_type_hints(function)
        names = [name for name in inspect.signature(function).parameters if name != "self"]
        good = {name: usual.get(name, sample(hints[name])) for name in names}
        for name in names:
            for bad in spoilt(hints[name], good[name]):
                yield method, {**good, name: bad}


def sample(hint: Any) -> Any:
    """Something of this type."""
    kind, arguments = typing.get_origin(hint) or hint, typing.get_args(hint)
    if kind in (types.UnionType, typing.Union):
        return sample(next(one for one in arguments if one is not type(None)))
    if dataclasses.is_dataclass(kind):
        hints = typing.get_type_hints(kind)
        return {one.name: sample(hints[one.name]) for one in dataclasses.fields(kind)}
    if kind in (list, tuple):
        return [sample(arguments[0])]
    if kind is dict:
        return {"a": sample(arguments[1])}
    return {str: "a", int: 1, float: 1.0, bool: False}.get(kind, "a")


def spoilt(hint: Any, good: Any, values: Sequence[Any] = HOSTILE) -> Iterator[Any]:
    yield from values
    kind, arguments = typing.get_origin(hint) or hint, typing.get_args(hint)
    if kind in (types.UnionType, typing.Union):
        hint = next(one for one in arguments if one is not type(None))
        kind, arguments = typing.get_origin(hint) or hint, typing.get_args(hint)
    if dataclasses.is_dataclass(kind) and isinstance(good, dict):
        hints = typing.get_type_hints(kind)
        for name, value in good.items():
            yield from ({**good, name: bad} for bad in spoilt(hints[name], value, WITHIN))
    elif kind in (list, tuple) and good:
        yield from ([bad] for bad in spoilt(arguments[0], good[0], WITHIN))
    elif kind is dict and good:
        yield from ({"a": bad} for bad in spoilt(arguments[1], good["a"], WITHIN))
        yield from ({word: good["a"]} for word in ("\ud800", "\0", "x" * 70_000))


def faults(user: AmqpUser, service: type, usual: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Of calls that ended otherwise than with a result or an error of the contract."""
    found = []
    for method, arguments in hostile_calls(service, usual):
        error = user.reply(f"{prefix or service.name}.{method}", user_id=user.name, **arguments)["error"]
        if error and error["exc_type"] not in WIRE_ERRORS:
            found.append(f"{method} {str(arguments)[:200]!r}: {error['exc_type']}: {str(error['value'])[:200]}")
    return found
