"""The network between hosts: who may send through tunnels into this one, and what of it nodes reach.

A frame that comes in a VXLAN packet is taken for one of its network, so the packet must come from a host. The addresses
of the other hosts are in a set in the kernel, which holds while netemu restarts. Nodes reach none of them, with NAT or
without: what such a node sends comes from the address of the server's host.
"""

from __future__ import annotations

from collections.abc import Iterable

from services.netemu.filters import nft
from services.netemu.ports.tunnel import VXLAN_PORT
from walt.contracts.names import WALT_NET

TABLE = "walt_underlay"
HOSTS = "hosts"


def table() -> str:
    """The table; addresses in its set stay. Pure."""
    return f"""
table inet {TABLE} {{
  set {HOSTS} {{ type ipv4_addr; }}
  chain input {{ type filter hook input priority filter; policy accept; }}
  chain forward {{ type filter hook forward priority filter; policy accept; }}
}}
flush chain inet {TABLE} input
flush chain inet {TABLE} forward
table inet {TABLE} {{
  chain input {{
    udp dport {VXLAN_PORT} ip saddr @{HOSTS} iifname != "{WALT_NET}" accept
    udp dport {VXLAN_PORT} drop
  }}
  chain forward {{
    iifname "{WALT_NET}" ip daddr @{HOSTS} drop
  }}
}}
"""


def hosts_commands(addresses: Iterable[str]) -> str:
    """Pure."""
    found = ", ".join(sorted(addresses))
    added = f"add element inet {TABLE} {HOSTS} {{ {found} }}\n" if found else ""
    return f"flush set inet {TABLE} {HOSTS}\n{added}"


def install() -> None:
    """Put the rules into force; which hosts are known stays."""
    nft.apply(table())


def set_hosts(addresses: Iterable[str]) -> None:
    """These are the other hosts, and no others, also when somebody else has changed the rules."""
    nft.apply(table() + hosts_commands(addresses))
