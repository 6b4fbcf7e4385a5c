"""Pure: the link of one network of nodes, changed option by option."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from services.contracts import links
from services.contracts.errors import InvalidRequest, NotFound
from services.contracts.links import LinkModel
from services.contracts.settings import NetworkUse
from services.contracts.units import Faults
from services.nodes.model import Node, changed


def linked(nodes: Sequence[Node], network: str, options: Sequence[str], from_plain: bool) -> list[Node]:
    """All of them with these options of that link, the others as they are or, from_plain, as of a plain link.
    NotFound names every node without this network, InvalidRequest every fault."""
    faults = option_faults(options, from_plain)
    outside = [_not_in(node, network) for node in nodes if network not in _networks(node)]
    if faults:
        raise InvalidRequest(*faults, *outside)
    if outside:
        raise NotFound(*outside)
    new = []
    for node in nodes:
        try:
            new.append(_linked(node, network, options, from_plain))
        except Faults as found:
            faults += [f"{node.name}: the link to {network} would not go together: {fault}" for fault in found.args]
    if faults:
        raise InvalidRequest(*faults)
    return new


def _linked(node: Node, network: str, options: Sequence[str], from_plain: bool) -> Node:
    uses = []
    for use in node.config.networks:
        if use.name == network:
            present = LinkModel() if from_plain else use.link
            use = NetworkUse(network, links.parse_options(present, options))
        uses.append(use)
    return changed(node, config=replace(node.config, networks=tuple(uses)))


def option_faults(options: Sequence[str], from_plain: bool) -> list[str]:
    """Of the options themselves, whatever the link is."""
    if not options and not from_plain:
        return [f"no option of the link is given; allowed: {links.LINK_RULE}, or --replace for a plain link"]
    return links.option_faults(options)


def _networks(node: Node) -> list[str]:
    return [use.name for use in node.config.networks]


def _not_in(node: Node, network: str) -> str:
    return f"node '{node.name}' has no network '{network}'; it has {', '.join(_networks(node))}"
