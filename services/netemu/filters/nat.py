"""Which nodes may reach more than walt-net through this network namespace (netsetup=NAT): a packet filter.

Nothing passes from walt-net to another network or back, except for the addresses in a set. What those ask of the name
server goes to the one that resolves the names of the outside too, which nobody else reaches: a name is a message as
well. The set is in the kernel, so that a restart of netemu interrupts no connection. IP forwarding is switched on
together with the first address; the filter is what protects, all the same. The namespace itself stays behind
input_filter.py.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from pathlib import Path

from services.netemu.filters import nft
from services.netemu.kernel.netlink import NODE_GROUPS
from walt.contracts.errors import InvalidRequest
from walt.contracts.names import WALT_NET
from walt.contracts.nodes import ABSENT, NodeWanted
from walt.contracts.settings import NAT
from walt.contracts.walt_net_addresses import RESOLVER_PORT

TABLE = "walt_nat"
NODES = "nat_nodes"
DNS_PORT = 53
FORWARDING = Path("/proc/sys/net/ipv4/ip_forward")


def parse_networks(text: str) -> list[str]:
    """'198.18.0.0/15,10.0.0.0/8' -> ['198.18.0.0/15', '10.0.0.0/8']. Pure."""
    networks = [item for item in text.split(",") if item]
    for network in networks:
        try:
            ipaddress.IPv4Network(network)
        except ValueError:
            raise InvalidRequest(
                f"WALT_NAT_EXCEPT: '{network}' is not a network; allowed: IPv4 networks as 198.18.0.0/15, "
                "separated by commas"
            ) from None
    return networks


def ruleset(blocked: Sequence[str]) -> str:
    """The table; addresses in its set stay. Frames of other bridges that the host filters are accepted. Pure."""
    resolving = f'iifname "{WALT_NET}" meta l4proto {{ tcp, udp }}'
    outwards = f'iifname "{WALT_NET}" oifname != "{WALT_NET}"'
    return f"""
table inet {TABLE} {{
  set {NODES} {{ type ipv4_addr; }}
  chain prerouting {{ type nat hook prerouting priority dstnat; }}
  chain input {{ type filter hook input priority filter; }}
  chain forward {{ type filter hook forward priority filter; policy drop; }}
  chain postrouting {{ type nat hook postrouting priority srcnat; }}
}}
flush chain inet {TABLE} prerouting
flush chain inet {TABLE} input
flush chain inet {TABLE} forward
flush chain inet {TABLE} postrouting
table inet {TABLE} {{
  chain prerouting {{
    {resolving} th dport {DNS_PORT} ip saddr @{NODES} fib daddr type local redirect to :{RESOLVER_PORT}
  }}
  chain input {{
    {resolving} th dport {RESOLVER_PORT} ip saddr != @{NODES} drop
  }}
  chain forward {{
    iifname "{WALT_NET}" oifname "{WALT_NET}" accept
    iifgroup {NODE_GROUPS} oifgroup {NODE_GROUPS} accept
    {f"ip daddr {{ {', '.join(blocked)} }} drop" if blocked else ""}
    {outwards} ip saddr @{NODES} accept
    iifname != "{WALT_NET}" oifname "{WALT_NET}" ip daddr @{NODES} ct state established,related accept
  }}
  chain postrouting {{
    oifgroup != {NODE_GROUPS} oifname != "{WALT_NET}" ip saddr @{NODES} masquerade
  }}
}}
"""


def has_nat(node: NodeWanted) -> bool:
    """Pure."""
    return node.netsetup == NAT and node.power != ABSENT


class Nat:
    """blocked: networks that no node reaches, with NAT or without."""

    def __init__(self, blocked: Sequence[str]) -> None:
        self._blocked = blocked
        self._addresses: set[str] | None = None  # in the kernel's set, as we left it; None: not known yet

    def install(self) -> None:
        """Put the rules into force; who was allowed stays so."""
        nft.apply(ruleset(self._blocked))

    def update(self, node: NodeWanted) -> None:
        """Apply the netsetup of this node at once: when it is no longer NAT, its connections are cut."""
        self.allow(node.ip, has_nat(node))

    def allow(self, ip: str, is_added: bool) -> None:
        if self._addresses is not None and (ip in self._addresses) == is_added:
            return
        verbs = ("add",) if is_added else ("add", "delete")  # it is an error to delete what is not there
        nft.apply("".join(f"{verb} element inet {TABLE} {NODES} {{ {ip} }}\n" for verb in verbs))
        if self._addresses is not None:
            self._addresses ^= {ip}
        if is_added:
            _enable_forwarding()

    def replace(self, nodes: Iterable[NodeWanted], others: Iterable[str] = ()) -> None:
        """Allow exactly those of these nodes that want it, and the addresses of nodes of other hosts, also when
        somebody else has changed the rules."""
        addresses = {node.ip for node in nodes if has_nat(node)} | set(others)
        added = f"add element inet {TABLE} {NODES} {{ {', '.join(sorted(addresses))} }}\n" if addresses else ""
        self._addresses = None
        nft.apply(f"{ruleset(self._blocked)}flush set inet {TABLE} {NODES}\n{added}")
        self._addresses = addresses
        if addresses:
            _enable_forwarding()


def _enable_forwarding() -> None:
    if FORWARDING.read_text().strip() != "1":  # in a container it may be set already, and read-only
        FORWARDING.write_text("1")
