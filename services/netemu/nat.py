"""Which nodes may reach more than walt-net through this network namespace (netsetup=NAT): a packet filter.

Nothing passes from walt-net to anywhere else, or back, but for the addresses in a set. The set is the kernel's, so
that a restart of netemu interrupts nobody. Forwarding itself is switched on with the first of them; the filter
is the guard all the same. What is in this namespace stays behind the filter of `firewall.py`.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from pathlib import Path

from services.contracts.errors import InvalidRequest
from services.contracts.names import WALT_NET
from services.contracts.nodes import ABSENT, NodeWanted
from services.contracts.settings import NAT
from services.kit.commands import run
from services.netemu.kernel import SEGMENT_GROUP

TABLE = "walt_nat"
NODES = "nat_nodes"
FORWARDING = Path("/proc/sys/net/ipv4/ip_forward")


def parse_networks(text: str) -> list[str]:
    """'198.18.0.0/15,10.0.0.0/8' -> ['198.18.0.0/15', '10.0.0.0/8']. Pure."""
    networks = [item for item in text.split(",") if item]
    for network in networks:
        try:
            ipaddress.IPv4Network(network)
        except ValueError:
            raise InvalidRequest(
                f"WALT_NAT_EXCEPT: '{network}' is no network; allowed: IPv4 networks as 198.18.0.0/15, split by commas"
            ) from None
    return networks


def ruleset(never: Sequence[str]) -> str:
    """The table with what is in its set kept. Frames that a host filters on its bridges are let be. Pure."""
    outwards = f'iifname "{WALT_NET}" oifname != "{WALT_NET}"'
    return f"""
table inet {TABLE} {{
  set {NODES} {{ type ipv4_addr; }}
  chain forward {{ type filter hook forward priority filter; policy drop; }}
  chain postrouting {{ type nat hook postrouting priority srcnat; }}
}}
flush chain inet {TABLE} forward
flush chain inet {TABLE} postrouting
table inet {TABLE} {{
  chain forward {{
    iifname "{WALT_NET}" oifname "{WALT_NET}" accept
    iifgroup {SEGMENT_GROUP} oifgroup {SEGMENT_GROUP} accept
    {f"ip daddr {{ {', '.join(never)} }} drop" if never else ""}
    {outwards} ip saddr @{NODES} accept
    iifname != "{WALT_NET}" oifname "{WALT_NET}" ip daddr @{NODES} ct state established,related accept
  }}
  chain postrouting {{
    oifgroup != {SEGMENT_GROUP} oifname != "{WALT_NET}" ip saddr @{NODES} masquerade
  }}
}}
"""


def allowed(nodes: Iterable[NodeWanted]) -> list[str]:
    """Addresses of the nodes that may. Pure."""
    return [node.ip for node in nodes if node.netsetup == NAT and node.power != ABSENT]


class Nat:
    """`never`: networks that no node reaches, NAT or not."""

    def __init__(self, never: Sequence[str]) -> None:
        self._never = never

    def guard(self) -> None:
        """Put the rules in force; whoever was allowed stays so."""
        _nft(ruleset(self._never))

    def put(self, node: NodeWanted) -> None:
        """What is wanted of this node, at once: connections that it has are cut when it may no longer."""
        verbs = ("add",) if allowed([node]) else ("add", "delete")  # to delete what is not there is an error
        _nft("".join(f"{verb} element inet {TABLE} {NODES} {{ {node.ip} }}\n" for verb in verbs))
        if allowed([node]):
            _forward()

    def replace(self, nodes: Iterable[NodeWanted]) -> None:
        """Exactly these, and no others."""
        addresses = allowed(nodes)
        added = f"add element inet {TABLE} {NODES} {{ {', '.join(addresses)} }}\n" if addresses else ""
        _nft(f"{ruleset(self._never)}flush set inet {TABLE} {NODES}\n{added}")
        if addresses:
            _forward()


def _nft(commands: str) -> None:
    run(["nft", "-f", "-"], stdin=commands)


def _forward() -> None:
    if FORWARDING.read_text().strip() != "1":  # in a container it may be set already, and read-only
        FORWARDING.write_text("1")
