"""What netemu's own environment variables say; `service.py` documents them. SystemExit for one that is not allowed."""

from __future__ import annotations

import ipaddress

from services.kit.environment import Environment
from walt.contracts import walt_net_addresses

OWN, SUPERVISED = "own", "supervised"  # WALT_CABLE
REQUIRED, OPTIONAL = "required", "optional"  # WALT_BINDING


def is_cable_supervised(env: Environment) -> bool:
    return _choice(env, "WALT_CABLE", OWN, SUPERVISED) == SUPERVISED


def is_binding_required(env: Environment) -> bool:
    return _choice(env, "WALT_BINDING", REQUIRED, OPTIONAL) == REQUIRED


def is_server(env: Environment) -> bool:
    """Whether nodes and bootserver are on this host."""
    return env.variable("WALT_SERVER_HOST", "") in ("", env.host)


def underlay(env: Environment) -> str:
    """The IPv4 address of this host at which the others reach it, "" for none."""
    address = env.variable("WALT_UNDERLAY", "")
    if not address and not is_server(env):
        raise SystemExit("WALT_UNDERLAY: a host beside the server's needs one: its IPv4 address towards the others")
    try:
        return address and str(ipaddress.IPv4Address(address))
    except ValueError:
        raise SystemExit(f"WALT_UNDERLAY={address}: allowed: the IPv4 address of this host, or nothing") from None


def underlay_interface(env: Environment) -> str:
    """The interface with which a container sends to the other hosts, "" where the underlay address is its own."""
    return env.variable("WALT_UNDERLAY_INTERFACE", "")


def server_address(env: Environment) -> str:
    """'192.168.172.0/22' -> '192.168.172.1/22'."""
    return on_walt_net(env, str(walt_net_addresses.server(env.subnet)))


def on_walt_net(env: Environment, address: str) -> str:
    """'192.168.172.9' -> '192.168.172.9/22'."""
    return f"{address}/{ipaddress.ip_network(env.subnet).prefixlen}"


def _choice(env: Environment, name: str, default: str, *others: str) -> str:
    choice = env.variable(name, default)
    if choice not in (default, *others):
        raise SystemExit(f"{name}={choice}: allowed: {', '.join((default, *others))}")
    return choice
