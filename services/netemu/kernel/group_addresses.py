"""The group addresses 01:80:c2:00:00:00 to 0f (STP, LACP, 802.1X, LLDP, PTP): a bridge keeps them unless it is told to
forward them, one bit of a mask for each.

The mask of a bridge may not have the lowest three bits. That of a port may have all but that of pause frames, which
no bridge forwards; a kernel older than 4.15 has none.
"""

from __future__ import annotations

import contextlib
from typing import Any

from pyroute2.netlink.exceptions import NetlinkError

BRIDGE_MASK = 0xFFF8
PORT_MASK = 0xFFFD


def is_forwarding(link: Any) -> bool:
    """Whether this bridge or bridge port, as the kernel describes it, forwards them."""
    info = link.get_attr("IFLA_LINKINFO")
    if info is None:
        return False
    of_port, of_bridge = info.get_attr("IFLA_INFO_SLAVE_DATA"), info.get_attr("IFLA_INFO_DATA")
    if info.get_attr("IFLA_INFO_KIND") == "bridge":
        return bool(of_bridge and of_bridge.get_attr("IFLA_BR_GROUP_FWD_MASK") == BRIDGE_MASK)
    return bool(of_port and of_port.get_attr("IFLA_BRPORT_GROUP_FWD_MASK") == PORT_MASK)


def forward_on_bridge(ip: Any, index: int) -> None:
    with contextlib.suppress(NetlinkError):  # the masks of its ports say the same
        ip.link("set", index=index, kind="bridge", br_group_fwd_mask=BRIDGE_MASK)


def forward_on_port(ip: Any, index: int) -> None:
    with contextlib.suppress(NetlinkError):  # without it the mask of the bridge decides
        ip.brport("set", index=index, group_fwd_mask=PORT_MASK)
