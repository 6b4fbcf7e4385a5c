"""Dataclasses to JSON and back, through marshmallow schemas derived from their type hints.

    dump(VmReport(...)) -> dict          load(VmReport, dict) -> VmReport, or InvalidRequest naming the field

Known field types: int, float, str, bool, X | None, list/tuple of any of these, dict[str, X], other dataclasses.
Unknown fields are dropped on load, so that a newer sender can speak to an older receiver.
"""

from __future__ import annotations

import dataclasses
import functools
import types
import typing
from typing import Any, TypeVar

from marshmallow import EXCLUDE, Schema, ValidationError, fields, post_load

from services.contracts.errors import InvalidRequest

T = TypeVar("T")

_PLAIN: dict[Any, type[fields.Field[Any]]] = {float: fields.Float, str: fields.String, bool: fields.Boolean}


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
    hints = typing.get_type_hints(cls)
    members: dict[str, Any] = {f.name: _field(hints[f.name], f) for f in dataclasses.fields(cls)}

    @post_load
    def build(self: Schema, data: dict[str, Any], **_: Any) -> Any:
        return cls(**data)

    schema: type[Schema] = type(f"{cls.__name__}Schema", (Schema,), {**members, "build": build})
    return schema(unknown=EXCLUDE)


def _field(hint: Any, member: dataclasses.Field[Any]) -> fields.Field[Any]:
    required = member.default is dataclasses.MISSING and member.default_factory is dataclasses.MISSING
    options: dict[str, Any] = {"required": True} if required else {}
    if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union:
        (hint,) = [one for one in typing.get_args(hint) if one is not type(None)]
        options["allow_none"] = True
    return _typed(hint, options)


def _typed(hint: Any, options: dict[str, Any]) -> fields.Field[Any]:
    if hint is int:
        return fields.Integer(strict=True, **options)  # not strict, 1.9 would become 1
    if hint in _PLAIN:
        return _PLAIN[hint](**options)
    if dataclasses.is_dataclass(hint):
        return fields.Nested(schema_of(typing.cast(type, hint)), **options)
    if typing.get_origin(hint) is dict:
        return fields.Dict(*(_typed(one, {}) for one in typing.get_args(hint)), **options)
    item = typing.get_args(hint)[0]
    if typing.get_origin(hint) is tuple:
        return _Tuple(_typed(item, {}), **options)
    return fields.List(_typed(item, {}), **options)


class _Tuple(fields.List[Any]):
    """A list on the wire, a tuple in the (frozen) value."""

    def _deserialize(self, *args: Any, **kwargs: Any) -> Any:
        return tuple(super()._deserialize(*args, **kwargs))
