"""The kernel's interfaces, qdiscs and filters: the only user of pyroute2. Decides nothing.

pyroute2 uses asyncio internally, and its sockets must not be shared between greenthreads: so there is one lock, and
each operation opens a socket of its own.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import socket
import threading
from collections.abc import Iterator
from typing import Any

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError
from pyroute2.netlink.rtnl.ifinfmsg import IFF_UP

from services.netemu.kernel import forwarding_table, group_addresses, netem_attributes
from services.netemu.kernel.host_stack import disable_host_stack
from services.netemu.kernel.modules import load_modules
from services.netemu.kernel.taps import persistent_tap
from services.netemu.ports import netem
from services.netemu.ports.plan import KernelInterface
from services.netemu.ports.port import UNFINISHED, helper_alias, helpers, tap_name, unfinished_alias
from services.netemu.ports.traffic import Counters
from walt.contracts.errors import Failed
from walt.contracts.links import Direction, LinkModel
from walt.contracts.names import WALT_NET
from walt.contracts.netemu import Traffic

log = logging.getLogger(__name__)


# Interface groups: filters tell interfaces apart by them.
WALT_NET_PORT_GROUP = 8788  # what netemu puts into walt-net, but for the interface of physical machines
SEGMENT_GROUP = 8787  # all other interfaces but the server's
NODE_GROUPS = f"{{ {SEGMENT_GROUP}, {WALT_NET_PORT_GROUP} }}"  # for nft
CLSACT_INGRESS = 0xFFFFFFF2
ETH_P_ALL = 0x0003
MATCH_ALL = ["0x0/0x0+0"]
NETEM_HANDLE = 0x10000


class Netlink:
    """Reads and changes the interfaces of this network namespace."""

    def __init__(self) -> None:
        netem_attributes.register()
        forwarding_table.register()
        self._lock = threading.Lock()

    def interfaces(self) -> list[KernelInterface]:
        with self._open() as ip:
            found = list(ip.get_links())
        names = {one["index"]: one.get_attr("IFLA_IFNAME") for one in found}
        return [
            KernelInterface(
                name=one.get_attr("IFLA_IFNAME"),
                kind=one.get_nested("IFLA_LINKINFO", "IFLA_INFO_KIND") or "",
                alias=one.get_attr("IFLA_IFALIAS") or "",
                master=names.get(one.get_attr("IFLA_MASTER"), ""),
                mac=one.get_attr("IFLA_ADDRESS") or "",
                is_up=bool(one["flags"] & IFF_UP),
                group=one.get_attr("IFLA_GROUP") or 0,
                forwards_group_addresses=group_addresses.is_forwarding(one),
                learns_few_addresses=forwarding_table.is_bounded(one),
            )
            for one in found
        ]

    def with_ipv4(self) -> set[str]:
        """The names of the interfaces that have an IPv4 address."""
        with self._open() as ip:
            names = _names(ip)
            return {names[one["index"]] for one in ip.get_addr(family=socket.AF_INET) if one["index"] in names}

    def counters(self) -> dict[str, Counters]:
        with self._open() as ip:
            found = list(ip.get_links())
        return {one.get_attr("IFLA_IFNAME"): _counters(one.get_attr("IFLA_STATS64")) for one in found}

    def queues(self) -> dict[str, Traffic]:
        """{name: traffic} of each interface that has a netem queue."""
        with self._open() as ip:
            names = _names(ip)
            found = [one for one in ip.get_qdiscs() if one.get_attr("TCA_KIND") == "netem"]
        return {names[one["index"]]: _passed(one.get_attr("TCA_STATS")) for one in found if one["index"] in names}

    def make_bridge(self, name: str, alias: str, address: str = "", mac: str = "") -> None:
        """A plain Ethernet segment. The host takes no part in it, unless it has an address there."""
        rules = {"br_stp_state": 0, "br_forward_delay": 0, "br_mcast_snooping": 0, **({"address": mac} if mac else {})}
        with self._open(name) as ip, _new_interface(ip, name, alias, kind="bridge", **rules) as index:
            ip.link("set", index=index, IFLA_GROUP=0 if address else SEGMENT_GROUP)
            disable_host_stack(UNFINISHED, is_server=bool(address))
            forwarding_table.bound(ip, index)
            if address:
                host, _, bits = address.partition("/")
                ip.addr("add", index=index, address=host, prefixlen=int(bits))
            else:
                group_addresses.forward_on_bridge(ip, index)

    def make_tap(self, name: str, alias: str, *, mtu: int, queue_frames: int = 1000) -> None:
        """A persistent tap, up; an existing one is kept. mtu: of the largest frame that a bridge sends out of it;
        queue_frames: how many may wait for its reader (1000: the kernel's default)."""
        try:
            with persistent_tap(name), self._open(name) as ip:
                disable_host_stack(name)
                index = _index(ip, name)
                limits = {"mtu": mtu, "txqlen": queue_frames}
                ip.link("set", index=index, IFLA_IFALIAS=alias, IFLA_GROUP=SEGMENT_GROUP, state="up", **limits)
        except OSError as error:
            raise Failed(f"the tap {name} could not be made: {error.strerror} (/dev/net/tun)") from None

    def set_alias(self, name: str, alias: str) -> None:
        with self._open(name) as ip:
            ip.link("set", index=_index(ip, name), IFLA_IFALIAS=alias)

    def set_bridge(self, name: str, bridge: str) -> None:
        """Make the interface a port of this bridge; '': of none."""
        with self._open(name) as ip:
            index = _index(ip, name)
            if bridge:  # before the first frame can pass
                ip.link("set", index=index, IFLA_GROUP=_group_in(bridge))
            ip.link("set", index=index, master=_index(ip, bridge) if bridge else 0)
            if bridge and bridge != WALT_NET:
                group_addresses.forward_on_port(ip, index)

    def forward_group_addresses(self, name: str, *, is_bridge: bool) -> None:
        """On an interface that an older version made."""
        with self._open(name) as ip:
            forward = group_addresses.forward_on_bridge if is_bridge else group_addresses.forward_on_port
            forward(ip, _index(ip, name))

    def bound_forwarding_table(self, bridge: str) -> None:
        """Of a bridge that an older version made."""
        with self._open(bridge) as ip:
            forwarding_table.bound(ip, _index(ip, bridge))

    def set_group(self, name: str, group: int) -> None:
        with self._open(name) as ip:
            ip.link("set", index=_index(ip, name), IFLA_GROUP=group)

    def make_bridge_port(self, name: str, bridge: str) -> None:
        """Make an existing interface a port of the bridge, up, and nothing else: it loses its addresses."""
        with self._open(name) as ip:
            index = _index(ip, name)
            disable_host_stack(name)
            ip.flush_addr(index=index)
            ip.link("set", index=index, master=_index(ip, bridge), IFLA_GROUP=SEGMENT_GROUP)
            ip.link("set", index=index, state="up")

    def set_isolated(self, name: str, isolated: bool) -> None:
        """Isolated ports of a bridge receive no frames from each other."""
        with self._open(name) as ip:
            ip.brport("set", index=_index(ip, name), isolated=int(isolated))

    def remove(self, name: str) -> None:
        """Remove the interface, if it is there."""
        with self._open(name) as ip:
            for index in ip.link_lookup(ifname=name):
                ip.link("del", index=index)

    def redirect(self, source: str, target: str) -> None:
        """Send each frame that enters through `source` out through `target`, before the host or a bridge sees it."""
        with self._open(source) as ip:
            _redirect(ip, _index(ip, source), _index(ip, target))

    def stop_redirect(self, source: str) -> None:
        """Undo `redirect`."""
        with self._open(source) as ip:
            _delete_qdisc(ip, "clsact", _index(ip, source))

    def shape(self, tap: str, link: LinkModel) -> None:
        """netem in both directions; frames from the node pass an ifb. Changes apply live."""
        ifb = helpers(tap)["ifb"]
        with self._open(tap) as ip:
            is_new = not ip.link_lookup(ifname=ifb)
            if is_new:
                with _new_interface(ip, ifb, unfinished_alias(tap), kind="ifb") as index:
                    ip.link("set", index=index, IFLA_GROUP=SEGMENT_GROUP)
                    disable_host_stack(UNFINISHED)
            _netem(ip, _index(ip, ifb), link.up)
            _netem(ip, _index(ip, tap), link.down)
            if is_new:
                _redirect(ip, _index(ip, tap), index)
                ip.link("set", index=index, IFLA_IFALIAS=helper_alias(tap))  # last: it is complete now

    def unshape(self, tap: str) -> None:
        with self._open(tap) as ip:
            _delete_qdisc(ip, "clsact", _index(ip, tap))
            with contextlib.suppress(NetlinkError):  # there is no qdisc of ours
                ip.tc("del", index=_index(ip, tap), root=True)
        self.remove(helpers(tap)["ifb"])

    def probe_netem(self) -> str:
        """'' when netem through an ifb works on this kernel, as tried on temporary interfaces; else why it does not."""
        load_modules()
        tap = tap_name(0, 0)  # of no node; always the same, so that one left behind by a kill is reused
        try:
            with persistent_tap(tap):
                pass
            self.shape(tap, LinkModel(up=Direction(1000, 1_000_000), down=Direction(0, 1_000_000)))
        except (OSError, Failed) as error:
            return f"no netem queue through an ifb: {error}"
        finally:
            self.remove(tap)
            self.remove(helpers(tap)["ifb"])
        return ""

    @contextlib.contextmanager
    def _open(self, name: str = "an interface") -> Iterator[Any]:
        try:
            with self._lock, IPRoute() as ip:
                yield ip
        except NetlinkError as error:
            raise Failed(f"the kernel refuses a change of {name}: {error.args[1]}") from error


@contextlib.contextmanager
def _new_interface(ip: Any, name: str, alias: str, **options: Any) -> Iterator[int]:
    """The index of a new interface, which gets its name and its alias, and is up, in one step after the block: a kill
    in between leaves no interface that has one of our names but lacks its alias or is incomplete."""
    for index in ip.link_lookup(ifname=UNFINISHED):
        ip.link("del", index=index)
    ip.link("add", ifname=UNFINISHED, **options)
    index = _index(ip, UNFINISHED)
    try:
        yield index
        ip.link("set", index=index, ifname=name, IFLA_IFALIAS=alias, state="up")
    except BaseException:
        ip.link("del", index=index)
        raise


def _netem(ip: Any, index: int, direction: Direction) -> None:
    ip.tc("replace", "netem", index, handle=NETEM_HANDLE, options=netem.options(direction))


def _redirect(ip: Any, source: int, target: int) -> None:
    _delete_qdisc(ip, "clsact", source)
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


def _delete_qdisc(ip: Any, kind: str, index: int) -> None:
    try:
        ip.tc("del", kind, index)
    except NetlinkError as error:
        if error.code not in (errno.ENOENT, errno.EINVAL):
            raise


def _group_in(bridge: str) -> int:
    return WALT_NET_PORT_GROUP if bridge == WALT_NET else SEGMENT_GROUP


def _names(ip: Any) -> dict[int, str]:
    return {one["index"]: one.get_attr("IFLA_IFNAME") for one in ip.get_links()}


def _index(ip: Any, name: str) -> int:
    found = ip.link_lookup(ifname=name)
    if not found:
        raise Failed(f"there is no interface {name}")
    return int(found[0])


def _counters(stats: Any) -> Counters:
    return Counters(
        rx_bytes=stats["rx_bytes"],
        rx_frames=stats["rx_packets"],
        rx_drops=stats["rx_dropped"],
        tx_bytes=stats["tx_bytes"],
        tx_frames=stats["tx_packets"],
        tx_drops=stats["tx_dropped"],
    )


def _passed(stats: Any) -> Traffic:
    return Traffic(frames=stats["packets"], bytes=stats["bytes"], dropped=stats["drop"])
