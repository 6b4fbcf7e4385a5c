"""netemu@HOST: bridges, ports and link emulation of one host.

Internal RPC:
  attach_ports(node_id, name, owner, interfaces: [Interface], ip="", version=0) -> [AttachedPort]
        idempotent: makes, mends or removes what differs; the taps come back already shaped; in list order
        version: NodeWanted.version that this is of; where a newer one was heard, its links hold
        ip: on walt-net the node may send from this address, and from the MAC of its interface there, only
  detach_ports(node_id)
  list_ports() -> [PortReport]     diagnose() -> [Check]
Events: PORT_ATTACHED, PORT_SHAPED (PortReport), PORT_DETACHED (PortDetached): for observers, no service needs them
Hears: nodes NODE_WANTED (link values and netsetup, live), NODE_REMOVED;
       bootserver NODE_BOOTED (measure the node's own latency)
The interface that WALT_INTERFACE names joins walt-net as it is, without report, shaping or events: physical machines.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from services.contracts.hosts import on_host
from services.contracts.links import LinkModel

SERVICE = "netemu"

PORT_ATTACHED = "port_attached"
PORT_SHAPED = "port_shaped"
PORT_DETACHED = "port_detached"

KERNEL = "kernel"  # netem and rate of the host's kernel
CABLE = "cable"  # our userspace link
DIRECT = "direct"  # nothing asked of this port: the tap is on the bridge


def service_on(host: str) -> str:
    return on_host(SERVICE, host)


@dataclass(frozen=True)
class AttachedPort:
    """The tap that qemu opens for the interface in this PCI slot (persistent, IFF_VNET_HDR)."""

    slot: int
    tap: str


@dataclass(frozen=True)
class Traffic:
    """What has passed one direction of a port since it was made. dropped: for whatever reason, loss that was asked
    included; late: handed on more than 1 ms after it was due (where the back-end can tell)."""

    frames: int = 0
    bytes: int = 0
    dropped: int = 0
    late: int = 0


@dataclass(frozen=True)
class PortReport:
    """One port: asked is the link of the setting; compensation_us is what the platform itself adds, measured,
    and so takes off the outgoing delay; applied is what the back-end was told; measured_latency_us is the mean delay
    that frames of the node had on their way out lately, compensation included, None where nothing tells it."""

    node_id: int
    node: str
    owner: str
    network: str
    network_owner: str
    slot: int
    tap: str
    backend: str
    asked: LinkModel
    applied: LinkModel
    compensation_us: int
    measured_latency_us: int | None = None
    up: Traffic = field(default_factory=Traffic)
    down: Traffic = field(default_factory=Traffic)


@dataclass(frozen=True)
class PortDetached:
    node_id: int
    slot: int
