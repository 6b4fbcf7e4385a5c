"""The parts of netemu on one host, and how they work together."""

from __future__ import annotations

import ipaddress
import logging
import threading
from collections.abc import Iterable, Sequence

from prometheus_client import REGISTRY

from services.kit import tasks
from services.kit.bus.bus import Bus
from services.kit.environment import Environment
from services.kit.reconcile_loop import keep_in_step
from services.kit.registry_guard import RegistryGuard
from services.netemu import health
from services.netemu.capture.captures import Captures, port_of
from services.netemu.emulation import Emulation
from services.netemu.filters import anti_spoofing, connection_shares, input_filter
from services.netemu.filters.anti_spoofing import Bindings
from services.netemu.filters.nat import Nat, parse_networks
from services.netemu.latency.calibration import Calibration
from services.netemu.metrics import PortCollector
from services.netemu.ports import reports
from services.netemu.uplink import PhysicalUplink
from walt.contracts import netemu, nodes, serialization
from walt.contracts.bootserver import NodeBooted
from walt.contracts.checks import Check
from walt.contracts.errors import Failed
from walt.contracts.netemu import AttachedPort, CaptureTarget, OpenCapture, PortReport
from walt.contracts.nodes import ABSENT, Interface, NodeRemoved, NodeWanted, Specs

log = logging.getLogger(__name__)

RECONCILE_S = 300.0
OWN, SUPERVISED = "own", "supervised"  # WALT_CABLE
REQUIRED, OPTIONAL = "required", "optional"  # WALT_BINDING


class NetemuApp:
    """One per process. The network is prepared before the first call is served."""

    def __init__(self, env: Environment, bus: Bus) -> None:
        self.host = env.host
        self._bus = bus
        # beside the cable: a reboot removes both it and the ports
        self.registry = RegistryGuard(env.run_dir / "netemu", netemu.service_on(env.host), bus.call)
        server = server_address(env.subnet)
        self.emulation = Emulation(env.run_dir, server, supervised_cable=is_cable_supervised(env))
        self.calibration = Calibration(self.emulation)
        self.captures = Captures()
        try:
            self.emulation.prepare()
        except Failed as error:  # serve all the same: calls fail with the reason, and `walt doctor` shows it
            log.error("%s", error)
        input_filter.install(env.subnet)
        connection_shares.install()
        self.nat = Nat(parse_networks(env.variable("WALT_NAT_EXCEPT", "")))
        self.nat.install()
        # ports and their bindings change together; so do specs and the ports they describe
        self._lock = threading.Lock()
        self._specs = dict[int, NodeWanted]()  # the newest of each node of this host
        self.bindings = Bindings(env.subnet, is_required=is_binding_required(env))
        self.bindings.install()
        self.uplink = PhysicalUplink(self.emulation.netlink, env.variable("WALT_INTERFACE", ""))
        self.uplink.poll()
        log.info("link back-end: %s %s", self.emulation.shaper, self.emulation.no_netem)
        self._collector = PortCollector(self.emulation)
        REGISTRY.register(self._collector)

    def start(self) -> None:
        tasks.spawn(keep_in_step, self.reconcile, RECONCILE_S, self.registry.wake)

    def stop(self) -> None:
        REGISTRY.unregister(self._collector)

    def attach(
        self, node_id: int, name: str, owner: str, interfaces: Sequence[Interface], ip: str, version: int
    ) -> list[AttachedPort]:
        """Give the node exactly these ports. Its addresses are bound before it can send on walt-net."""
        with self._lock:
            newest = self._specs.get(node_id)
            address = ip or (newest.ip if newest else "")
            self.bindings.bind(anti_spoofing.bindings_of_interfaces(node_id, address, interfaces))
            self.emulation.attach(node_id, name, owner, interfaces)
            if newest is not None and newest.version > version:  # its links were changed while it was being prepared
                self.emulation.update_links(newest)
        return reports.attached(node_id, interfaces)

    def diagnose(self) -> list[Check]:
        return health.diagnose(self.emulation, self.bindings, self.uplink, self.registry.fault)

    def open_capture(self, target: CaptureTarget, expression: str, count: int) -> OpenCapture:
        ports = [state.port for state in self.emulation.snapshot().of_node(target.node_id)]
        return self.captures.open(port_of(target, ports), expression, count)

    def list_ports(self) -> list[PortReport]:
        return reports.ports(self.emulation.readings())

    def apply_spec(self, node: NodeWanted) -> None:
        """Apply links and netsetup, live, unless a newer spec was received before."""
        if node.host != self.host or not self.registry.allows(f"the spec of {node.name}", node.registry, node.revision):
            return
        with self._lock:
            if self._keep_newest(node) is node:
                self.nat.update(node)
                self.emulation.update_links(node)

    def remove(self, removed: NodeRemoved) -> None:
        if removed.host != self.host:
            return
        if self.registry.allows(f"the removal of {removed.name}", removed.registry, removed.revision):
            with self._lock:
                self._detach(removed.id)

    def measure(self, booted: NodeBooted) -> None:
        """Measure the node's share of a round trip from now on, if it has ports here: machines and nodes of other hosts
        have none."""
        known = self._specs.get(booted.node_id)
        ip = booted.ip or (known.ip if known else "")
        if ip and self.emulation.snapshot().of_node(booted.node_id):
            self.calibration.measure(booted.node_id, ip)

    def reconcile(self) -> None:
        """Remove the ports of nodes that are gone; bring all others in step with the specs."""
        snapshot = self.emulation.snapshot()
        if not snapshot.ports:
            self.registry.release()
        attached = {state.port.node_id for state in snapshot.ports.values()}
        self._specs.clear()  # a spec received from now on may be newer than the reply
        reply = serialization.load(Specs, self._bus.call(nodes.SERVICE, "get_specs", host=self.host))
        self.registry.check(reply.registry, reply.revision)
        with self._lock:
            specs = {node.id: self._keep_newest(node) for node in reply.nodes}
            self.nat.replace(specs.values())
            for node_id in attached - set(specs):
                self._detach(node_id)
            self._bind_all(specs.values())
            present = [node for node in specs.values() if node.id in attached and node.power != ABSENT]
            for node in present:
                self.calibration.measure_if_new(node.id, node.ip)
            faults = self.emulation.update_all_links(present)
        self.emulation.remove_orphans()
        self.emulation.forward_group_addresses()
        self.emulation.bound_forwarding_tables()
        if faults:
            raise Failed("; ".join(faults.values()))

    def repair(self) -> None:
        self.emulation.repair()
        self.uplink.poll()
        self.captures.reap()

    def _detach(self, node_id: int) -> None:
        self._specs.pop(node_id, None)
        self.calibration.forget(node_id)
        self.emulation.detach(node_id)
        self.bindings.forget(node_id)

    def _keep_newest(self, node: NodeWanted) -> NodeWanted:
        """This spec, or a newer one that was received before: messages can overtake each other."""
        known = self._specs.get(node.id, node)
        newest = self._specs[node.id] = known if known.version > node.version else node
        return newest

    def _bind_all(self, specs: Iterable[NodeWanted]) -> None:
        if self.bindings.fault:  # `attach` refuses ports on walt-net; nothing else depends on it
            return
        ports = [state.port for state in self.emulation.snapshot().ports.values()]
        self.bindings.bind(anti_spoofing.bindings_of_ports(ports, specs))
        self.emulation.group_walt_net_ports()


def is_cable_supervised(env: Environment) -> bool:
    return _choice(env, "WALT_CABLE", OWN, SUPERVISED) == SUPERVISED


def is_binding_required(env: Environment) -> bool:
    return _choice(env, "WALT_BINDING", REQUIRED, OPTIONAL) == REQUIRED


def _choice(env: Environment, name: str, default: str, *others: str) -> str:
    choice = env.variable(name, default)
    if choice not in (default, *others):
        raise SystemExit(f"{name}={choice}: allowed: {', '.join((default, *others))}")
    return choice


def server_address(subnet: str) -> str:
    """'192.168.172.0/22' -> '192.168.172.1/22'."""
    network = ipaddress.ip_network(subnet)
    return f"{network.network_address + 1}/{network.prefixlen}"
