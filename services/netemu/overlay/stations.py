"""Pure: where the MAC addresses of other hosts are, by network. Work is proportional to the change.

Stations come from the registry: all of them now and then (`replace`), and one by one in between (`put`, `remove`). A
reply may be older than what was heard while it was under way, which `replace` keeps. On walt-net the other hosts have
an address each themselves.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable

from walt.contracts.hosts import Fabric, HostAddress, HostAddresses, Station
from walt.contracts.hosts import station_of as station_of_present
from walt.contracts.nodes import ABSENT, WALT_NET_ID, NodeWanted

WALT_NET_VNI = 0

Places = set[tuple[int, str]]  # (network id, MAC address) of what has changed


def station_of(node: NodeWanted) -> Station | None:
    """None for a node that is to go."""
    return None if node.power == ABSENT else station_of_present(node)


class Stations:
    """host: this one, whose own stations are not kept."""

    def __init__(self, host: str) -> None:
        self._host = host
        self._others: dict[str, HostAddress] = {}  # that can be reached, by name
        self._stations: dict[int, Station] = {}
        self._hosts: dict[int, dict[str, str]] = defaultdict(dict)  # by network and MAC address
        self._counts: dict[int, Counter[str]] = defaultdict(Counter)  # of these MAC addresses, by network and host
        self._vnis: dict[int, int] = {}  # by network
        self._heard: dict[int, Station | None] = {}  # since `expect`, by node

    @property
    def others(self) -> list[HostAddress]:
        """The other hosts that this one reaches."""
        return list(self._others.values())

    def expect(self) -> None:
        """All stations are asked for now."""
        self._heard.clear()

    def replace(self, fabric: Fabric) -> None:
        """These are all, but for what was heard since `expect`."""
        heard, self._heard = self._heard, {}
        self._stations.clear()
        self._hosts.clear()
        self._counts.clear()
        self._vnis.clear()
        self._others.clear()
        self.set_addresses(fabric.addresses)
        for station in fabric.stations:
            self.put(station)
        for node_id, newer in heard.items():
            if newer is None:
                self.remove(node_id)
            else:
                self.put(newer)

    def set_addresses(self, addresses: HostAddresses) -> None:
        """What was told of hosts before is void."""
        for one in self._others.values():
            self._drop(WALT_NET_ID, one.mac, one.name)
        self._others = {one.name: one for one in addresses.hosts if one.name != self._host and one.underlay}
        for one in self._others.values():
            self._add(WALT_NET_ID, one.mac, one.name)

    def put(self, station: Station) -> Places | None:
        """None when a newer version is known."""
        known = self._stations.get(station.node_id)
        if known is not None and known.version > station.version:
            return None
        self._heard[station.node_id] = station
        if known == station:
            return set()
        places = self._take_out(station.node_id)
        if station.host != self._host:
            self._stations[station.node_id] = station
            for port in station.ports:
                self._add(port.network_id, port.mac, station.host)
                self._vnis[port.network_id] = port.vni
                places.add((port.network_id, port.mac))
        return places

    def remove(self, node_id: int) -> Places:
        self._heard[node_id] = None
        return self._take_out(node_id)

    def networks(self) -> set[int]:
        """Those on which other hosts that can be reached have stations."""
        return {network_id for network_id in self._counts if self.remotes(network_id)}

    def remotes(self, network_id: int) -> set[str]:
        """The underlay addresses of the hosts that have stations there."""
        hosts = self._counts.get(network_id, ())
        return {self._others[host].underlay for host in hosts if host in self._others}

    def vni(self, network_id: int) -> int:
        """Of a network on which other hosts have stations."""
        return self._vnis.get(network_id, WALT_NET_VNI)

    def address(self, network_id: int, mac: str) -> str:
        """The underlay address of its host; "" when it has none that is known."""
        host = self._hosts.get(network_id, {}).get(mac, "")
        return self._others[host].underlay if host in self._others else ""

    def macs(self, network_id: int) -> Iterable[str]:
        return self._hosts.get(network_id, {}).keys()

    def of(self, node_id: int) -> Station | None:
        return self._stations.get(node_id)

    def has_nat(self, ip: str, but: int) -> bool:
        """Whether a station with this address may reach more than walt-net; but: a node that does not count."""
        return any(one.ip == ip and one.has_nat for one in self._stations.values() if one.node_id != but)

    def nat_addresses(self) -> list[str]:
        """On walt-net, of the stations that may reach more than that."""
        return [station.ip for station in self._stations.values() if station.has_nat and station.ip]

    def _take_out(self, node_id: int) -> Places:
        station = self._stations.pop(node_id, None)
        if station is None:
            return set()
        for port in station.ports:
            self._drop(port.network_id, port.mac, station.host)
        return {(port.network_id, port.mac) for port in station.ports}

    def _add(self, network_id: int, mac: str, host: str) -> None:
        self._drop(network_id, mac, self._hosts.get(network_id, {}).get(mac, ""))
        self._hosts[network_id][mac] = host
        self._counts[network_id][host] += 1

    def _drop(self, network_id: int, mac: str, host: str) -> None:
        hosts, counts = self._hosts.get(network_id, {}), self._counts.get(network_id, Counter())
        if hosts.get(mac) != host:  # it is another's by now
            return
        del hosts[mac]
        counts[host] -= 1
        if not counts[host]:
            del counts[host]
        if not counts:
            del self._hosts[network_id], self._counts[network_id]
            self._vnis.pop(network_id, None)
