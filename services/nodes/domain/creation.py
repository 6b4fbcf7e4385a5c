"""Pure: new nodes from names, settings and an image. All faults of a request are reported at once."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from services.nodes.domain import disks, placement, settings_request
from services.nodes.domain.addresses import free_addresses
from services.nodes.domain.model import Node, RequestContext, Status
from services.nodes.domain.placement import HostPool, Unplaced
from services.nodes.domain.settings_request import Capacities
from walt.contracts import units
from walt.contracts.bootserver import DEFAULT_IMAGE
from walt.contracts.errors import Conflict, InvalidRequest, WaltError, together
from walt.contracts.names import check_node_name
from walt.contracts.settings import NodeConfig
from walt.contracts.vmrunner import DELAYING


@dataclass(frozen=True)
class NodeRequest:
    """names: as they are stored, those without a fault; host: where they must go, "" for any; refusals: what is wrong
    with the request so far, reported together with what only the registry shows."""

    names: tuple[str, ...]
    config: NodeConfig
    image: str = DEFAULT_IMAGE
    host: str = ""
    refusals: tuple[WaltError, ...] = ()


def parse(
    names: Sequence[str],
    texts: Sequence[str],
    capacities: Capacities,
    image: str = DEFAULT_IMAGE,
    image_errors: Sequence[WaltError] = (),
    host: str = "",
) -> NodeRequest:
    """capacities: of the hosts that the nodes can go to, where known. image_errors: why the image cannot be used;
    reported together with the other faults."""
    faults: list[str] = []
    checked = [name for name in (_checked(text, faults) for text in names) if name]
    if not names:
        faults.append("no name is given; allowed: one or more node names")
    faults += [f"'{name}' is given twice; allowed: each name once" for name in units.doubled(checked)]
    settings = settings_request.parse(texts)
    config, inconsistent = settings_request.applied(NodeConfig(), settings)
    faults += [*settings.faults, *inconsistent, *placement.faults_of_ram(config.ram_bytes, capacities)]
    if settings.host:
        faults.append(f"host={settings.host} is no setting of a new node; allowed: --host {settings.host}")
    invalid = [InvalidRequest(*faults)] if faults else []
    return NodeRequest(tuple(dict.fromkeys(checked)), config, image, host, (*invalid, *image_errors))


def new_nodes(
    request: NodeRequest,
    owners: Mapping[str, str],
    taken_ips: Collection[str],
    pool: HostPool,
    context: RequestContext,
) -> list[Node]:
    """All of them, or an error with all faults. owners: {name: owner} of present nodes, those of the names at least."""
    _check(request, owners)
    ips = free_addresses(pool.subnet, taken_ips)
    new = [Unplaced(name, request.config.ram_bytes, request.config.networks, request.host) for name in request.names]
    hosts = placement.place(new, pool.hosts)
    return [new_node(name, request.image, request.config, next(ips), hosts[name], context) for name in request.names]


def new_node(
    name: str, image: str, config: NodeConfig, ip: str, host: str, context: RequestContext, lab: str = ""
) -> Node:
    return Node(
        name,
        host,
        context.user,
        image,
        ip,
        config,
        Status(DELAYING, context.at, f"creation requested by {context.user}"),
        disks=disks.new_disks(config.disks),
        owner_account=context.account,
        lab=lab,
    )


def check_names_free(names: Sequence[str], owners: Mapping[str, str]) -> None:
    """owners: as for `new_nodes`."""
    taken = [f"the name '{name}' is taken {_by(owners[name])}" for name in names if name in owners]
    if taken:
        raise Conflict(*taken)


def _check(request: NodeRequest, owners: Mapping[str, str]) -> None:
    refusals = [*request.refusals]
    try:
        check_names_free(request.names, owners)
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
