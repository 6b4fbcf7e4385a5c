"""netemu@HOST: bridges, ports and link emulation of one host.

Internal RPC:
  attach_ports(node_id, name, owner, interfaces: [Interface], ip="", version=0, live=False)
      -> [AttachedPort]
        idempotent: makes, repairs or removes what differs; the taps are shaped already; in the order of the slots
        version: NodeWanted.version of these interfaces; when a newer one has been received, its links hold
        live: the node runs, and frames may be under way on the ports that it keeps
        ip: on walt-net the node may send from this address, and from the MAC of its interface there, only
  list_ports() -> [PortReport]     diagnose() -> [Check]
  open_capture(target: CaptureTarget, expression="", count=0) -> OpenCapture
        the frames of this port from now on. expression: a filter of tcpdump; count: it ends after so many frames (0:
        when its reader says so). InvalidRequest that says what is wrong with the filter; NotFound without such a port;
        Conflict when the host has MAX_CAPTURES
Hears: nodes NODE_WANTED (link values and netsetup, live; of nodes of other hosts: where they are), NODE_REMOVED,
             HOSTS_CHANGED (hosts.py: the addresses of all hosts);
       bootserver NODE_BOOTED (measure the node's own latency)
Announces: AGENT_PRESENT (hosts.py)
Calls: nodes get_specs, check_history, get_fabric(host) -> Fabric (hosts.py): all hosts, and the stations that are not
       on this one

Who reads a capture connects to `address`, an abstract Unix socket (SOCK_SEQPACKET) of the network namespace, within 10
s, and sends `key`. Then messages come, of a byte that tells the kind, and a body:
  CAPTURE_PIECE  whole blocks of a pcapng file, in their order, from its first
  CAPTURE_END    the last one: JSON, a CaptureEnd
Shutting down its sending side (SHUT_WR) asks for the end: what is there still comes. A reader that closes the socket
ends the capture. While it does not read, frames wait, up to 8 MiB; further ones are counted, and left out.
The interface that WALT_INTERFACE names joins walt-net as it is, without report or shaping: physical machines.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from walt.contracts.agent_names import on_host
from walt.contracts.links import LinkModel

SERVICE = "netemu"

KERNEL = "kernel"  # netem and rate of the host's kernel
CABLE = "cable"  # our link in user space
DIRECT = "direct"  # no link option is set: the tap is on the bridge

CAPTURE_PIECE = b"p"
CAPTURE_END = b"e"
CAPTURE_MESSAGE_BYTES = 2**18  # at most
MAX_CAPTURES = 64  # on one host


def service_on(host: str) -> str:
    return on_host(SERVICE, host)


@dataclass(frozen=True)
class AttachedPort:
    """The tap that qemu opens for the interface in this PCI slot (persistent, IFF_VNET_HDR)."""

    slot: int
    tap: str


@dataclass(frozen=True)
class Traffic:
    """What has passed one direction of a port since it was made. dropped: for whatever reason, requested loss
    included; late: frames forwarded more than 1 ms after they were due (where the back-end can tell)."""

    frames: int = 0
    bytes: int = 0
    dropped: int = 0
    late: int = 0


@dataclass(frozen=True)
class PortReport:
    """One port. requested: the link of the setting; compensation_us: the latency of the platform and of its underlay,
    measured, which is subtracted from the outgoing delay; applied: the link that the back-end realises;
    measured_latency_us: the mean delay of the last frames that the node sent, compensation included, None where it is
    not measured; refused: frames of the node that were left out since it may not send them, on walt-net."""

    node_id: int
    node: str
    owner: str
    network: str
    network_owner: str
    slot: int
    tap: str
    backend: str
    requested: LinkModel
    applied: LinkModel
    compensation_us: int
    measured_latency_us: int | None = None
    up: Traffic = field(default_factory=Traffic)
    down: Traffic = field(default_factory=Traffic)
    refused: int = 0


@dataclass(frozen=True)
class CaptureTarget:
    """A port: of this node, which has this owner, on this network. The network of a former owner is no longer its."""

    node_id: int
    node: str
    owner: str
    network: str


@dataclass(frozen=True)
class OpenCapture:
    """address: the socket's name, without the zero byte before it. key: what a reader shows there."""

    address: str
    key: str


@dataclass(frozen=True)
class CaptureEnd:
    """captured: frames in the file; missed: those that the filter let through and that are not in it, since its reader
    or the host was too slow. fault: why it ended by itself, "" where it was to."""

    captured: int
    missed: int
    fault: str = ""
