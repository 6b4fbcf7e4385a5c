"""Pure: new nodes from names, settings and an image. Every fault of each is reported at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from services.contracts import units
from services.contracts.bootserver import DEFAULT_IMAGE
from services.contracts.errors import Conflict, InvalidRequest, WaltError, together
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


@dataclass(frozen=True)
class Wish:
    """What is asked for. names: as they are stored, those without a fault; refusals: what is wrong with it so far, to be
    told together with what only the registry shows."""

    names: tuple[str, ...]
    config: NodeConfig
    image: str = DEFAULT_IMAGE
    refusals: tuple[WaltError, ...] = ()


def parse(
    names: Sequence[str],
    texts: Sequence[str],
    host: str,
    limits: Limits,
    image: str = DEFAULT_IMAGE,
    wrong: Sequence[WaltError] = (),
) -> Wish:
    """wrong: what is, with the image."""
    faults: list[str] = []
    checked = [name for name in (_checked(text, faults) for text in names) if name]
    if not names:
        faults.append("no name is given; allowed: one or more node names")
    faults += [f"'{name}' is given twice; allowed: each name once" for name in units.doubled(checked)]
    requested = request.parse(texts)
    config, unfit = request.fitted(NodeConfig(), requested)
    faults += [*requested.faults, *unfit, *request.host_faults(requested, [host], limits)]
    invalid = [InvalidRequest(*faults)] if faults else []
    return Wish(tuple(dict.fromkeys(checked)), config, image, (*invalid, *wrong))


def new_nodes(wish: Wish, existing: Sequence[Node], place: Place, asked: Asked) -> list[Node]:
    """All of them, or all that is wrong."""
    _check(wish, existing)
    status = Status(DELAYING, asked.now, f"creation asked by {asked.user}")
    addresses = allocation.free_addresses(place.subnet, {node.ip for node in existing})
    return [
        Node(
            name,
            place.host,
            asked.user,
            wish.image,
            next(addresses),
            wish.config,
            status,
            disks=disks.new_disks(wish.config.disks),
        )
        for name in wish.names
    ]


def check_names_free(names: Sequence[str], existing: Sequence[Node]) -> None:
    owners = {node.name: node.owner for node in existing if node.is_present}
    taken = [f"the name '{name}' is taken {_by(owners[name])}" for name in names if name in owners]
    if taken:
        raise Conflict(*taken)


def _check(wish: Wish, existing: Sequence[Node]) -> None:
    refusals = [*wish.refusals]
    try:
        check_names_free(wish.names, existing)
    except Conflict as taken:
        refusals.append(taken)
    if refusals:
        raise together(refusals)


def _checked(text: str, faults: list[str]) -> str:
    try:
        return check_node_name(text)
    except InvalidRequest as refused:
        faults += refused.args
        return ""


def _by(owner: str) -> str:
    return f"by a node of {owner}" if owner else "by a free node"
