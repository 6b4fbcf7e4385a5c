"""Pure: new nodes from names and settings. Every fault of every name and setting is reported at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from services.contracts.errors import Conflict, InvalidRequest
from services.contracts.names import check_node_name
from services.contracts.settings import NodeConfig
from services.contracts.vmrunner import DELAYING
from services.nodes import allocation, disks, request
from services.nodes.model import Asked, Node, Status
from services.nodes.request import Limits


@dataclass(frozen=True)
class Place:
    """Where new nodes go: the host that runs them, and the subnet of walt-net."""

    host: str
    subnet: str


def check_request(
    names: Sequence[str], texts: Sequence[str], host: str, limits: Limits
) -> tuple[list[str], NodeConfig]:
    """The names as they are stored, and the configuration; InvalidRequest with all faults of both."""
    faults: list[str] = []
    checked = [name for name in (_checked(text, faults) for text in names) if name]
    if not names:
        faults.append("no name is given; allowed: one or more node names")
    faults += [f"'{name}' is given twice; allowed: each name once" for name in _doubled(checked)]
    requested = request.parse(texts)
    config, unfit = request.fitted(NodeConfig(), requested)
    faults += [*requested.faults, *unfit, *request.host_faults(requested, [host], limits)]
    if faults:
        raise InvalidRequest(*faults)
    return checked, config


def new_nodes(
    names: Sequence[str], config: NodeConfig, image: str, existing: Sequence[Node], place: Place, asked: Asked
) -> list[Node]:
    check_names_free(names, existing)
    status = Status(DELAYING, asked.now, f"creation asked by {asked.user}")
    addresses = {node.ip for node in existing}
    new = []
    for name in names:
        ip = allocation.lowest_free_ip(place.subnet, addresses)
        addresses.add(ip)
        fresh = disks.new_disks(config.disks)
        new.append(Node(name, place.host, asked.user, image, ip, config, status, disks=fresh))
    return new


def check_names_free(names: Sequence[str], existing: Sequence[Node]) -> None:
    owners = {node.name: node.owner for node in existing if node.is_present}
    taken = [f"the name '{name}' is taken {_by(owners[name])}" for name in names if name in owners]
    if taken:
        raise Conflict(*taken)


def _checked(text: str, faults: list[str]) -> str:
    try:
        return check_node_name(text)
    except InvalidRequest as refused:
        faults += refused.args
        return ""


def _doubled(names: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(name for name in names if names.count(name) > 1))


def _by(owner: str) -> str:
    return f"by a node of {owner}" if owner else "by a free node"
