"""How many addresses a bridge learns from what its ports send. Without a bound, a node that sends from ever new
addresses fills the memory of the host.

An address beyond the bound is not learned: frames to it go to all ports of the network, and arrive. A kernel older than
6.8 has no bound; there an address is forgotten sooner.
"""

from __future__ import annotations

import contextlib
from typing import Any

from pyroute2.netlink.exceptions import NetlinkError
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg

MAX_LEARNED = 4096  # addresses of one network
SHORT_AGEING = 3000  # hundredths of a second, where there is no bound; the kernel's own is 30000


class _BridgeData(ifinfmsg.ifinfo.bridge_data):  # type: ignore[misc]
    """The attributes that pyroute2 0.9 knows, and later ones of linux/if_link.h."""

    nla_map = (
        *ifinfmsg.ifinfo.bridge_data.nla_map,
        ("IFLA_BR_VLAN_STATS_PER_PORT", "uint8"),
        ("IFLA_BR_MULTI_BOOLOPT", "hex"),
        ("IFLA_BR_MCAST_QUERIER_STATE", "hex"),
        ("IFLA_BR_FDB_N_LEARNED", "uint32"),
        ("IFLA_BR_FDB_MAX_LEARNED", "uint32"),
    )


def register() -> None:
    """From now on pyroute2 knows these attributes, for all of this process."""
    ifinfmsg.ifinfo.data_map["bridge"] = _BridgeData


def is_bounded(link: Any) -> bool:
    """Whether this bridge, as the kernel describes it, is what `bound` makes of it."""
    data = link.get_nested("IFLA_LINKINFO", "IFLA_INFO_DATA")
    if data is None or link.get_nested("IFLA_LINKINFO", "IFLA_INFO_KIND") != "bridge":
        return False
    most = data.get_attr("IFLA_BR_FDB_MAX_LEARNED")
    return bool(data.get_attr("IFLA_BR_AGEING_TIME") == SHORT_AGEING if most is None else most == MAX_LEARNED)


def bound(ip: Any, index: int) -> None:
    (link,) = ip.get_links(index)
    has_bound = link.get_nested("IFLA_LINKINFO", "IFLA_INFO_DATA").get_attr("IFLA_BR_FDB_MAX_LEARNED") is not None
    value = {"br_fdb_max_learned": MAX_LEARNED} if has_bound else {"br_ageing_time": SHORT_AGEING}
    with contextlib.suppress(NetlinkError):
        ip.link("set", index=index, kind="bridge", **value)
