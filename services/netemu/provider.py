"""`self.here`: what the service's entry points need of this host, and the reconciliation with `nodes`."""

from __future__ import annotations

import ipaddress
import logging
import threading
from collections.abc import Iterable, Sequence
from typing import Any

from nameko.extensions import DependencyProvider
from prometheus_client import REGISTRY

from services.contracts import nodes, wire
from services.contracts.errors import Failed
from services.contracts.nodes import ABSENT, Interface, NodeRemoved, NodeWanted
from services.kit.environment import environment, variable
from services.kit.peers import call
from services.kit.reconciliation import keep_in_step
from services.kit.registry import RegistryGuard
from services.netemu import binding, firewall
from services.netemu.binding import Bindings
from services.netemu.calibration import Calibration
from services.netemu.emulation import Emulation
from services.netemu.metrics import PortCollector
from services.netemu.nat import Nat, parse_networks
from services.netemu.physical import Physical
from services.netemu.plan import Action

log = logging.getLogger(__name__)

RECONCILE_S = 300.0
OWN, SUPERVISED = "own", "supervised"  # WALT_CABLE


class Netemu(DependencyProvider):  # type: ignore[misc]
    """One per process. The world is prepared before the first call is served."""

    emulation: Emulation
    calibration: Calibration
    nat: Nat
    bindings: Bindings
    physical: Physical
    registry: RegistryGuard
    host: str

    def setup(self) -> None:
        env = environment()
        self.host = env.host
        self.registry = RegistryGuard(env.run_dir / "netemu")  # beside the cable: it goes with the ports, not later
        server = server_address(env.subnet)
        self.emulation = Emulation(env.run_dir, env.vm_uid, server, supervised_cable=is_cable_supervised())
        self.calibration = Calibration(self.emulation)
        try:
            self.emulation.prepare()
        except Failed as error:  # of no use yet, but it can say why: calls fail with the reason, and doctor shows it
            log.error("%s", error)
        firewall.guard()
        self.nat = Nat(parse_networks(variable("WALT_NAT_EXCEPT", "")))
        self.nat.guard()
        self._turn = threading.Lock()  # ports are bound as they are, not as they were; the newest wish is the last one
        self._wishes = dict[int, NodeWanted]()
        self.bindings = Bindings(env.subnet)
        self.bindings.guard()
        self.physical = Physical(self.emulation.kernel, variable("WALT_INTERFACE", ""))
        self.physical.tend()
        log.info("link back-end: %s %s", self.emulation.shaper, self.emulation.no_netem)
        self._collector = PortCollector(self.emulation)
        REGISTRY.register(self._collector)

    def start(self) -> None:
        self.container.spawn_managed_thread(lambda: keep_in_step(self.reconcile, RECONCILE_S), identifier="reconcile")

    def stop(self) -> None:
        REGISTRY.unregister(self._collector)

    def get_dependency(self, worker_ctx: Any) -> Netemu:
        return self

    def attach(
        self, node_id: int, name: str, owner: str, interfaces: Sequence[Interface], ip: str, version: int
    ) -> list[Action]:
        """The node has exactly these ports, and speaks on walt-net in its own name before it can speak at all."""
        with self._turn:
            self.bindings.bind(binding.of_interfaces(node_id, ip, interfaces))
            done = self.emulation.attach(node_id, name, owner, interfaces)
            newest = self._wishes.get(node_id)
            if newest is not None and newest.version > version:  # its links were changed while it was made ready
                done += self._relink(newest)
            return done

    def wish(self, node: NodeWanted) -> list[Action]:
        """Its links, live, and how far it reaches; unless a newer wish was heard already."""
        if not self.registry.allows(f"the wish for {node.name}"):
            return []
        with self._turn:
            if self._newest(node) is not node:
                return []
            self.nat.put(node)
            return self._relink(node)

    def remove(self, removed: NodeRemoved) -> list[Action]:
        return self.detach(removed.id) if self.registry.allows(f"the removal of {removed.name}") else []

    def detach(self, node_id: int) -> list[Action]:
        self._wishes.pop(node_id, None)
        self.calibration.forget(node_id)
        done = self.emulation.detach(node_id)
        self.bindings.forget(node_id)
        return done

    def measure(self, node_id: int) -> None:
        """The node has booted: its share of a round trip is measured from now on."""
        for node in self._wanted():
            if node.id == node_id and node.is_virtual:
                self.calibration.measure(node.id, node.ip)

    def reconcile(self) -> None:
        """What was here before asking and is nobody's goes; the rest takes the links it should have."""
        if not self.emulation.world().ports:
            self.registry.release()
        self.registry.check()
        here = {state.port.node_id for state in self.emulation.world().ports.values()}
        self._wishes.clear()  # what is heard from now on may be newer than the answer
        answer = self._wanted()
        with self._turn:
            wanted = {node.id: self._newest(node) for node in answer}
            self.nat.replace(wanted.values())
            for node_id in here - set(wanted):
                self.detach(node_id)
            self._bind_all(wanted.values())
            faults = [self._follow(node) for node in wanted.values() if node.id in here and node.power != ABSENT]
        self.emulation.sweep()
        if any(faults):
            raise Failed("; ".join(fault for fault in faults if fault))

    def _follow(self, node: NodeWanted) -> str:
        """'' or why its links do not follow; those of other nodes may."""
        self.calibration.measure_unknown(node.id, node.ip)
        try:
            self._relink(node)
        except Failed as error:
            return str(error)
        return ""

    def _relink(self, node: NodeWanted) -> list[Action]:
        return self.emulation.relink(node.id, node.name, node.owner, node.interfaces)

    def _newest(self, node: NodeWanted) -> NodeWanted:
        """This wish, or a newer one that was heard before it: messages overtake each other."""
        known = self._wishes.get(node.id, node)
        newest = self._wishes[node.id] = known if known.version > node.version else node
        return newest

    def _bind_all(self, wanted: Iterable[NodeWanted]) -> None:
        ports = [state.port for state in self.emulation.world().ports.values()]
        self.bindings.bind(binding.of_ports(ports, wanted))

    def _wanted(self) -> list[NodeWanted]:
        return wire.load_all(NodeWanted, call(nodes.SERVICE, "wanted_on_host", host=self.host))


def is_cable_supervised() -> bool:
    choice = variable("WALT_CABLE", OWN)
    if choice not in (OWN, SUPERVISED):
        raise SystemExit(f"WALT_CABLE={choice}: allowed: {OWN}, {SUPERVISED}")
    return choice == SUPERVISED


def server_address(subnet: str) -> str:
    """'192.168.172.0/22' -> '192.168.172.1/22'."""
    network = ipaddress.ip_network(subnet)
    return f"{network.network_address + 1}/{network.prefixlen}"
