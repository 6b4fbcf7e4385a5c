"""Single steps of what adapters do with one open IPRoute of pyroute2, under the lock of their Netlink."""

from __future__ import annotations

import contextlib
import errno
import socket
from collections.abc import Iterator
from typing import Any

from pyroute2.netlink.exceptions import NetlinkError

from services.netemu.ports.port import UNFINISHED
from walt.contracts.errors import Failed

CLSACT_INGRESS = 0xFFFFFFF2
ETH_P_ALL = 0x0003
MATCH_ALL = ["0x0/0x0+0"]


@contextlib.contextmanager
def new_interface(ip: Any, name: str, alias: str, **options: Any) -> Iterator[int]:
    """The index of a new interface, which gets its name and its alias, and is up, in one step after the block: a kill
    in between leaves no interface that has one of our names but lacks its alias or is incomplete."""
    for index in found_index(UNFINISHED):
        ip.link("del", index=index)
    ip.link("add", ifname=UNFINISHED, **options)
    index = index_of(UNFINISHED)
    try:
        yield index
        ip.link("set", index=index, ifname=name, IFLA_IFALIAS=alias, state="up")
    except BaseException:
        ip.link("del", index=index)
        raise


def redirect(ip: Any, source: int, target: int) -> None:
    delete_qdisc(ip, "clsact", source)
    ip.tc("add", "clsact", source)
    ip.tc(
        "add-filter",
        "u32",
        source,
        parent=CLSACT_INGRESS,
        prio=1,
        protocol=ETH_P_ALL,
        target=0x10001,
        keys=MATCH_ALL,
        action={"kind": "mirred", "direction": "egress", "action": "redirect", "ifindex": target},
    )


def delete_qdisc(ip: Any, kind: str, index: int) -> None:
    try:
        ip.tc("del", kind, index)
    except NetlinkError as error:
        if error.code not in (errno.ENOENT, errno.EINVAL):
            raise


def names_of(ip: Any) -> dict[int, str]:
    return {one["index"]: one.get_attr("IFLA_IFNAME") for one in ip.get_links()}


def found_index(name: str) -> list[int]:
    """Of the interface of this name, if there is one. pyroute2 would read all interfaces for it."""
    try:
        return [socket.if_nametoindex(name)]
    except OSError:
        return []


def index_of(name: str) -> int:
    found = found_index(name)
    if not found:
        raise Failed(f"there is no interface {name}")
    return found[0]
