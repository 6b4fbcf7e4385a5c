"""Pure: how a physical machine becomes a node."""

from __future__ import annotations

import re
from collections.abc import Collection

from services.nodes.domain import model
from services.nodes.domain.model import Node, RequestContext, Status
from services.nodes.domain.placement import HostPool
from walt.contracts import nodes, walt_net_addresses
from walt.contracts.bootserver import DEFAULT_IMAGE
from walt.contracts.errors import Conflict, InvalidRequest
from walt.contracts.settings import NodeConfig
from walt.contracts.vmrunner import LOADING

NAME_PREFIX = "pc-"

_MAC = re.compile(r"[0-9a-f][02468ace](?::[0-9a-f]{2}){5}", re.ASCII)  # of one interface, not of a group


def parse_mac(text: str) -> str:
    """The MAC in lower case, or InvalidRequest."""
    mac = text.lower()
    if not _MAC.fullmatch(mac):
        raise InvalidRequest(f"'{text}' is not the MAC of an interface; allowed: six bytes as 52:54:00:1a:2b:3c")
    return mac


def check_known(node: Node, mac: str, ip: str) -> None:
    """node: the one with this MAC. Conflict unless it is a present physical node with this address."""
    if node.is_virtual:
        raise Conflict(f"{mac} is the MAC of virtual node '{node.name}'")
    if not node.is_present:
        raise Conflict(f"node '{node.name}' is being removed; its next boot registers it again")
    if node.ip != ip:
        raise Conflict(f"node '{node.name}' has address {node.ip}; {ip} is not its own")


def new_node(
    mac: str, ip: str, holder: Node | None, names: Collection[str], pool: HostPool, context: RequestContext
) -> Node:
    """A free node that boots the default image. holder: the node that has this address; names: of all present nodes."""
    if holder is not None:
        raise Conflict(f"address {ip} is that of node '{holder.name}'")
    if not walt_net_addresses.is_of_machine(pool.subnet, ip):
        first, last = walt_net_addresses.of_machines(pool.subnet)
        raise InvalidRequest(f"{ip} is not an address for physical nodes; allowed: {first} to {last}")
    status = Status(LOADING, context.at, "it requests its first boot script")
    name = _free_name(mac, names)
    return Node(name, pool.server, "", DEFAULT_IMAGE, ip, NodeConfig(), status, type=nodes.PHYSICAL)


def switched_on(node: Node) -> Node:
    """It boots, so it is on, even if a user had stopped it."""
    return model.changed(node, power=nodes.POWER_ON)


def _free_name(mac: str, taken: Collection[str]) -> str:
    name = NAME_PREFIX + mac.replace(":", "")
    number = 2
    free = name
    while free in taken:
        free, number = f"{name}-{number}", number + 1
    return free
