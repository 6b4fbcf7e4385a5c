"""Hosts: the servers that run nodes. Each has its agents (vmrunner, netemu, console), which announce that they are
there.

One of them, the server's host, has bootserver too: the first address of walt-net, DNS, DHCP, NAT. Networks span hosts
by VXLAN between their underlay addresses; the registry tells each host which MAC addresses are on which other host.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from walt.contracts.nodes import NodeWanted
from walt.contracts.settings import NAT
from walt.contracts.vmrunner import Capacity

AGENT_PRESENT = "agent_present"  # an event of each agent, every PRESENCE_S
HOSTS_CHANGED = "hosts_changed"  # an event of nodes: HostAddresses

PRESENCE_S = 4.0
UNREACHABLE_AFTER_S = 12.0  # without word of its vmrunner

PRESENT = "present"
UNREACHABLE = "unreachable"  # of a host, and of the nodes on it


@dataclass(frozen=True)
class AgentPresent:
    """agent: 'netemu'; version: of walt. underlay: the IPv4 address at which the other hosts reach this one, "" from
    the other agents and where the host is to be alone; capacity: vmrunner's."""

    host: str
    agent: str
    version: str = ""
    underlay: str = ""
    capacity: Capacity | None = None


@dataclass(frozen=True)
class HostAddress:
    """ip, mac: of its bridge on walt-net; those of the server's host are the server's. underlay: "" when the other
    hosts do not reach it."""

    name: str
    underlay: str
    ip: str
    mac: str


@dataclass(frozen=True)
class HostAddresses:
    """server: the name of the server's host, which is among the hosts."""

    server: str
    hosts: tuple[HostAddress, ...]


@dataclass(frozen=True)
class HostAccess:
    """With what the agents of a further host log in, and what else they are told: server, the name of the server's
    host; subnet, of walt-net."""

    host: str
    account: str
    password: str = field(repr=False)
    server: str
    subnet: str


@dataclass(frozen=True)
class HostView:
    """A host as `walt host` shows it. state: PRESENT, or UNREACHABLE with since (epoch seconds). nodes: how many of its
    nodes are virtual; leaving: how many others have their disks there still; promised_bytes: memory of those that are
    on; ip: of the host on walt-net."""

    name: str
    state: str
    since: float
    is_drained: bool
    is_server: bool
    nodes: int
    promised_bytes: int
    capacity: Capacity | None = None
    underlay: str = ""
    ip: str = ""
    version: str = ""
    leaving: int = 0


@dataclass(frozen=True)
class NodeMove:
    node: str
    host: str


@dataclass(frozen=True)
class StuckNode:
    """why: a sentence."""

    node: str
    why: str


@dataclass(frozen=True)
class HostEvacuation:
    """moves: where the nodes of a host go; stuck: those that cannot go anywhere."""

    moves: tuple[NodeMove, ...]
    stuck: tuple[StuckNode, ...]


@dataclass(frozen=True)
class StationPort:
    """A MAC address on a network. vni: as in Network."""

    network_id: int
    mac: str
    vni: int = 0


@dataclass(frozen=True)
class Station:
    """A node as the other hosts reach it. version: of its spec (NodeWanted); has_nat: it may reach more than
    walt-net."""

    node_id: int
    version: int
    host: str
    ip: str
    has_nat: bool
    ports: tuple[StationPort, ...]


def station_of(node: NodeWanted) -> Station:
    """Of a node that is not to go."""
    ports = tuple(StationPort(one.network.id, one.mac, one.network.vni) for one in node.interfaces)
    return Station(node.id, node.version, node.host, node.ip, node.netsetup == NAT, ports)


@dataclass(frozen=True)
class Fabric:
    """The other end of the networks of one host: all hosts, and the stations that are not on it."""

    addresses: HostAddresses
    stations: tuple[Station, ...]
