"""A spec of one node, to vary."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from walt.contracts.nodes import Interface, Network, NodeWanted

WALT_NET = Interface(2, "52:54:00:00:00:01", Network(0, "walt-net", ""))
HOME_NET = Interface(3, "52:54:00:00:00:02", Network(7, "home-net", "alice"))

SPEC = NodeWanted(
    id=5,
    name="vnode1",
    host="lab",
    owner="alice",
    power="on",
    boot=1,
    version=1,
    image="default",
    ip="192.168.172.2",
    cpu_cores=2,
    ram_bytes=512 * 2**20,
    boot_delay_s=0,
    boot_timeout_s=180,
    boot_retries=2,
    interfaces=(WALT_NET,),
)


def spec(**changes: Any) -> NodeWanted:
    return replace(SPEC, **changes)
