"""How much of the kernel's table of connections a node takes, which all share: without it nobody's new ones pass.

Counted by MAC address, to which a node is bound (anti_spoofing.py): it may send from any address outside of walt-net.
"""

from __future__ import annotations

import logging

from services.netemu.filters import nft
from walt.contracts.errors import Failed
from walt.contracts.names import WALT_NET

TABLE = "walt_connections"
TO_PLATFORM, OUTWARDS = 1000, 4000  # of a node; the table takes 65,536 or more

log = logging.getLogger(__name__)


def ruleset() -> str:
    outside = f'iifname "{WALT_NET}" oifname != "{WALT_NET}"'
    kind = "type ether_addr; size 65535; flags dynamic;"
    return f"""
table inet {TABLE} {{}}
delete table inet {TABLE}
table inet {TABLE} {{
  set to_platform {{ {kind} }}
  set outwards {{ {kind} }}
  chain input {{
    type filter hook input priority filter - 1; policy accept;
    iifname "{WALT_NET}" ct state new add @to_platform {{ ether saddr ct count over {TO_PLATFORM} }} drop
  }}
  chain forward {{
    type filter hook forward priority filter - 1; policy accept;
    {outside} ct state new add @outwards {{ ether saddr ct count over {OUTWARDS} }} drop
  }}
}}
"""


def install() -> None:
    """Put the rules into force; doing it again changes nothing. A kernel that cannot count serves without them."""
    try:
        nft.apply(ruleset())
    except Failed as error:
        log.warning("a node can fill the kernel's table of connections: %s", error)
