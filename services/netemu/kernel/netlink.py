"""The kernel's interfaces, qdiscs and filters: the only user of pyroute2. Decides nothing.

pyroute2 uses asyncio internally, and its sockets must not be shared between greenthreads: so there is one lock, and
each operation opens a socket of its own.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
from collections.abc import Iterator
from typing import Any

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from services.netemu.kernel import forwarding_table, group_addresses, netem_attributes
from services.netemu.kernel.host_stack import disable_host_stack
from services.netemu.kernel.link_table import LinkTable
from services.netemu.kernel.modules import load_modules
from services.netemu.kernel.steps import delete_qdisc, found_index, index_of, names_of, new_interface, redirect
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
NETEM_HANDLE = 0x10000


class Netlink:
    """Reads and changes the interfaces of this network namespace."""

    def __init__(self) -> None:
        netem_attributes.register()
        forwarding_table.register()
        self._lock = threading.Lock()
        self._table = LinkTable()

    def interfaces(self) -> list[KernelInterface]:
        with self._lock:
            return self._table.read()

    def with_ipv4(self) -> set[str]:
        """The names of the interfaces that have an IPv4 address."""
        with self.opened() as ip:
            names = names_of(ip)
            return {names[one["index"]] for one in ip.get_addr(family=socket.AF_INET) if one["index"] in names}

    def counters(self) -> dict[str, Counters]:
        with self.opened() as ip:
            found = list(ip.get_links())
        return {one.get_attr("IFLA_IFNAME"): _counters(one.get_attr("IFLA_STATS64")) for one in found}

    def queues(self) -> dict[str, Traffic]:
        """{name: traffic} of each interface that has a netem queue."""
        with self.opened() as ip:
            names = names_of(ip)
            found = [one for one in ip.get_qdiscs() if one.get_attr("TCA_KIND") == "netem"]
        return {names[one["index"]]: _passed(one.get_attr("TCA_STATS")) for one in found if one["index"] in names}

    def make_bridge(self, name: str, alias: str, address: str = "", mac: str = "") -> None:
        """A plain Ethernet segment. The host takes no part in it, unless it has an address there."""
        rules = {"br_stp_state": 0, "br_forward_delay": 0, "br_mcast_snooping": 0, **({"address": mac} if mac else {})}
        with self.opened(name) as ip, new_interface(ip, name, alias, kind="bridge", **rules) as index:
            ip.link("set", index=index, IFLA_GROUP=0 if address else SEGMENT_GROUP)
            disable_host_stack(UNFINISHED, is_server=bool(address))
            forwarding_table.bound(ip, index)
            if address:
                host, _, bits = address.partition("/")
                ip.addr("add", index=index, address=host, prefixlen=int(bits))
            else:
                group_addresses.forward_on_bridge(ip, index)

    def set_address(self, bridge: str, address: str, mac: str) -> None:
        """Of the host there: this and no other. Where it is so already, nothing is interrupted."""
        with self.opened(bridge) as ip:
            index = index_of(bridge)
            ip.link("set", index=index, address=mac)
            found = ip.get_addr(family=socket.AF_INET, index=index)
            present = {f"{one.get_attr('IFA_ADDRESS')}/{one['prefixlen']}" for one in found}
            for verb, changed in (("add", {address} - present), ("del", present - {address})):
                for one in changed:
                    host, _, bits = one.partition("/")
                    ip.addr(verb, index=index, address=host, prefixlen=int(bits))

    def make_tap(self, name: str, alias: str, *, mtu: int, queue_frames: int = 1000) -> None:
        """A persistent tap, up; an existing one is kept. mtu: of the largest frame that a bridge sends out of it;
        queue_frames: how many may wait for its reader (1000: the kernel's default)."""
        try:
            with persistent_tap(name), self.opened(name) as ip:
                disable_host_stack(name)
                index = index_of(name)
                limits = {"mtu": mtu, "txqlen": queue_frames}
                ip.link("set", index=index, IFLA_IFALIAS=alias, IFLA_GROUP=SEGMENT_GROUP, state="up", **limits)
        except OSError as error:
            raise Failed(f"the tap {name} could not be made: {error.strerror} (/dev/net/tun)") from None

    def set_alias(self, name: str, alias: str) -> None:
        with self.opened(name) as ip:
            ip.link("set", index=index_of(name), IFLA_IFALIAS=alias)

    def set_bridge(self, name: str, bridge: str) -> None:
        """Make the interface a port of this bridge; '': of none."""
        with self.opened(name) as ip:
            index = index_of(name)
            if bridge:  # before the first frame can pass
                ip.link("set", index=index, IFLA_GROUP=_group_in(bridge))
            ip.link("set", index=index, master=index_of(bridge) if bridge else 0)
            if bridge and bridge != WALT_NET:
                group_addresses.forward_on_port(ip, index)

    def forward_group_addresses(self, name: str, *, is_bridge: bool) -> None:
        """On an interface that an older version made."""
        with self.opened(name) as ip:
            forward = group_addresses.forward_on_bridge if is_bridge else group_addresses.forward_on_port
            forward(ip, index_of(name))

    def bound_forwarding_table(self, bridge: str) -> None:
        """Of a bridge that an older version made."""
        with self.opened(bridge) as ip:
            forwarding_table.bound(ip, index_of(bridge))

    def set_group(self, name: str, group: int) -> None:
        with self.opened(name) as ip:
            ip.link("set", index=index_of(name), IFLA_GROUP=group)

    def make_bridge_port(self, name: str, bridge: str) -> None:
        """Make an existing interface a port of the bridge, up, and nothing else: it loses its addresses."""
        with self.opened(name) as ip:
            index = index_of(name)
            disable_host_stack(name)
            ip.flush_addr(index=index)
            ip.link("set", index=index, master=index_of(bridge), IFLA_GROUP=SEGMENT_GROUP)
            ip.link("set", index=index, state="up")

    def set_isolated(self, name: str, isolated: bool) -> None:
        """Isolated ports of a bridge receive no frames from each other."""
        with self.opened(name) as ip:
            ip.brport("set", index=index_of(name), isolated=int(isolated))

    def remove(self, name: str) -> None:
        """Remove the interface, if it is there."""
        if found_index(name):
            with self.opened(name) as ip:
                for index in found_index(name):
                    ip.link("del", index=index)

    def redirect(self, source: str, target: str) -> None:
        """Send each frame that enters through `source` out through `target`, before the host or a bridge sees it."""
        with self.opened(source) as ip:
            redirect(ip, index_of(source), index_of(target))

    def stop_redirect(self, source: str) -> None:
        """Undo `redirect`."""
        with self.opened(source) as ip:
            delete_qdisc(ip, "clsact", index_of(source))

    def shape(self, tap: str, link: LinkModel) -> None:
        """netem in both directions; frames from the node pass an ifb. Changes apply live."""
        ifb = helpers(tap)["ifb"]
        with self.opened(tap) as ip:
            is_new = not found_index(ifb)
            if is_new:
                with new_interface(ip, ifb, unfinished_alias(tap), kind="ifb") as index:
                    ip.link("set", index=index, IFLA_GROUP=SEGMENT_GROUP)
                    disable_host_stack(UNFINISHED)
            _netem(ip, index_of(ifb), link.up)
            _netem(ip, index_of(tap), link.down)
            if is_new:
                redirect(ip, index_of(tap), index)
                ip.link("set", index=index, IFLA_IFALIAS=helper_alias(tap))  # last: it is complete now

    def unshape(self, tap: str) -> None:
        with self.opened(tap) as ip:
            delete_qdisc(ip, "clsact", index_of(tap))
            with contextlib.suppress(NetlinkError):  # there is no qdisc of ours
                ip.tc("del", index=index_of(tap), root=True)
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
    def opened(self, name: str = "an interface") -> Iterator[Any]:
        try:
            with self._lock, IPRoute() as ip:
                yield ip
        except NetlinkError as error:
            raise Failed(f"the kernel refuses a change of {name}: {error.args[1]}") from error


def _netem(ip: Any, index: int, direction: Direction) -> None:
    ip.tc("replace", "netem", index, handle=NETEM_HANDLE, options=netem.options(direction))


def _group_in(bridge: str) -> int:
    return WALT_NET_PORT_GROUP if bridge == WALT_NET else SEGMENT_GROUP


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
