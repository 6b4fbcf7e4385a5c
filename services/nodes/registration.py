"""Pure: how a machine that is not ours becomes a node."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from services.contracts import addresses, nodes
from services.contracts.bootserver import DEFAULT_IMAGE
from services.contracts.errors import Conflict, InvalidRequest
from services.contracts.settings import NodeConfig
from services.contracts.vmrunner import LOADING
from services.nodes import model
from services.nodes.creation import Place
from services.nodes.model import Asked, Node, Status

NAME_PREFIX = "pc-"

_MAC = re.compile(r"[0-9a-f][02468ace](?::[0-9a-f]{2}){5}", re.ASCII)  # of one interface, not of a group


def parse_mac(text: str) -> str:
    mac = text.lower()
    if not _MAC.fullmatch(mac):
        raise InvalidRequest(f"'{text}' is not the MAC of an interface; allowed: six bytes as 52:54:00:1a:2b:3c")
    return mac


def find(mac: str, ip: str, known: Iterable[Node]) -> Node | None:
    """The physical node that has this MAC; Conflict when that is another's, or its address is another."""
    node = next((one for one in known if model.wanted(one).walt_net.mac == mac), None)
    if node is None:
        return None
    if node.is_virtual:
        raise Conflict(f"{mac} is the MAC of virtual node '{node.name}'")
    if not node.is_present:
        raise Conflict(f"node '{node.name}' is being removed; it comes anew with its next boot")
    if node.ip != ip:
        raise Conflict(f"node '{node.name}' has address {node.ip}; {ip} is not its own")
    return node


def new_node(mac: str, ip: str, known: Sequence[Node], place: Place, asked: Asked) -> Node:
    """A free node that boots the default image."""
    taken = next((node for node in known if node.ip == ip), None)
    if taken is not None:
        raise Conflict(f"address {ip} is that of node '{taken.name}'")
    if not addresses.is_of_machine(place.subnet, ip):
        first, last = addresses.of_machines(place.subnet)
        raise InvalidRequest(f"{ip} is not an address that DHCP gives here; allowed: {first} to {last}")
    status = Status(LOADING, asked.now, "it asks for the first time what to boot")
    name = _free_name(mac, {node.name for node in known})
    return Node(name, place.host, "", DEFAULT_IMAGE, ip, NodeConfig(), status, type=nodes.PHYSICAL)


def switched_on(node: Node) -> Node:
    """It boots, so whoever stopped it has switched it on again."""
    return model.changed(node, power=nodes.POWER_ON)


def _free_name(mac: str, taken: set[str]) -> str:
    name = NAME_PREFIX + mac.replace(":", "")
    number = 2
    free = name
    while free in taken:
        free, number = f"{name}-{number}", number + 1
    return free
