"""Dataclasses to JSON and back, through marshmallow schemas derived from their type hints.

    dump(VmReport(...)) -> dict          load(VmReport, dict) -> VmReport, or InvalidRequest naming the field

Known field types: int, float, str, bool, X | None, list/tuple of any of these, dict[str, X], other dataclasses.
Unknown fields are dropped on load, so that a newer sender can speak to an older receiver.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import types
import typing
from typing import Any, TypeVar

from marshmallow import EXCLUDE, Schema, ValidationError, fields, post_load

from walt.contracts.errors import InvalidRequest

T = TypeVar("T")


def dump(value: Any) -> dict[str, Any]:
    data: dict[str, Any] = schema_of(type(value)).dump(value)
    return data


def dump_all(values: typing.Iterable[Any]) -> list[dict[str, Any]]:
    return [dump(value) for value in values]


def load(cls: type[T], data: Any) -> T:
    try:
        value: T = schema_of(cls).load(data)
    except ValidationError as error:
        raise InvalidRequest(f"{cls.__name__}: {error.messages}") from None
    return value


def load_all(cls: type[T], data: typing.Iterable[Any]) -> list[T]:
    return [load(cls, item) for item in data]


def schema_of(cls: type) -> Schema:
    return _schema_of(cls)


@functools.cache
def _schema_of(cls: Any) -> Schema:
    hints = typing.get_type_hints(cls, include_extras=True)
    members: dict[str, Any] = {f.name: _field(hints[f.name], f) for f in dataclasses.fields(cls)}

    @post_load
    def build(self: Schema, data: dict[str, Any], **_: Any) -> Any:
        return cls(**data)

    schema: type[Schema] = type(f"{cls.__name__}Schema", (Schema,), {**members, "build": build})
    return schema(unknown=EXCLUDE)


def _field(hint: Any, member: dataclasses.Field[Any]) -> fields.Field[Any]:
    required = member.default is dataclasses.MISSING and member.default_factory is dataclasses.MISSING
    return field_of(hint, required=required)


def field_of(hint: Any, *, required: bool) -> fields.Field[Any]:
    """The marshmallow field of a type hint. Validators in `Annotated[str, Length(max=64)]` are applied; `Any` is not
    checked."""
    options: dict[str, Any] = {"required": True} if required else {}
    if typing.get_origin(hint) is typing.Annotated:
        hint, *validators = typing.get_args(hint)
        options["validate"] = validators
    if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union:
        (hint,) = [one for one in typing.get_args(hint) if one is not type(None)]
        options["allow_none"] = True
    return _typed(hint, options)


def _typed(hint: Any, options: dict[str, Any]) -> fields.Field[Any]:
    if typing.get_origin(hint) is typing.Annotated:
        hint, *validators = typing.get_args(hint)
        options = {**options, "validate": validators}
    if hint is Any:
        return fields.Raw(**{**options, "allow_none": True})
    if hint in _SCALARS:
        return _SCALARS[hint](**options)
    if dataclasses.is_dataclass(hint):
        return fields.Nested(schema_of(typing.cast(type, hint)), **options)
    if typing.get_origin(hint) is dict:
        return fields.Dict(*(_typed(one, {}) for one in typing.get_args(hint)), **options)
    item = typing.get_args(hint)[0]
    kind = _Tuple if typing.get_origin(hint) is tuple else _List
    return kind(_typed(item, {}), **options)


# marshmallow's own fields convert: "1" becomes 1, "yes" becomes True, 1.9 becomes 1. A message has the type that it
# has.


class _String(fields.String):
    default_error_messages = {"invalid": "is not a string", "invalid_utf8": "is not a string in UTF-8"}

    def _deserialize(self, *args: Any, **kwargs: Any) -> str:
        value: str = super()._deserialize(*args, **kwargs)
        try:
            value.encode(errors="surrogateescape")  # names of files, and words of commands, may hold any byte
        except UnicodeEncodeError as error:
            raise self.make_error("invalid_utf8") from error
        return value


class _Boolean(fields.Field[bool]):
    default_error_messages = {"invalid": "is not true or false"}

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> bool:
        if not isinstance(value, bool):
            raise self.make_error("invalid")
        return value


class _Integer(fields.Field[int]):
    default_error_messages = {"invalid": "is not a whole number"}

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise self.make_error("invalid")
        return value


class _Number(fields.Field[float]):
    default_error_messages = {"invalid": "is not a number"}

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.make_error("invalid")
        try:
            number = float(value)
        except OverflowError as error:
            raise self.make_error("invalid") from error
        if not math.isfinite(number):
            raise self.make_error("invalid")
        return number


class _List(fields.List[Any]):
    default_error_messages = {"invalid": "is not a list"}


class _Tuple(_List):
    """A list on the wire, a tuple in the (frozen) value."""

    def _deserialize(self, *args: Any, **kwargs: Any) -> Any:
        return tuple(super()._deserialize(*args, **kwargs))


_SCALARS: dict[Any, type[fields.Field[Any]]] = {int: _Integer, float: _Number, str: _String, bool: _Boolean}
