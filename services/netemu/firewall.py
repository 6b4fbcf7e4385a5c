"""What nodes may reach of this network namespace: the bootserver on walt-net, and nothing else.

The broker and the metrics of the services may live in the same namespace. One table of our own in each
family, replaced as a whole; frames between nodes stay on their bridge and never come by here.
"""

from __future__ import annotations

from services.contracts.names import WALT_NET
from services.kit.commands import run
from services.netemu.kernel import SEGMENT_GROUP

TABLE = "walt_netemu"
TCP_PORTS = (53, 80, 2049)  # DNS, boot scripts and kernels, NFS
UDP_PORTS = (53, 67, 69)  # DNS, DHCP, TFTP


def ruleset() -> str:
    tcp = ", ".join(map(str, TCP_PORTS))
    udp = ", ".join(map(str, UDP_PORTS))
    return f"""
table inet {TABLE} {{}}
delete table inet {TABLE}
table inet {TABLE} {{
  chain input {{
    type filter hook input priority filter; policy accept;
    iifgroup {SEGMENT_GROUP} drop
    iifname != "{WALT_NET}" accept
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
    iifgroup {SEGMENT_GROUP} drop
  }}
}}
"""


def guard() -> None:
    """Put the rules in force; doing it again changes nothing."""
    run(["nft", "-f", "-"], stdin=ruleset())
