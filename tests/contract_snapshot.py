"""What crosses the bus, as data: `python -m tests.contract_snapshot` prints it, and at a release it is stored in
tests/unit/contracts/last_release.json. Services of that version and of this one run side by side while a platform is
renewed, so `faults` finds nothing between the two.

    {"methods": {"nodes.rename_node": {"name": ["str", true], …}}, "messages": {"NodeWanted": {"id": ["int", true], …}}}

A member is [type, whether it is required].
"""

from __future__ import annotations

import dataclasses
import inspect
import json
import re
import sys
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from nameko.events import EventHandler
from nameko.rpc import Rpc

LAST_RELEASE = Path(__file__).parent / "unit" / "contracts" / "last_release.json"
OF_A_MODULE = re.compile(r"\b(?:\w+\.)+(\w+)")

Members = dict[str, list[Any]]
Snapshot = dict[str, dict[str, Members]]


def snapshot(services: Mapping[str, type]) -> Snapshot:
    """services: by name; the entry points of each, and all dataclasses in their arguments and results."""
    methods: dict[str, Members] = {}
    found: set[type] = set()
    for name, service in services.items():
        for method_name, method in inspect.getmembers(service, inspect.isfunction):
            entrypoints = getattr(method, "nameko_entrypoints", ())
            if not any(isinstance(one, Rpc | EventHandler) for one in entrypoints):
                continue
            hints = typing.get_type_hints(method)
            found |= {kind for hint in hints.values() for kind in _dataclasses(hint)}
            if any(isinstance(one, Rpc) for one in entrypoints):
                parameters = list(inspect.signature(method).parameters.values())[1:]
                methods[f"{name}.{method_name}"] = {
                    one.name: [_text(hints[one.name]), one.default is inspect.Parameter.empty] for one in parameters
                }
    messages = {one.__name__: _members(one) for one in sorted(_closure(found), key=lambda one: one.__name__)}
    return {"methods": methods, "messages": messages}


def faults(old: Snapshot, new: Snapshot) -> list[str]:
    """Why a service of one version would not understand one of the other."""
    found = []
    for kind in ("methods", "messages"):
        for name, members in old[kind].items():
            if name not in new[kind]:
                found.append(f"{name} is gone: the version before uses it")
            else:
                found += [f"{name}.{fault}" for fault in _of_members(members, new[kind][name], kind == "methods")]
    return found


def _of_members(old: Members, new: Members, is_method: bool) -> Iterator[str]:
    """Unknown fields of a message are dropped, unknown arguments of a method are refused."""
    for name, (kind, is_required) in old.items():
        if name not in new:
            if is_method or is_required:
                yield f"{name} is gone: the version before {'gives' if is_method else 'requires'} it"
        elif new[name][0] != kind:
            yield f"{name} is {new[name][0]}; the version before has {kind}"
    for name, (_, is_required) in new.items():
        if is_required and name not in old:
            yield f"{name} is required: the version before does not send it"


def _members(kind: type) -> Members:
    hints = typing.get_type_hints(kind)
    missing = dataclasses.MISSING
    return {
        one.name: [_text(hints[one.name]), one.default is missing and one.default_factory is missing]
        for one in dataclasses.fields(kind)
    }


def _text(hint: Any) -> str:
    """Without the names of modules, so that a class may move."""
    return OF_A_MODULE.sub(r"\1", inspect.formatannotation(hint))


def _dataclasses(hint: Any) -> Iterator[type]:
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        yield hint
    for inner in typing.get_args(hint):
        yield from _dataclasses(inner)


def _closure(kinds: set[type]) -> set[type]:
    seen: set[type] = set()
    waiting = list(kinds)
    while waiting:
        kind = waiting.pop()
        if kind not in seen:
            seen.add(kind)
            waiting += [inner for hint in typing.get_type_hints(kind).values() for inner in _dataclasses(hint)]
    return seen


def present() -> Snapshot:
    from services.bootserver.service import BootserverService
    from services.console.service import ConsoleService
    from services.netemu.service import NetemuService
    from services.nodes.service import NodesService
    from services.vmrunner.service import VmrunnerService

    services = (NodesService, BootserverService, VmrunnerService, NetemuService, ConsoleService)
    return snapshot({service.name: service for service in services})


def written(found: Snapshot) -> str:
    """JSON with a line for each method and message."""
    parts = []
    for kind, members in found.items():
        lines = (f"  {json.dumps(name)}: {json.dumps(members[name])}" for name in sorted(members))
        parts.append(f" {json.dumps(kind)}: {{\n" + ",\n".join(lines) + "\n }")
    return "{\n" + ",\n".join(parts) + "\n}\n"


if __name__ == "__main__":
    sys.stdout.write(written(present()))
