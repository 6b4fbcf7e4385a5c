"""netemu@HOST: bridges, ports and link emulation of one host.

Owns:      the bridges and taps of its network namespace, their shaping, the cable process, the firewall of walt-net,
           that nodes speak there in their own name only, the physical interface in it, and which nodes reach further
           (netsetup=NAT).
Serves:    attach_ports, detach_ports, list_ports, diagnose (for services only).
Announces: PORT_ATTACHED, PORT_SHAPED, PORT_DETACHED.
Hears:     nodes NODE_WANTED (link values and netsetup, live), NODE_REMOVED;
           bootserver NODE_BOOTED (measure the node's share); asks nodes at start and now and then, for what was lost.

Environment: WALT_CABLE (own: started here when it is needed, the default; or supervised: somebody else starts it, and again
             when it has ended), WALT_NAT_EXCEPT ("198.18.0.0/15,…": networks that no node reaches, NAT or not),
             WALT_INTERFACE (name or MAC address of an interface that joins walt-net and loses its own addresses, for
             physical machines; default none), and the common ones.
"""

from __future__ import annotations

from typing import Any

from nameko.events import event_handler
from nameko.timer import timer

from services.contracts import bootserver, netemu, nodes, wire
from services.contracts.bootserver import NodeBooted
from services.contracts.nodes import Interface, NodeRemoved, NodeWanted
from services.kit.entrypoints import internal
from services.kit.environment import Environment
from services.kit.metrics import Metrics
from services.kit.peers import Announcer
from services.netemu import health, reports
from services.netemu.provider import Netemu

TEND_S = 2


class NetemuService:
    name = netemu.SERVICE
    here = Netemu()
    announce = Announcer()
    metrics = Metrics()

    @internal
    def attach_ports(
        self, node_id: int, name: str, owner: str, interfaces: list[dict[str, Any]], ip: str = "", version: int = 0
    ) -> list[Any]:
        wanted = wire.load_all(Interface, interfaces)
        done = self.here.attach(node_id, name, owner, wanted, ip, version)
        self._announce(done)
        return wire.dump_all(reports.attached(self.here.emulation.world(), node_id))

    @internal
    def detach_ports(self, node_id: int) -> None:
        self._announce(self.here.detach(node_id))

    @internal
    def list_ports(self) -> list[Any]:
        return wire.dump_all(reports.ports(self.here.emulation.readings()))

    @internal
    def diagnose(self) -> list[Any]:
        return wire.dump_all(
            health.checks(self.here.emulation, self.here.bindings, self.here.physical, self.here.registry.fault)
        )

    @event_handler(nodes.SERVICE, nodes.NODE_WANTED)
    def on_node_wanted(self, payload: dict[str, Any]) -> None:
        node = wire.load(NodeWanted, payload)
        if node.host == self.here.host:
            self._announce(self.here.wish(node))

    @event_handler(nodes.SERVICE, nodes.NODE_REMOVED)
    def on_node_removed(self, payload: dict[str, Any]) -> None:
        self._announce(self.here.remove(wire.load(NodeRemoved, payload)))

    @event_handler(bootserver.SERVICE, bootserver.NODE_BOOTED)
    def on_node_booted(self, payload: dict[str, Any]) -> None:
        self.here.measure(wire.load(NodeBooted, payload).node_id)

    @timer(interval=TEND_S)
    def tend_ports(self) -> None:
        self._announce(self.here.emulation.mend())
        self._announce(self.here.calibration.step())
        self.here.physical.tend()

    def _announce(self, done: list[Any]) -> None:
        if not done:  # the world need not be read for that
            return
        for event, value in reports.events(self.here.emulation.world(), done):
            self.announce(event, value)


def load(env: Environment) -> type:
    return type("NetemuService", (NetemuService,), {"name": netemu.service_on(env.host)})
