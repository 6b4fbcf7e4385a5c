"""The arguments and the result of an RPC method, checked and converted by its type hints.

    def publish_boot(self, request: BootRequest, again: bool = False) -> BootPlan: ...

`Signature(publish_boot).load([], {"request": {…}})` returns {"request": BootRequest(…)}, and raises InvalidRequest that
names the argument, its value and what is wrong with it. Bounds are marshmallow validators: `Annotated[str,
Length(max=64)]`.
"""

from __future__ import annotations

import dataclasses
import inspect
import itertools
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Annotated, Any

from marshmallow import RAISE, Schema, ValidationError

from walt.contracts import serialization
from walt.contracts.errors import InvalidRequest, UnknownArgument

SHOWN_CHARACTERS = 60  # of a value that is refused


def never_shown(value: Any) -> None:
    """A marker: no error shows the value of a `Secret`."""


Secret = Annotated[str, never_shown]
SHOWN_FAULTS = 100  # of one request: a list can hold a million


class Signature:
    """Of one method: its parameters after `self`. The schema is made at the first call: its types must be importable
    then."""

    def __init__(self, method: Callable[..., Any]) -> None:
        self._method = method
        self._parameters = list(inspect.signature(method).parameters.values())[1:]
        self._schema: Schema | None = None

    def load(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """Values by name, without those that were not given. InvalidRequest with one sentence for each fault."""
        names = [parameter.name for parameter in self._parameters]
        if len(args) > len(names):
            raise InvalidRequest(f"{self._method.__name__} takes {len(names)} arguments; {len(args)} were given")
        given = dict(zip(names, args, strict=False))
        if unknown := sorted(set(kwargs) & set(given) | set(kwargs) - set(names)):
            allowed = ", ".join(names) or "none"
            raise UnknownArgument(
                *(f"'{name}' is not an argument of {self._method.__name__}; allowed: {allowed}" for name in unknown)
            )
        given.update(kwargs)
        try:
            values: dict[str, Any] = self._fields().load(given)
        except ValidationError as error:
            raise InvalidRequest(
                *itertools.islice(sentences(error.messages_dict, self._without_secrets(given)), SHOWN_FAULTS)
            ) from None
        return values

    def _without_secrets(self, given: dict[str, Any]) -> dict[str, Any]:
        hints = typing.get_type_hints(self._method, include_extras=True)
        return {
            name: _Hidden() if never_shown in _metadata(hints.get(name)) else value for name, value in given.items()
        }

    def _fields(self) -> Schema:
        if self._schema is None:
            hints = typing.get_type_hints(self._method, include_extras=True)
            members: dict[str, Any] = {
                one.name: serialization.field_of(
                    hints.get(one.name, Any), required=one.default is inspect.Parameter.empty
                )
                for one in self._parameters
            }
            schema: type[Schema] = type("Arguments", (Schema,), members)
            self._schema = schema(unknown=RAISE)
        return self._schema


class _Hidden:
    def __repr__(self) -> str:
        return "its value"


def _metadata(hint: Any) -> list[Any]:
    """Of `Annotated[…]`, also as one of the members of a union."""
    found = list(getattr(hint, "__metadata__", ()))
    return found + [one for member in typing.get_args(hint) for one in getattr(member, "__metadata__", ())]


def dump(result: Any) -> Any:
    """A dataclass, or a list of them, as JSON has it; anything else as it is."""
    if dataclasses.is_dataclass(result) and not isinstance(result, type):
        return serialization.dump(result)
    if isinstance(result, list | tuple):
        return [dump(one) for one in result]
    return result


def sentences(messages: Mapping[Any, Any], given: Any, path: str = "") -> Iterator[str]:
    """marshmallow's nested messages as sentences: "names[1]: 7 is not a string"."""
    for key, found in messages.items():
        here = f"{path}[{key}]" if isinstance(key, int) else f"{path}.{key}" if path else str(key)
        value, is_there = _member(given, key)
        if isinstance(found, Mapping):
            yield from sentences(found, value, here)
        elif is_there:
            yield from (f"{here}: {_shown(value)} {_predicate(text)}" for text in found)
        else:
            yield f"{here} is missing"


def _member(given: Any, key: Any) -> tuple[Any, bool]:
    try:
        return given[key], True
    except (KeyError, IndexError, TypeError):
        return given, not isinstance(given, Mapping)


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}…"


def _predicate(text: str) -> str:
    """marshmallow's own validators speak in sentences of their own: "Longer than maximum length 64."."""
    return text if text.startswith("is ") else f"is refused: {text[0].lower()}{text[1:].rstrip('.')}"
