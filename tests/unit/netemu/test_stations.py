"""Where the addresses of other hosts are, as the registry tells it: all at once, and one by one in between."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from services.netemu.overlay.stations import Stations, station_of
from services.netemu.ports.plan import KernelInterface
from services.netemu.ports.tunnel import tunnels
from tests.support.specs import spec
from walt.contracts.hosts import Fabric, HostAddress, HostAddresses, Station, StationPort
from walt.contracts.nodes import ABSENT, Interface, Network
from walt.contracts.settings import NAT

HOSTS = [HostAddress(f"host{n}", f"10.7.0.{n}", f"192.168.172.{n}", f"52:57:41:4c:54:0{n}") for n in (1, 2, 3)]
ADDRESSES = HostAddresses("host1", tuple(HOSTS))
LOST = HostAddress("host4", "", "192.168.172.4", "52:57:41:4c:54:04")


def station(node_id: int, host: str, *networks: int, version: int = 1, has_nat: bool = False) -> Station:
    ports = tuple(StationPort(network, mac(node_id, network)) for network in networks)
    return Station(node_id, version, host, f"192.168.173.{node_id}", has_nat, ports)


def mac(node_id: int, network: int) -> str:
    return f"52:54:00:{network:02x}:{node_id >> 8:02x}:{node_id & 255:02x}"


@pytest.fixture
def stations() -> Stations:
    found = Stations("host1")
    found.replace(Fabric(ADDRESSES, (station(1, "host2", 0, 5), station(2, "host3", 0, 5), station(3, "host3", 0, 6))))
    return found


def test_a_station_is_what_others_need_of_a_node():
    ports = (
        Interface(2, "52:54:00:00:00:01", Network(0, "walt-net", "")),
        Interface(3, "aa", Network(5, "n", "alice")),
    )
    node = spec(id=7, version=3, host="host2", ip="192.168.173.7", interfaces=ports)
    wanted = Station(7, 3, "host2", node.ip, False, (StationPort(0, "52:54:00:00:00:01"), StationPort(5, "aa")))
    assert station_of(node) == wanted
    assert station_of(replace(node, netsetup=NAT)) == replace(wanted, has_nat=True)
    assert station_of(replace(node, power=ABSENT)) is None


def test_a_network_reaches_the_hosts_that_have_stations_there(stations):
    assert stations.remotes(5) == {"10.7.0.2", "10.7.0.3"} and stations.remotes(6) == {"10.7.0.3"}
    assert stations.remotes(7) == set()
    assert stations.address(5, mac(1, 5)) == "10.7.0.2" and stations.address(6, mac(1, 5)) == ""
    assert stations.remove(1) == {(0, mac(1, 0)), (5, mac(1, 5))}
    assert stations.remotes(5) == {"10.7.0.3"} and stations.address(5, mac(1, 5)) == ""
    stations.remove(2)
    assert (stations.remotes(5), list(stations.macs(5))) == (set(), [])


def test_on_walt_net_the_hosts_are_stations_themselves(stations):
    found = Stations("host1")
    found.set_addresses(ADDRESSES)
    assert found.remotes(0) == {"10.7.0.2", "10.7.0.3"}
    assert found.address(0, HOSTS[1].mac) == "10.7.0.2"
    assert found.address(0, HOSTS[0].mac) == "", "one's own is here"
    found.set_addresses(HostAddresses("host1", (HOSTS[0], LOST)))
    assert (found.remotes(0), found.others, list(found.macs(0))) == (set(), [], [])


def test_a_host_that_cannot_be_reached_has_no_address(stations):
    stations.put(station(4, "host4", 7))
    assert stations.remotes(7) == set() and stations.address(7, mac(4, 7)) == ""
    stations.set_addresses(HostAddresses("host1", (*HOSTS, replace(LOST, underlay="10.7.0.4"))))
    assert stations.remotes(7) == {"10.7.0.4"} and stations.address(7, mac(4, 7)) == "10.7.0.4"


def test_a_change_names_the_places_that_it_is_about(stations):
    assert stations.put(station(1, "host2", 0, 5)) == set()
    assert stations.put(station(1, "host2", 0, 6, version=2)) == {(0, mac(1, 0)), (5, mac(1, 5)), (6, mac(1, 6))}
    assert stations.put(station(1, "host2", 0, 5)) is None, "it is older than what is known"
    assert stations.remotes(6) == {"10.7.0.2", "10.7.0.3"}
    assert stations.put(station(1, "host3", 0, 6, version=3)) == {(0, mac(1, 0)), (6, mac(1, 6))}
    assert stations.remotes(6) == {"10.7.0.3"}
    assert stations.put(station(1, "host1", 0, 6, version=4)) == {(0, mac(1, 0)), (6, mac(1, 6))}
    assert stations.address(6, mac(1, 6)) == "", "it is here now"


def test_an_address_that_two_nodes_claim_is_the_latter_s(stations):
    twin = replace(station(9, "host2", 6), ports=(StationPort(6, mac(3, 6)),))
    stations.put(twin)
    assert (stations.address(6, mac(3, 6)), stations.remotes(6)) == ("10.7.0.2", {"10.7.0.2"})
    stations.remove(3)
    assert stations.address(6, mac(3, 6)) == "10.7.0.2"
    stations.remove(9)
    assert stations.remotes(6) == set()


def test_what_was_heard_while_all_were_asked_for_holds(stations):
    stations.put(station(3, "host2", 0, 6, version=9))
    stations.expect()
    stations.remove(1)
    stations.put(station(2, "host2", 0, 5, version=2))
    stations.put(station(8, "host2", 8))
    old = (station(1, "host2", 0, 5), station(2, "host3", 0, 5), station(3, "host3", 0, 6))
    stations.replace(Fabric(ADDRESSES, old))
    assert stations.address(5, mac(1, 5)) == ""
    assert stations.address(5, mac(2, 5)) == "10.7.0.2"
    assert stations.remotes(8) == {"10.7.0.2"}
    assert stations.remotes(6) == {"10.7.0.3"}, "what was heard before is in the reply"
    stations.expect()
    stations.replace(Fabric(ADDRESSES, ()))
    assert stations.remotes(5) == set() and stations.remotes(0) == {"10.7.0.2", "10.7.0.3"}


def test_who_may_reach_more_than_walt_net(stations):
    stations.put(station(4, "host2", 0, has_nat=True))
    stations.put(replace(station(5, "host2", 0, has_nat=True), ip=""))
    assert stations.nat_addresses() == ["192.168.173.4"]


def test_a_change_costs_the_same_among_ten_thousand_stations():
    def seconds(count: int) -> float:
        found = Stations("host1")
        found.replace(Fabric(ADDRESSES, tuple(station(n, "host2", 0, 5) for n in range(count))))
        changes = [station(n % count, "host3", 0, 5, version=2 + n) for n in range(300)]
        start = time.perf_counter()
        for one in changes:
            for network_id, _ in found.put(one) or ():
                found.remotes(network_id)
        return time.perf_counter() - start

    assert min(seconds(10_000) for _ in range(3)) < 5 * min(seconds(100) for _ in range(3))


def interface(name: str, alias: str = "walt tunnel 10.7.0.1", master: str = "") -> KernelInterface:
    return KernelInterface(name, "", alias, master)


def test_tunnels_are_found_again_and_what_is_left_of_others():
    whole = [interface("vx5"), interface("vb5", master="net5"), interface("vt5")]
    on_walt_net = [interface("vx0"), interface("vb0", master="walt-net"), interface("vt0")]
    assert tunnels([*whole, *on_walt_net, interface("vx7", "")], "10.7.0.1") == ({0, 5}, [])
    assert tunnels(whole, "10.7.0.9") == (set(), ["vx5", "vb5", "vt5"])
    assert tunnels(whole, "") == (set(), ["vx5", "vb5", "vt5"])
    assert tunnels(whole[:2], "10.7.0.1") == (set(), ["vx5", "vb5"])
    assert tunnels([whole[0], interface("vb5"), whole[2]], "10.7.0.1") == (set(), ["vx5", "vb5", "vt5"])
