"""Pure: what a lab document means for each of its nodes, and all that is wrong with it without looking at a platform.

Both sides use it: `walt lab validate` without a platform, and `nodes` before it plans.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from walt.contracts import lab_events, lab_expect, labs, names, network_uses, settings, units
from walt.contracts.errors import InvalidRequest, WaltError
from walt.contracts.lab_expect import MAX_COMMAND
from walt.contracts.labs import LabDocument, LabFault, LabLink, LabNode, LabPort
from walt.contracts.names import WALT_NET
from walt.contracts.network_uses import MAX_NETWORKS, NetworkUse
from walt.contracts.settings import NodeConfig

MAX_NODES = 1000
MAX_ITEMS = 20_000  # settings, ports and options of one document
SHOWN_NAMES = 10
MAX_FAULTS = 100  # of one document that are told

Path = tuple[str, ...]


@dataclass(frozen=True)
class CheckedNode:
    """image: "" for the default one."""

    name: str
    image: str
    config: NodeConfig


@dataclass(frozen=True)
class CheckedLab:
    """nodes: those without a fault."""

    nodes: tuple[CheckedNode, ...]
    faults: tuple[LabFault, ...]


class FaultList:
    """Collects faults with their paths, up to MAX_FAULTS."""

    def __init__(self) -> None:
        self.found: list[LabFault] = []

    def add(self, path: Path, *sentences: str, error: type[WaltError] = InvalidRequest) -> None:
        room = MAX_FAULTS - len(self.found)
        self.found += [LabFault(path, error.__name__, one) for one in sentences[: max(room, 0)]]


def check(document: LabDocument) -> CheckedLab:
    faults = FaultList()
    _check_size(document, faults)
    if faults.found:
        return CheckedLab((), tuple(faults.found))
    if not document.name:
        faults.add(("name",), f"there is no name; allowed: name: demo ({names.LAB_NAME_RULE})")
    elif not names.is_lab_name(document.name):
        faults.add(("name",), f"'{document.name}' is not the name of a lab; allowed: {names.LAB_NAME_RULE}")
    if not document.nodes:
        faults.add(("nodes",), "there is no node; allowed: nodes: [vnode1, vnode2], one or more")
    uses = _uses(document, faults)
    nodes = [_node(document, node, uses.get(node.name.lower(), []), faults) for node in document.nodes]
    for name in units.doubled(node.name.lower() for node in document.nodes):
        faults.add(("nodes", name), f"'{name}' is given twice; allowed: each node once")
    _check_expectations(document, faults)
    for fault in lab_events.faults(document):
        faults.add(fault.path, fault.sentence)
    return CheckedLab(tuple(one for one in nodes if one), tuple(faults.found))


def _check_expectations(document: LabDocument, faults: FaultList) -> None:
    nodes = {node.name.lower() for node in document.nodes}
    networks = [network.name for network in document.networks]
    networks += [labs.link_network(document.name, *ends) for link in document.links if (ends := _pair(link))]
    for one in document.expect:
        path = ("expect", one.title)
        wrong = lab_expect.faults_of_names(one, nodes, networks)
        faults.add(path, *wrong)
        faults.add((*path, one.value), *([] if wrong else lab_expect.faults_of_value(one)))


def _pair(link: LabLink) -> tuple[str, str] | None:
    return (link.ends[0].node.lower(), link.ends[1].node.lower()) if len(link.ends) == 2 else None


def _check_size(document: LabDocument, faults: FaultList) -> None:
    ports = [port for network in document.networks for port in network.ports]
    ports += [end for link in document.links for end in link.ends]
    items = sum(len(node.settings) + len(node.files) + len(node.run) for node in document.nodes)
    items += sum(1 + len(port.options) for port in ports) + len(document.expect)
    items += sum(len(event.words) for event in document.events)
    for what, count, most in (("nodes", len(document.nodes), MAX_NODES), ("settings and ports", items, MAX_ITEMS)):
        if count > most:
            faults.add(("nodes",), f"{count} {what} are too many; allowed: at most {most} in one lab")


Uses = dict[str, list[tuple[Path, NetworkUse]]]  # {node: where it is said, and what}


def _uses(document: LabDocument, faults: FaultList) -> Uses:
    """What networks and links say of each node, in their order."""
    uses: Uses = {}
    known = {node.name.lower() for node in document.nodes}
    for network in document.networks:
        path = ("networks", network.name)
        if _check_network(document, network, faults):
            name = labs.network_name(document.name, network.name, network.is_external)
            _add_ports(uses, name, path, network.ports, known, faults)
    for name in units.doubled(network.name for network in document.networks):
        faults.add(("networks", name), f"'{name}' is given twice; allowed: each network once")
    seen = {network.name for network in document.networks}
    for link in document.links:
        path = ("links", link.name)
        if len(link.ends) != 2 or len({end.node.lower() for end in link.ends}) != 2:
            faults.add(path, f"'{link.name}' does not join two nodes; allowed: NODE -- NODE, two different ones")
            continue
        inner = labs.link_network(document.name, *(end.node.lower() for end in link.ends))
        if inner in seen:
            faults.add(
                path, f"'{link.name}' is given twice; allowed: one link between two nodes, more as networks of two"
            )
            continue
        seen.add(inner)
        _add_ports(uses, labs.network_name(document.name, inner), path, link.ends, known, faults)
    return uses


def _check_network(document: LabDocument, network: labs.LabNetwork, faults: FaultList) -> bool:
    path, name = ("networks", network.name), network.name
    full = labs.network_name(document.name, name, network.is_external)
    if name == WALT_NET:
        faults.add(path, f"'{name}' is the platform's; allowed: its link in the setting networks of a node")
    elif "/" in name and not network.is_external:
        faults.add(path, f"'{name}' is not a network of this lab; allowed: without '/', or with external: true")
    elif not names.is_network_name(full):
        rule = f"{names.NETWORK_NAME_RULE} ('{full}' has {len(full)})"
        faults.add(path, f"'{name}' is not a network name; allowed: {rule}")
    else:
        return True
    return False


def _add_ports(
    uses: Uses, network: str, path: Path, ports: Iterable[LabPort], known: Collection[str], faults: FaultList
) -> None:
    given = set[str]()
    for port in ports:
        node, here = port.node.lower(), (*path, port.node)
        if node not in known:
            hint = units.nearest(node, known) if len(faults.found) < MAX_FAULTS else ""
            shown = ", ".join(sorted(known)[:SHOWN_NAMES]) + (", …" if len(known) > SHOWN_NAMES else "")
            faults.add(here, f"'{port.node}' is not a node of this lab{hint}; allowed: {shown}")
        elif node in given:
            faults.add(here, f"'{port.node}' is given twice; allowed: each node once in a network")
        else:
            uses.setdefault(node, []).append((here, _use(network, port, here, faults)))
        given.add(node)


def _use(network: str, port: LabPort, path: Path, faults: FaultList) -> NetworkUse:
    """One without options where they are at fault: each by itself, or their combination."""
    before = len(faults.found)
    for option in port.options:
        try:
            network_uses.check_port_word(network, option)
        except units.Faults as found:
            faults.add((*path, option), *found.args)
    if len(faults.found) == before:
        try:
            return network_uses.parse_port(network, port.options)
        except units.Faults as found:
            faults.add(path, *found.args)
    return NetworkUse(network)


def _node(
    document: LabDocument, node: LabNode, uses: Sequence[tuple[Path, NetworkUse]], faults: FaultList
) -> CheckedNode | None:
    path, before = ("nodes", node.name), len(faults.found)
    try:
        name = names.check_node_name(node.name)
    except InvalidRequest as refused:
        faults.add(path, *refused.args)
        return None
    values = _values(node.settings, path, faults)
    own = [replace(use, name=_scoped(document, use.name)) for use in values.get("networks", NodeConfig().networks)]
    for here, use in uses:
        if use.name in (one.name for one in own):
            faults.add(here, f"'{node.name}' is in this network twice; allowed: here, or in its setting networks")
        else:
            own.append(use)
    for use in own:
        if not names.is_network_name(use.name):
            faults.add((*path, "networks"), f"'{use.name}' is too long; allowed: {names.NETWORK_NAME_RULE}")
    _check_work(node, path, faults)
    if len(own) > MAX_NETWORKS:
        faults.add(path, f"{node.name}: {len(own)} networks are too many; allowed: at most {MAX_NETWORKS}")
    try:
        config = settings.apply_settings(NodeConfig(), {**values, "networks": tuple(own)})
    except InvalidRequest as refused:
        faults.add(path, *(f"{node.name}: {sentence}" for sentence in refused.args))
    return CheckedNode(name, node.image, config) if len(faults.found) == before else None


def _check_work(node: LabNode, path: Path, faults: FaultList) -> None:
    for file in node.files:
        if not file.source:
            faults.add((*path, "files"), "'' is not a file; allowed: a path, relative to the lab file")
        if not file.target.startswith("/"):
            here = (*path, "files", file.source)
            faults.add(here, f"'{file.target}' is not a place in the node; allowed: a path that begins with /")
    for command in node.run:
        if not 0 < len(command.strip()) <= MAX_COMMAND:
            sentence = f"a command of {len(command)} characters; allowed: 1 to {MAX_COMMAND}"
            faults.add((*path, "run", command), sentence)


def _values(texts: Sequence[str], path: Path, faults: FaultList) -> dict[str, Any]:
    """By field of NodeConfig; of the settings without a fault."""
    values = dict[str, Any]()
    for text in texts:
        name, _, value = text.partition("=")
        if name not in settings.SETTINGS:
            allowed = ("image", "files", "run", *sorted(settings.SETTINGS))
            sentence = f"'{name}' is not a key of a node{units.nearest(name, allowed)}; allowed: {', '.join(allowed)}"
            faults.add((*path, name), sentence)
            continue
        parsed = settings.parse_with_faults([text])
        values.update(parsed.values)
        faults.add((*path, name, value), *parsed.faults)
    for name in units.doubled(text.partition("=")[0] for text in texts):
        faults.add((*path, name), f"{name} is given twice; allowed: once")
    return values


def _scoped(document: LabDocument, name: str) -> str:
    """'home-net' of a node's own setting -> as the registry calls it."""
    externals = {network.name for network in document.networks if network.is_external}
    return labs.network_name(document.name, name, name in externals or "/" in name)
