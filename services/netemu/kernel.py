"""The kernel's interfaces, qdiscs and filters: the only user of pyroute2. Decides nothing.

pyroute2 is asyncio inside and its sockets are not to be shared between greenthreads: one lock, and a
socket of its own for each operation.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError
from pyroute2.netlink.rtnl import TC_H_ROOT
from pyroute2.netlink.rtnl.ifinfmsg import IFF_UP
from pyroute2.netlink.rtnl.tcmsg import plugins as tc_plugins
from pyroute2.netlink.rtnl.tcmsg import sched_netem

from services.contracts.errors import Failed
from services.contracts.links import Direction, LinkModel
from services.contracts.netemu import Traffic
from services.kit.commands import run
from services.netemu import netem
from services.netemu.plan import Link
from services.netemu.ports import UNFINISHED, helper_alias, helpers, tap_name, unfinished_alias
from services.netemu.taps import made_tap
from services.netemu.traffic import Counters

log = logging.getLogger(__name__)


class _NetemOptions(sched_netem.options):  # type: ignore[misc]
    """Those that pyroute2 0.9 knows, and the later ones of linux/pkt_sched.h."""

    nla_map = (
        *sched_netem.options.nla_map,
        ("TCA_NETEM_ECN", "uint32"),
        ("TCA_NETEM_RATE64", "uint64"),
        ("TCA_NETEM_PAD", "none"),
        ("TCA_NETEM_LATENCY64", "int64"),
        ("TCA_NETEM_JITTER64", "int64"),
    )


tc_plugins["netem"] = SimpleNamespace(parent=TC_H_ROOT, options=_NetemOptions)  # takes options as netem.py writes them

SEGMENT_GROUP = 8787  # interface group of all that is not the server's (firewall.py)
CLSACT_INGRESS = 0xFFFFFFF2
ETH_P_ALL = 0x0003
MATCH_ALL = ["0x0/0x0+0"]
NETEM_MODULES = ("tun", "bridge", "sch_netem", "ifb", "act_mirred", "cls_u32", "sch_ingress")
NETEM_HANDLE = 0x10000


class Kernel:
    """Reads and changes the interfaces of this network namespace."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def links(self) -> list[Link]:
        with self._netlink() as ip:
            found = list(ip.get_links())
        names = {link["index"]: link.get_attr("IFLA_IFNAME") for link in found}
        return [
            Link(
                name=link.get_attr("IFLA_IFNAME"),
                kind=link.get_nested("IFLA_LINKINFO", "IFLA_INFO_KIND") or "",
                alias=link.get_attr("IFLA_IFALIAS") or "",
                master=names.get(link.get_attr("IFLA_MASTER"), ""),
                mac=link.get_attr("IFLA_ADDRESS") or "",
                is_up=bool(link["flags"] & IFF_UP),
            )
            for link in found
        ]

    def addressed(self) -> set[str]:
        """The interfaces with an IPv4 address."""
        with self._netlink() as ip:
            names = {link["index"]: link.get_attr("IFLA_IFNAME") for link in ip.get_links()}
            return {names[one["index"]] for one in ip.get_addr(family=socket.AF_INET) if one["index"] in names}

    def counters(self) -> dict[str, Counters]:
        with self._netlink() as ip:
            found = list(ip.get_links())
        return {link.get_attr("IFLA_IFNAME"): _counters(link.get_attr("IFLA_STATS64")) for link in found}

    def queues(self) -> dict[str, Traffic]:
        """What the netem of each interface has passed and dropped."""
        with self._netlink() as ip:
            names = {link["index"]: link.get_attr("IFLA_IFNAME") for link in ip.get_links()}
            found = [one for one in ip.get_qdiscs() if one.get_attr("TCA_KIND") == "netem"]
        return {names[one["index"]]: _passed(one.get_attr("TCA_STATS")) for one in found if one["index"] in names}

    def make_bridge(self, name: str, alias: str, address: str = "", mac: str = "") -> None:
        """A plain Ethernet segment. The host has no part in it, unless given an address."""
        rules = {"br_stp_state": 0, "br_forward_delay": 0, "br_mcast_snooping": 0, **({"address": mac} if mac else {})}
        with self._netlink(name) as ip, _making(ip, name, alias, kind="bridge", **rules) as index:
            ip.link("set", index=index, IFLA_GROUP=0 if address else SEGMENT_GROUP)
            keep_out(UNFINISHED, is_server=bool(address))
            if address:
                host, _, bits = address.partition("/")
                ip.addr("add", index=index, address=host, prefixlen=int(bits))

    def make_tap(
        self, name: str, alias: str, *, mtu: int, owner_uid: int | None = None, queue_frames: int = 1000
    ) -> None:
        """A persistent tap of ours, up; an existing one is kept. mtu: a bridge sends nothing larger out of it;
        queue_frames may wait for its reader (1000: the kernel's own default)."""
        try:
            with made_tap(name, owner_uid), self._netlink(name) as ip:
                keep_out(name)
                index = _index(ip, name)
                limits = {"mtu": mtu, "txqlen": queue_frames}
                ip.link("set", index=index, IFLA_IFALIAS=alias, IFLA_GROUP=SEGMENT_GROUP, state="up", **limits)
        except OSError as error:
            raise Failed(f"the tap {name} could not be made: {error.strerror} (/dev/net/tun)") from None

    def label(self, name: str, alias: str) -> None:
        with self._netlink(name) as ip:
            ip.link("set", index=_index(ip, name), IFLA_IFALIAS=alias)

    def join(self, name: str, bridge: str) -> None:
        """Plug the interface into the bridge; '' unplugs it."""
        with self._netlink(name) as ip:
            ip.link("set", index=_index(ip, name), master=_index(ip, bridge) if bridge else 0)

    def adopt(self, name: str, bridge: str) -> None:
        """An interface that somebody else made is a port of the bridge, up, and nothing else: it loses its addresses."""
        with self._netlink(name) as ip:
            index = _index(ip, name)
            keep_out(name)
            ip.flush_addr(index=index)
            ip.link("set", index=index, master=_index(ip, bridge), IFLA_GROUP=SEGMENT_GROUP)
            ip.link("set", index=index, state="up")

    def isolate(self, name: str, isolated: bool) -> None:
        """Isolated ports of a bridge do not hear each other."""
        with self._netlink(name) as ip:
            ip.brport("set", index=_index(ip, name), isolated=int(isolated))

    def remove(self, name: str) -> None:
        """The interface is gone, whether it was there or not."""
        with self._netlink(name) as ip:
            for index in ip.link_lookup(ifname=name):
                ip.link("del", index=index)

    def redirect(self, source: str, target: str) -> None:
        """Whatever enters through `source` leaves through `target`, before the host or a bridge sees it."""
        with self._netlink(source) as ip:
            _redirect(ip, _index(ip, source), _index(ip, target))

    def accept(self, source: str) -> None:
        """Undo `redirect`."""
        with self._netlink(source) as ip:
            _forget_qdisc(ip, "clsact", _index(ip, source))

    def shape(self, tap: str, link: LinkModel) -> None:
        """netem in both directions: what the node sends goes by way of an ifb. Changes apply live."""
        ifb = helpers(tap)["ifb"]
        with self._netlink(tap) as ip:
            is_new = not ip.link_lookup(ifname=ifb)
            if is_new:
                with _making(ip, ifb, unfinished_alias(tap), kind="ifb") as index:
                    ip.link("set", index=index, IFLA_GROUP=SEGMENT_GROUP)
                    keep_out(UNFINISHED)
            _netem(ip, _index(ip, ifb), link.up)
            _netem(ip, _index(ip, tap), link.down)
            if is_new:
                _redirect(ip, _index(ip, tap), index)
                ip.link("set", index=index, IFLA_IFALIAS=helper_alias(tap))  # last: it is whole now

    def unshape(self, tap: str) -> None:
        with self._netlink(tap) as ip:
            _forget_qdisc(ip, "clsact", _index(ip, tap))
            with contextlib.suppress(NetlinkError):  # no qdisc of ours there
                ip.tc("del", index=_index(ip, tap), root=True)
        self.remove(helpers(tap)["ifb"])

    def probe_netem(self) -> str:
        """'' when this kernel shapes by netem through an ifb, tried on throwaway interfaces; else why not."""
        _load_modules()
        tap = tap_name(0, 0)  # of no node; the same each time, so that what a kill leaves is found again
        try:
            with made_tap(tap):
                pass
            self.shape(tap, LinkModel(up=Direction(1000, 1_000_000), down=Direction(0, 1_000_000)))
        except (OSError, Failed) as error:
            return f"no netem queue through an ifb: {error}"
        finally:
            self.remove(tap)
            self.remove(helpers(tap)["ifb"])
        return ""

    @contextlib.contextmanager
    def _netlink(self, name: str = "an interface") -> Iterator[Any]:
        try:
            with self._lock, IPRoute() as ip:
                yield ip
        except NetlinkError as error:
            raise Failed(f"the kernel refuses what was asked of {name}: {error.args[1]}") from error


def keep_out(name: str, *, is_server: bool = False) -> None:
    """The host neither speaks, answers nor routes on this interface (firewall.py says it once more).

    /proc/sys is read-only in an unprivileged container: there the firewall alone does it.
    """
    settings = {"ipv6": {"disable_ipv6": "1"}, "ipv4": {} if is_server else {"arp_ignore": "8", "forwarding": "0"}}
    for family, values in settings.items():
        for key, value in values.items():
            with contextlib.suppress(OSError):
                Path(f"/proc/sys/net/{family}/conf/{name}/{key}").write_text(value)


@contextlib.contextmanager
def _making(ip: Any, name: str, alias: str, **options: Any) -> Iterator[int]:
    """The index of a new interface, which gets its name and its alias, and is up, in one step after the block: whoever
    is killed in between leaves nothing that bears a name of ours and is not known as ours, or not whole."""
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
    _forget_qdisc(ip, "clsact", source)
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


def _forget_qdisc(ip: Any, kind: str, index: int) -> None:
    try:
        ip.tc("del", kind, index)
    except NetlinkError as error:
        if error.code not in (errno.ENOENT, errno.EINVAL):
            raise


def _index(ip: Any, name: str) -> int:
    found = ip.link_lookup(ifname=name)
    if not found:
        raise Failed(f"the interface {name} is not there")
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


def _load_modules() -> None:
    """Best effort: they may be built in, or there may be no modules at all; the probe itself tells."""
    for module in NETEM_MODULES:
        with contextlib.suppress(Failed):
            run(["modprobe", "-q", module])
