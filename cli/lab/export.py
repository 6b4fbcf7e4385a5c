"""From nodes as they are to the document that asks for them: applied, it changes none of them. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from walt.contracts import labs, network_uses, settings
from walt.contracts.bootserver import DEFAULT_IMAGE
from walt.contracts.labs import LabDocument, LabLink, LabNetwork, LabNode, LabPort
from walt.contracts.names import WALT_NET
from walt.contracts.network_uses import NetworkUse
from walt.contracts.nodes import NodeView
from walt.contracts.settings import NodeConfig

NETWORKS = "networks"

Uses = dict[str, tuple[NetworkUse, ...]]  # {node: its networks in order}


def document_of(lab: str, nodes: Sequence[NodeView]) -> LabDocument:
    """Networks that are not the lab's are external. A node whose interfaces are in another order than the document
    would give it has them in its own setting `networks`."""
    uses = {node.name: network_uses.parse_networks(node.config[NETWORKS]) for node in nodes}
    explicit: set[str] = set()
    while True:
        networks, found = _networks(lab, uses, explicit)
        wrong = {name for name in uses if name not in explicit and _implied(lab, name, networks, found) != uses[name]}
        if not wrong:
            break
        explicit |= wrong
    own = {name: _own_networks(lab, uses[name]) for name in explicit}
    return LabDocument(lab, tuple(_node(node, own.get(node.name)) for node in nodes), networks, found)


def with_work_of(document: LabDocument, former: LabDocument) -> LabDocument:
    """With what nodes do not show of themselves: files, commands and wanted hosts, expectations and events of the lab
    that they are."""
    work = {node.name.lower(): (node.files, node.run, node.host) for node in former.nodes}
    nodes = [(node, *work.get(node.name, ((), (), ""))) for node in document.nodes]
    full = tuple(replace(node, files=files, run=run, host=host) for node, files, run, host in nodes)
    return replace(document, nodes=full, expect=former.expect, events=former.events)


def _node(node: NodeView, networks: str | None) -> LabNode:
    defaults = settings.show_settings(NodeConfig())
    given = {name: text for name, text in node.config.items() if name != NETWORKS and defaults.get(name) != text}
    texts = [f"{name}={text}" for name, text in given.items()]
    own = [f"{NETWORKS}={networks}"] if networks else []
    return LabNode(node.name, "" if node.image == DEFAULT_IMAGE else node.image, (*texts, *own))


def _own_networks(lab: str, uses: Sequence[NetworkUse]) -> str:
    return network_uses.format_networks([replace(use, name=use.name.removeprefix(f"{lab}/")) for use in uses])


def _networks(lab: str, uses: Uses, explicit: Collection[str]) -> tuple[tuple[LabNetwork, ...], tuple[LabLink, ...]]:
    """Of all nodes, in the order in which they are met; the ports of explicit nodes are left out."""
    ports: dict[str, list[LabPort]] = {}
    for node, own in uses.items():
        for use in own:
            if use.name != WALT_NET:
                here = ports.setdefault(use.name, [])
                if node not in explicit:
                    here.append(LabPort(node, tuple(network_uses.format_port(use))))
    networks, found = [], []
    for name, members in ports.items():
        inner, is_external = name.removeprefix(f"{lab}/"), not name.startswith(f"{lab}/")
        if not is_external and len(members) == 2 and inner == labs.link_network(lab, *(one.node for one in members)):
            found.append(LabLink(tuple(members)))
        elif members or is_external:
            networks.append(LabNetwork(inner, tuple(members), is_external))
    return tuple(networks), tuple(found)


def _implied(lab: str, node: str, networks: Sequence[LabNetwork], found: Sequence[LabLink]) -> tuple[NetworkUse, ...]:
    """What the document gives a node that names no networks itself."""
    uses = [NetworkUse(WALT_NET)]
    for network in networks:
        name = labs.network_name(lab, network.name, network.is_external)
        uses += [network_uses.parse_port(name, port.options) for port in network.ports if port.node == node]
    for link in found:
        name = labs.network_name(lab, labs.link_network(lab, *(end.node for end in link.ends)))
        uses += [network_uses.parse_port(name, end.options) for end in link.ends if end.node == node]
    return tuple(uses)
