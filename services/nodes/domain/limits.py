"""Pure: what the nodes of one account take of what it may have."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from services.nodes.domain.model import Node
from walt.contracts.errors import LimitReached
from walt.contracts.limits import RESOURCES, UserLimits

OF_NODES = ("nodes", "ram_bytes", "disk_bytes")  # the fields of UserLimits that nodes count for


@dataclass(frozen=True)
class Use:
    """Fields as in `UserLimits`. A physical node counts as a node; its memory and disks are its own."""

    nodes: int = 0
    ram_bytes: int = 0
    disk_bytes: int = 0

    def plus(self, other: Use, sign: int = 1) -> Use:
        return Use(*(getattr(self, name) + sign * getattr(other, name) for name in OF_NODES))


def use(nodes: Iterable[Node]) -> Use:
    total = Use()
    for node in nodes:
        of_host = (node.config.ram_bytes, _disk_bytes(node)) if node.is_virtual else (0, 0)
        total = total.plus(Use(1, *of_host))
    return total


def _disk_bytes(node: Node) -> int:
    """With /persist, which is a disk too."""
    return node.config.persist_bytes + sum(disk.size_bytes for disk in node.disks)


def growth(account: str, before: Sequence[Node], after: Sequence[Node]) -> Use:
    """What a command adds to the account, negative where it takes. before: nodes without an id are not there yet."""
    had = use(node for node in before if node.id and node.is_present and node.owner_account == account)
    has = use(node for node in after if node.is_present and node.owner_account == account)
    return has.plus(had, -1)


def may_exceed(added: Use, limits: UserLimits) -> bool:
    """Whether a check can fail at all: it needs the present use, which takes a query."""
    return any(getattr(added, name) > 0 and getattr(limits, name) is not None for name in OF_NODES)


def check(user: str, limits: UserLimits, present: Use, added: Use) -> None:
    """LimitReached, with a sentence for each limit that the command would pass. One that is passed already, as an
    administrator has lowered it, keeps nobody from a command that does not add to it."""
    faults = []
    for resource in RESOURCES.values():
        limit = getattr(limits, resource.field)
        if limit is None or resource.field not in OF_NODES:
            continue
        has, more = getattr(present, resource.field), getattr(added, resource.field)
        if more > 0 and has + more > limit:
            faults.append(
                f"{resource.name}: {user} has {resource.format(has)}, and {resource.format(more)} more would pass the "
                f"limit; allowed: {resource.format(limit)} altogether (walt user show)"
            )
    if faults:
        raise LimitReached(*faults)
