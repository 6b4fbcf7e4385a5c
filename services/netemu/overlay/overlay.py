"""The adapter that makes networks span hosts: a tunnel for each network that has a bridge here and stations elsewhere.

Its entries are those of the registry, without learning: each MAC address has one host, and what has no entry goes to
all hosts with stations on the network. The kernel is the only database. It is read at each reconciliation; between two,
what was done is remembered, and each change touches the networks and addresses that it is about.
"""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field

from services.netemu.filters import underlay as underlay_filter
from services.netemu.kernel.fdb import ALL_OTHERS, ForwardingEntry, change_entries, read_entries
from services.netemu.kernel.netlink import Netlink
from services.netemu.kernel.tunnels import make_tunnel, remove_tunnel
from services.netemu.overlay.stations import Places, Stations, station_of
from services.netemu.ports import plan, tunnel
from services.netemu.ports.plan import Action
from services.netemu.ports.port import network_of_bridge
from walt.contracts.errors import Failed
from walt.contracts.hosts import Fabric, HostAddresses
from walt.contracts.nodes import WALT_NET_ID, NodeWanted

log = logging.getLogger(__name__)

Entries = frozenset[ForwardingEntry]


@dataclass
class Tunnel:
    """vxlan, bridge_end: indexes of its interfaces; entries: that it has, by MAC address."""

    vxlan: int
    bridge_end: int
    entries: dict[str, Entries] = field(default_factory=dict)


class Overlay:
    """underlay: the address at which the others reach this host; "": it is alone. source: its own, from which it sends
    to them. wake: set when a change has failed, and the next reconciliation is to repair it."""

    def __init__(self, netlink: Netlink, host: str, underlay: str, source: str, wake: threading.Event) -> None:
        self.underlay = underlay
        self.source = source
        self.stations = Stations(host)
        self._netlink = netlink
        self.fault = ""  # of the last change that failed, until the next reconciliation
        self._wake = wake
        self._lock = threading.Lock()
        self._newer_addresses: HostAddresses | None = None
        self._here: set[int] = set()  # ids of the networks that have a bridge
        self._tunnels: dict[int, Tunnel] | None = None  # by network; None: not read yet, or no longer known

    @property
    def spanned(self) -> list[int]:
        """The ids of the networks that have a tunnel."""
        return sorted(self._tunnels or ())

    def follow(self, actions: Iterable[Action]) -> None:
        """After what was done to bridges."""
        with self._lock:
            for action in actions:
                if isinstance(action, plan.MakeBridge):
                    self._here.add(action.network.id)
                    self._sync(action.network.id)
                elif isinstance(action, plan.RemoveBridge):
                    self._here.discard(network_of_bridge(action.name))
                    self._sync(network_of_bridge(action.name))

    def put(self, node: NodeWanted) -> bool:
        """A node of another host is so; False when a newer version of it is known."""
        with self._lock:
            station = station_of(node)
            places = self.stations.remove(node.id) if station is None else self.stations.put(station)
            self._sync_places(places or set())
            return places is not None

    def forget(self, node_id: int) -> None:
        """It is removed, or here now."""
        with self._lock:
            self._sync_places(self.stations.remove(node_id))

    def set_addresses(self, addresses: HostAddresses) -> None:
        with self._lock:
            self._newer_addresses = addresses
            self.stations.set_addresses(addresses)
            self._allow_others()
            self._sync_all()

    def expect(self) -> None:
        """The fabric is asked for now: what is heard until it comes may be newer."""
        with self._lock:
            self._newer_addresses = None
            self.stations.expect()

    def reconcile(self, fabric: Fabric, bridges: Iterable[str]) -> None:
        """Read what the kernel has, and make it what it should be. bridges: the names of those of this host."""
        with self._lock:
            if self._newer_addresses not in (None, fabric.addresses):
                self._wake.set()  # which of the two is newer is not known
            self.stations.replace(fabric)
            self._here = set(map(network_of_bridge, bridges))
            self._allow_others()
            self._tunnels = self._read()
            self.fault = ""
            self._sync_all()

    def _read(self) -> dict[int, Tunnel]:
        complete, leftovers = tunnel.tunnels(self._netlink.interfaces(), self.source)
        for name in leftovers:
            self._netlink.remove(name)
        found = {network_id: _opened(network_id) for network_id in complete}
        owners = {one.vxlan: one for one in found.values()} | {one.bridge_end: one for one in found.values()}
        for entry in read_entries():
            if entry.index in owners:
                entries = owners[entry.index].entries
                entries[entry.mac] = entries.get(entry.mac, frozenset()) | {entry}
        return found

    def _allow_others(self) -> None:
        underlay_filter.set_hosts({one.underlay for one in self.stations.others} if self.underlay else ())

    def _sync_all(self) -> None:
        for network_id in self._here | set(self._tunnels or ()):
            self._sync(network_id)

    def _sync_places(self, places: Places) -> None:
        for network_id in {network_id for network_id, _ in places}:
            self._sync(network_id, {mac for one, mac in places if one == network_id})

    def _sync(self, network_id: int, macs: Iterable[str] | None = None) -> None:
        """macs: those that may have changed; None: all."""
        if self._tunnels is None:
            return
        try:
            self._make_so(self._tunnels, network_id, macs)
        except (Failed, OSError) as error:
            self._tunnels = None
            self.fault = str(error)
            self._wake.set()
            raise Failed(f"tunnel {tunnel.vxlan_name(network_id)}: {error}") from None

    def _make_so(self, tunnels: dict[int, Tunnel], network_id: int, macs: Iterable[str] | None) -> None:
        present = tunnels.get(network_id)
        if not self._is_wanted(network_id):
            if present is not None:
                log.info("no tunnel of %s any more", tunnel.vxlan_name(network_id))
                del tunnels[network_id]
                remove_tunnel(self._netlink, network_id)
            return
        if present is None:
            log.info("a tunnel for network %d", network_id)
            make_tunnel(self._netlink, network_id, self.stations.vni(network_id), self.source)
            present, macs = _opened(network_id), None
            tunnels[network_id] = present
        named = (*self.stations.macs(network_id), *present.entries) if macs is None else macs
        self._enter(present, {mac: self._entries(network_id, present, mac) for mac in (ALL_OTHERS, *named)})

    def _is_wanted(self, network_id: int) -> bool:
        return bool(self.underlay and network_id in self._here and self.stations.remotes(network_id))

    def _enter(self, present: Tunnel, wanted: dict[str, Entries]) -> None:
        before = {mac: present.entries.get(mac, frozenset()) for mac in wanted}
        changed = [mac for mac in wanted if wanted[mac] != before[mac]]
        if not changed:
            return
        added = [entry for mac in changed for entry in wanted[mac] - before[mac]]
        change_entries(added, [entry for mac in changed for entry in before[mac] - wanted[mac]])
        for mac in changed:
            if wanted[mac]:
                present.entries[mac] = wanted[mac]
            else:
                del present.entries[mac]

    def _entries(self, network_id: int, present: Tunnel, mac: str) -> Entries:
        """That this MAC address should have. On walt-net the bridge has one too, and sends it through no other port."""
        if mac == ALL_OTHERS:
            remotes = self.stations.remotes(network_id)
            return frozenset(ForwardingEntry(present.vxlan, ALL_OTHERS, remote) for remote in remotes)
        address = self.stations.address(network_id, mac)
        if not address:
            return frozenset()
        of_bridge = {ForwardingEntry(present.bridge_end, mac)} if network_id == WALT_NET_ID else set()
        return frozenset({ForwardingEntry(present.vxlan, mac, address), *of_bridge})


def _opened(network_id: int) -> Tunnel:
    vxlan, bridge_end, _ = map(socket.if_nametoindex, tunnel.names(network_id))
    return Tunnel(vxlan, bridge_end)
