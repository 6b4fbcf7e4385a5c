"""Pure: the link of one network of nodes, and their address there, changed option by option."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from services.nodes.domain.model import Node, changed
from walt.contracts import links, network_uses, port_addresses
from walt.contracts.errors import InvalidRequest, NotFound
from walt.contracts.links import LinkModel
from walt.contracts.network_uses import NetworkUse, PortChange
from walt.contracts.units import Faults


@dataclass(frozen=True)
class LinkRequest:
    """Parsed options of the port on `network`. from_plain: those of the link that are not given become those of a plain
    one; faults: what is wrong with the options, whatever the link is."""

    network: str
    options: tuple[str, ...]
    from_plain: bool
    change: PortChange = PortChange()
    faults: tuple[str, ...] = ()


def parse(network: str, options: Sequence[str], from_plain: bool) -> LinkRequest:
    request = LinkRequest(network, tuple(options), from_plain)
    if not options and not from_plain:
        rule = f"{links.LINK_RULE}, {port_addresses.OPTION}="
        fault = f"no option of the link is given; allowed: {rule}, or --replace for a plain link"
        return replace(request, faults=(fault,))
    try:
        return replace(request, change=network_uses.parse_change(network, options))
    except Faults as found:
        return replace(request, faults=found.args)


def linked(nodes: Sequence[Node], request: LinkRequest) -> list[Node]:
    """All of them with the changed link. NotFound names every node without this network, InvalidRequest every fault."""
    outside = [_not_in(node, request.network) for node in nodes if request.network not in _networks(node)]
    if request.faults:
        raise InvalidRequest(*request.faults, *outside)
    if outside:
        raise NotFound(*outside)
    new, faults = [], list[str]()
    for node in nodes:
        try:
            new.append(_linked(node, request))
        except Faults as found:
            faults += [f"{node.name}: the link to {request.network} is not possible: {fault}" for fault in found.args]
    if faults:
        raise InvalidRequest(*faults)
    return new


def _linked(node: Node, request: LinkRequest) -> Node:
    uses = tuple(_changed_use(use, request) if use.name == request.network else use for use in node.config.networks)
    return changed(node, config=replace(node.config, networks=uses))


def _changed_use(use: NetworkUse, request: LinkRequest) -> NetworkUse:
    link = links.with_change(LinkModel() if request.from_plain else use.link, request.change.link)
    checked = network_uses.check_carrier(use.name, links.check_consistent(link))
    address = request.change.address
    return replace(use, link=checked, address=use.address if address is None else address)


def _networks(node: Node) -> list[str]:
    return [use.name for use in node.config.networks]


def _not_in(node: Node, network: str) -> str:
    return f"node '{node.name}' has no network '{network}'; it has {', '.join(_networks(node))}"
