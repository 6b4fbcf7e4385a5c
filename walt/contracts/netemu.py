"""netemu@HOST: bridges, ports and link emulation of one host.

Internal RPC:
  attach_ports(node_id, name, owner, interfaces: [Interface], ip="", version=0) -> [AttachedPort]
        idempotent: makes, repairs or removes what differs; the taps are shaped already; in the order of the slots
        version: NodeWanted.version of these interfaces; when a newer one has been received, its links hold
        ip: on walt-net the node may send from this address, and from the MAC of its interface there, only
  list_ports() -> [PortReport]     diagnose() -> [Check]
Hears: nodes NODE_WANTED (link values and netsetup, live), NODE_REMOVED;
       bootserver NODE_BOOTED (measure the node's own latency)
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
    """One port. requested: the link of the setting; compensation_us: the latency that the platform itself adds,
    measured, which is subtracted from the outgoing delay; applied: the link that the back-end realises;
    measured_latency_us: the mean delay of the last frames that the node sent, compensation included, None where it is
    not measured."""

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
