"""netemu@HOST: bridges, ports and link emulation of one host, and its tunnels to the others.

Owns:      the bridges and taps of its network namespace, their shaping, the cable process, the tunnels between hosts,
           the packet filters of walt-net (what nodes reach, from which addresses they send, netsetup=NAT), the
           processes of captures, and the physical interface in walt-net.
Serves:    attach_ports, list_ports, open_capture, diagnose (for services only).
Announces: AGENT_PRESENT (walt/contracts/hosts.py), with the address at which other hosts reach this one.
Hears:     nodes NODE_WANTED (of its nodes: link values and netsetup, live; of others: where they are), NODE_REMOVED,
           HOSTS_CHANGED (the addresses of all hosts);
           bootserver NODE_BOOTED (measure the node's share). At its start and now and then it asks nodes for the specs
           of its nodes, and for the fabric: all that is on other hosts.

Environment: WALT_CABLE (own: netemu starts it when it is needed, the default; supervised: a supervisor starts it, and
             restarts it), WALT_NAT_EXCEPT ("198.18.0.0/15,…": networks that no node reaches, with NAT or without),
             WALT_INTERFACE (name or MAC address of an interface that joins walt-net and loses its own addresses, for
             physical machines; default none), WALT_BINDING (required: a node whose addresses this kernel cannot bind
             gets no port on walt-net, the default; optional: it gets one), WALT_UNDERLAY (the IPv4 address of this host
             at which the other hosts reach it; default none: it is alone), WALT_UNDERLAY_INTERFACE (in a container,
             which has not that address itself: its interface towards them; default none), WALT_SERVER_HOST (label of
             the host that has nodes and bootserver; default: this one), and the common ones.
"""

from __future__ import annotations

from services.kit.bus.app import AppProvider
from services.kit.bus.call_metrics import Metrics
from services.kit.bus.entrypoints import every, internal, on_event
from services.netemu.app import NetemuApp
from walt.contracts import bootserver, hosts, netemu, nodes
from walt.contracts.bootserver import NodeBooted
from walt.contracts.checks import Check
from walt.contracts.hosts import HostAddresses
from walt.contracts.netemu import AttachedPort, CaptureTarget, OpenCapture, PortReport
from walt.contracts.nodes import Interface, NodeRemoved, NodeWanted

POLL_S = 2
WAYS_S = 10


class NetemuService:
    name = netemu.SERVICE
    app: NetemuApp = AppProvider(NetemuApp)
    metrics = Metrics()

    @internal
    def attach_ports(
        self,
        node_id: int,
        name: str,
        owner: str,
        interfaces: list[Interface],
        ip: str = "",
        version: int = 0,
        live: bool = False,
    ) -> list[AttachedPort]:
        return self.app.attach(node_id, name, owner, interfaces, ip, version, live=live)

    @internal
    def list_ports(self) -> list[PortReport]:
        return self.app.list_ports()

    @internal
    def open_capture(self, target: CaptureTarget, expression: str = "", count: int = 0) -> OpenCapture:
        return self.app.open_capture(target, expression, count)

    @internal
    def diagnose(self) -> list[Check]:
        return self.app.diagnose()

    @on_event(nodes.SERVICE, nodes.NODE_WANTED)
    def on_node_wanted(self, node: NodeWanted) -> None:
        self.app.apply_spec(node)

    @on_event(nodes.SERVICE, nodes.NODE_REMOVED)
    def on_node_removed(self, removed: NodeRemoved) -> None:
        self.app.remove(removed)

    @on_event(nodes.SERVICE, hosts.HOSTS_CHANGED)
    def on_hosts_changed(self, addresses: HostAddresses) -> None:
        self.app.set_hosts(addresses)

    @on_event(bootserver.SERVICE, bootserver.NODE_BOOTED)
    def on_node_booted(self, booted: NodeBooted) -> None:
        self.app.measure(booted)

    @every(seconds=POLL_S)
    def repair(self) -> None:
        self.app.repair()

    @every(seconds=POLL_S)
    def calibrate(self) -> None:
        self.app.calibration.step()

    @every(seconds=WAYS_S)
    def measure_ways(self) -> None:
        self.app.ways.step()
