"""The kernel's interfaces, qdiscs and filters: the only user of pyroute2. Decides nothing.

pyroute2 is asyncio inside and its sockets are not to be shared between greenthreads: one lock, and a
socket of its own for each operation.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError
from pyroute2.netlink.rtnl.tcmsg import plugins as tc_plugins

from services.contracts.errors import Failed
from services.contracts.links import Direction, LinkModel
from services.kit.commands import run
from services.netemu.plan import Link
from services.netemu.ports import helper_alias, helpers
from services.netemu.taps import make_tap

log = logging.getLogger(__name__)

# pyroute2 0.9 would send netem's rate a second time, as TCA_RATE; its u32 plugin has this hook for the same reason.
tc_plugins["netem"].fix_request = lambda request: request.pop("rate", None)

SEGMENT_GROUP = 8787  # interface group of all that is not the server's (firewall.py)
CLSACT_INGRESS = 0xFFFFFFF2
ETH_P_ALL = 0x0003
MATCH_ALL = ["0x0/0x0+0"]
NETEM_MODULES = ("tun", "bridge", "sch_netem", "ifb", "act_mirred", "cls_u32", "sch_ingress")
MAX_NETEM_RATE_BPS = 8 * (2**32 - 1)
QUEUE_US = 100_000  # waiting room of a rate-limited link, as in the cable
FULL_FRAME_BITS = 1514 * 8
SMALL_FRAME_BITS = 64 * 8
UNLIMITED_BPS = 10_000_000_000  # a delay without a rate must hold what a fast guest sends meanwhile


@dataclass(frozen=True)
class Counters:
    """Of one interface, seen from the host: received is what the node sent."""

    rx_bytes: int
    rx_frames: int
    rx_drops: int
    tx_bytes: int
    tx_frames: int
    tx_drops: int


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
            )
            for link in found
        ]

    def counters(self) -> dict[str, Counters]:
        with self._netlink() as ip:
            found = list(ip.get_links())
        return {link.get_attr("IFLA_IFNAME"): _counters(link.get_attr("IFLA_STATS64")) for link in found}

    def make_bridge(self, name: str, alias: str, address: str = "", mac: str = "") -> None:
        """A plain Ethernet segment. The host has no part in it, unless given an address."""
        with self._netlink() as ip, contextlib.ExitStack() as undo:
            options = {"address": mac} if mac else {}
            ip.link(
                "add", ifname=name, kind="bridge", br_stp_state=0, br_forward_delay=0, br_mcast_snooping=0, **options
            )
            index = _index(ip, name)
            undo.callback(ip.link, "del", index=index)
            ip.link("set", index=index, IFLA_IFALIAS=alias, IFLA_GROUP=0 if address else SEGMENT_GROUP)
            keep_out(name, is_server=bool(address))
            if address:
                host, _, bits = address.partition("/")
                ip.addr("add", index=index, address=host, prefixlen=int(bits))
            ip.link("set", index=index, state="up")
            undo.pop_all()

    def make_tap(self, name: str, alias: str, owner_uid: int | None = None) -> None:
        """A persistent tap of ours, up; an existing one is kept."""
        try:
            make_tap(name, owner_uid)
        except OSError as error:
            raise Failed(f"the tap {name} could not be made: {error.strerror} (/dev/net/tun)") from None
        try:
            with self._netlink() as ip:
                keep_out(name)
                index = _index(ip, name)
                ip.link("set", index=index, IFLA_IFALIAS=alias, IFLA_GROUP=SEGMENT_GROUP)
                ip.link("set", index=index, state="up")
        except BaseException:
            self.remove(name)
            raise

    def label(self, name: str, alias: str) -> None:
        with self._netlink() as ip:
            ip.link("set", index=_index(ip, name), IFLA_IFALIAS=alias)

    def join(self, name: str, bridge: str) -> None:
        """Plug the interface into the bridge; '' unplugs it."""
        with self._netlink() as ip:
            ip.link("set", index=_index(ip, name), master=_index(ip, bridge) if bridge else 0)

    def isolate(self, name: str, isolated: bool) -> None:
        """Isolated ports of a bridge do not hear each other."""
        with self._netlink() as ip:
            ip.brport("set", index=_index(ip, name), isolated=int(isolated))

    def remove(self, name: str) -> None:
        """The interface is gone, whether it was there or not."""
        with self._netlink() as ip:
            for index in ip.link_lookup(ifname=name):
                ip.link("del", index=index)

    def redirect(self, source: str, target: str) -> None:
        """Whatever enters through `source` leaves through `target`, before the host or a bridge sees it."""
        with self._netlink() as ip:
            _redirect(ip, _index(ip, source), _index(ip, target))

    def accept(self, source: str) -> None:
        """Undo `redirect`."""
        with self._netlink() as ip:
            _forget_qdisc(ip, "clsact", _index(ip, source))

    def shape(self, tap: str, link: LinkModel) -> None:
        """netem in both directions: what the node sends goes by way of an ifb. Changes apply live."""
        ifb = helpers(tap)["ifb"]
        with self._netlink() as ip:
            is_new = not ip.link_lookup(ifname=ifb)
            if is_new:
                ip.link("add", ifname=ifb, kind="ifb")
                keep_out(ifb)
                ip.link("set", index=_index(ip, ifb), state="up")
            _netem(ip, _index(ip, ifb), link.up)
            _netem(ip, _index(ip, tap), link.down)
            if is_new:
                _redirect(ip, _index(ip, tap), _index(ip, ifb))
                ip.link(
                    "set", index=_index(ip, ifb), IFLA_IFALIAS=helper_alias(tap), IFLA_GROUP=SEGMENT_GROUP
                )  # last: it is whole now

    def unshape(self, tap: str) -> None:
        with self._netlink() as ip:
            _forget_qdisc(ip, "clsact", _index(ip, tap))
            with contextlib.suppress(NetlinkError):  # no qdisc of ours there
                ip.tc("del", index=_index(ip, tap), root=True)
        self.remove(helpers(tap)["ifb"])

    def probe_netem(self) -> str:
        """'' when this kernel shapes by netem through an ifb, tried on throwaway interfaces; else why not."""
        _load_modules()
        tap = f"vn0e{os.getpid() % 1_000_000}"
        try:
            make_tap(tap)
            self.shape(tap, LinkModel(up=Direction(1000, 1_000_000), down=Direction(0, 1_000_000)))
        except (NetlinkError, OSError, Failed) as error:
            return f"the kernel refuses a netem queue through an ifb ({error})"
        finally:
            self.remove(tap)
            self.remove(helpers(tap)["ifb"])
        return ""

    @contextlib.contextmanager
    def _netlink(self) -> Iterator[Any]:
        with self._lock, IPRoute() as ip:
            yield ip


def keep_out(name: str, *, is_server: bool = False) -> None:
    """The host neither speaks, answers nor routes on this interface (firewall.py says it once more).

    /proc/sys is read-only in an unprivileged container: there the firewall alone does it.
    """
    settings = {"ipv6": {"disable_ipv6": "1"}, "ipv4": {} if is_server else {"arp_ignore": "8", "forwarding": "0"}}
    for family, values in settings.items():
        for key, value in values.items():
            with contextlib.suppress(OSError):
                Path(f"/proc/sys/net/{family}/conf/{name}/{key}").write_text(value)


def queue_frames(direction: Direction) -> int:
    """netem's `limit` counts frames, also those only delayed: room for all of them, and 100 ms of waiting."""
    rate_bps = direction.rate_bps or UNLIMITED_BPS
    delayed = (
        rate_bps * direction.latency_us // 1_000_000 // (SMALL_FRAME_BITS if direction.rate_bps else FULL_FRAME_BITS)
    )
    waiting = rate_bps * max(direction.latency_us, QUEUE_US) // 1_000_000 // FULL_FRAME_BITS
    return min(2**31, max(100, delayed + waiting))


def _netem(ip: Any, index: int, direction: Direction) -> None:
    if direction.rate_bps > MAX_NETEM_RATE_BPS:
        raise Failed(f"bw: {direction.rate_bps} bit/s is beyond the kernel's netem; at most {MAX_NETEM_RATE_BPS}")
    # A rate of 0 is given too: it is how a limit is taken away from a queue that lives on.
    ip.tc(
        "replace",
        "netem",
        index,
        handle=0x10000,
        delay=direction.latency_us,
        limit=queue_frames(direction),
        rate=direction.rate_bps // 8,
    )


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


def _load_modules() -> None:
    """Best effort: they may be built in, or there may be no modules at all; the probe itself tells."""
    for module in NETEM_MODULES:
        with contextlib.suppress(Failed):
            run(["modprobe", "-q", module])
