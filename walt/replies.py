"""Replies of services as values of the contracts' types.

    read(list[NodeView], client.call("nodes", "get_nodes", selection="my-nodes"))

With the standard library only: `walt.contracts.serialization`, with which services check requests, loads marshmallow,
which takes a third of the time of a short command.
"""

from __future__ import annotations

import dataclasses
import functools
import types
import typing
from typing import Any, TypeVar

from walt.contracts.errors import Failed

T = TypeVar("T")


def read(kind: type[T], reply: Any) -> T:
    """The reply as a dataclass of `walt.contracts`, or as a list of them.

    Fields that the type does not have are dropped, so that a newer service can answer. `Failed` when one is missing
    that has no default: the service is older than this program.

        changed = read(Changed, client.call("nodes", "reboot_nodes", selection="vnode1"))
        print(changed.nodes[0].state)
    """
    try:
        value: T = _read(kind, reply)
    except (TypeError, AttributeError) as error:
        raise Failed(f"this walt and the platform are of different versions: {error}") from error
    return value


def _read(hint: Any, data: Any) -> Any:
    if data is None:
        return None
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        return hint(**{name: _read(kind, data[name]) for name, kind in _fields(hint).items() if name in data})
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        return _read(next(one for one in arguments if one is not type(None)), data)
    if origin in (list, tuple):
        return origin(_read(arguments[0], item) for item in data)
    return data


@functools.cache
def _fields(cls: Any) -> dict[str, Any]:
    hints = typing.get_type_hints(cls)
    return {field.name: hints[field.name] for field in dataclasses.fields(cls)}
