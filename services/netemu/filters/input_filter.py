"""What nodes may reach of this network namespace: the bootserver on walt-net, and nothing else.

The broker and the metrics of the services may live in the same namespace. There is one table of ours in each family,
replaced as a whole; frames between nodes stay on their bridge and do not pass these rules.

Only who bears an address of walt-net is answered: what answers another address is a way to the outside, and one to use
the platform against others.
"""

from __future__ import annotations

from services.netemu.filters import nft
from services.netemu.kernel.netlink import NODE_GROUPS
from walt.contracts.names import WALT_NET
from walt.contracts.walt_net_addresses import RESOLVER_PORT

TABLE = "walt_netemu"
TCP_PORTS = (53, RESOLVER_PORT, 80)  # DNS (nat.py says who reaches which), boot scripts and kernels
UDP_PORTS = (53, RESOLVER_PORT, 69, 123)  # DNS, TFTP, NTP
DHCP_PORT = 67


def ruleset(subnet: str) -> str:
    tcp = ", ".join(map(str, TCP_PORTS))
    udp = ", ".join(map(str, UDP_PORTS))
    return f"""
table inet {TABLE} {{}}
delete table inet {TABLE}
table inet {TABLE} {{
  chain input {{
    type filter hook input priority filter; policy accept;
    iifgroup {NODE_GROUPS} drop
    iifname != "{WALT_NET}" accept
    udp dport {DHCP_PORT} accept
    ip saddr != {subnet} drop
    ct state established,related accept
    meta l4proto icmp accept
    tcp dport {{ {tcp} }} accept
    udp dport {{ {udp} }} accept
    drop
  }}
}}
table arp {TABLE} {{}}
delete table arp {TABLE}
table arp {TABLE} {{
  chain input {{
    type filter hook input priority filter; policy accept;
    iifgroup {NODE_GROUPS} drop
  }}
}}
"""


def install(subnet: str) -> None:
    """Put the rules into force; doing it again changes nothing."""
    nft.apply(ruleset(subnet))
