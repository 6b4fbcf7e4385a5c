"""What one user may have: the limits, and their grammar.

An operator gives the limits of all users (WALT_USER_LIMITS, `nodes=20,ram=16G`), an administrator those of one user
(`walt user limit bob ram=32G images=none`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from walt.contracts import units
from walt.contracts.errors import InvalidRequest

NONE = "none"  # no limit
DEFAULT = "default"  # that of all users

Value = int | None  # None: no limit


@dataclass(frozen=True)
class UserLimits:
    """Of one user; None: as much as there is. The defaults suit a class of thirty on one server."""

    nodes: Value = 20
    ram_bytes: Value = 16 * 2**30
    disk_bytes: Value = 2 * 10**12  # of sparse files; users make single disks of 1T
    images: Value = 20
    image_bytes: Value = 40 * 10**9


UNLIMITED = UserLimits(None, None, None, None, None)


@dataclass(frozen=True)
class Resource:
    """field: in `UserLimits`; `parse` raises ValueError(what is allowed)."""

    name: str
    field: str
    rule: str
    parse: Callable[[str], int]
    format: Callable[[int], str]


RESOURCES = {
    resource.name: resource
    for resource in (
        Resource("nodes", "nodes", units.COUNT_RULE, units.parse_whole, str),
        Resource("ram", "ram_bytes", units.MEMORY_RULE, units.parse_memory_bytes, units.format_memory),
        Resource("disk", "disk_bytes", units.DISK_RULE, units.parse_disk_bytes, units.format_disk),
        Resource("images", "images", units.COUNT_RULE, units.parse_whole, str),
        Resource("image.space", "image_bytes", units.DISK_RULE, units.parse_disk_bytes, units.format_disk),
    )
}


@dataclass(frozen=True)
class LimitsChange:
    """values: by field of `UserLimits`; defaults: the fields that are again as for all users."""

    values: dict[str, Value] = field(default_factory=dict)
    defaults: frozenset[str] = frozenset()

    def of(self, own: dict[str, Value]) -> dict[str, Value]:
        """The limits of one user's own, changed."""
        return {**{name: value for name, value in own.items() if name not in self.defaults}, **self.values}


def parse_change(texts: Sequence[str]) -> LimitsChange:
    """['ram=32G', 'images=none', 'disk=default']; InvalidRequest with every fault found."""
    values, defaults, faults = dict[str, Value](), set[str](), list[str]()
    for text in texts:
        try:
            resource, value = units.split_named(text, RESOURCES, "limit", "ram=32G")
            if value == DEFAULT:
                defaults.add(resource.field)
            else:
                values[resource.field] = _parse_value(resource, value)
        except units.Faults as found:
            faults += found.args
    given = [text.partition("=")[0] for text in texts]
    faults += [f"{name} is given twice; allowed: once" for name in units.doubled(given)]
    if not texts:
        faults.append(f"no limit is given; allowed: {', '.join(RESOURCES)}, for instance ram=32G")
    if faults:
        raise InvalidRequest(*faults)
    return LimitsChange(values, frozenset(defaults))


def parse_limits(text: str) -> UserLimits:
    """'nodes=20,ram=16G', of the operator: the others as they are without; InvalidRequest."""
    change = parse_change(text.split(",")) if text else LimitsChange()
    return replace(UserLimits(), **change.values)


def format_value(resource: Resource, value: Value) -> str:
    return NONE if value is None else resource.format(value)


def _parse_value(resource: Resource, text: str) -> Value:
    if text == NONE:
        return None
    try:
        return resource.parse(text)
    except ValueError:
        rule = f"{resource.rule}, {NONE} or {DEFAULT}"
        raise units.Faults(f"'{text}' is not a value for {resource.name}; allowed: {rule}") from None
