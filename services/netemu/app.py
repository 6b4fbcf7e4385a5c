"""The parts of netemu on one host, and how they work together."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Sequence

from prometheus_client import REGISTRY

from services.kit import tasks
from services.kit.bus.bus import Bus
from services.kit.environment import Environment
from services.kit.presence import keep_present
from services.kit.reconcile_loop import keep_in_step
from services.kit.registry_guard import RegistryGuard
from services.kit.removed_nodes import RemovedNodes
from services.kit.say_once import SayOnce
from services.netemu import health, variables
from services.netemu.capture.captures import Captures, port_of
from services.netemu.emulation import Emulation
from services.netemu.filters import anti_spoofing, connection_shares, input_filter, underlay
from services.netemu.filters.anti_spoofing import Bindings
from services.netemu.filters.nat import Nat, has_nat, parse_networks
from services.netemu.latency.calibration import Calibration
from services.netemu.latency.ways import Ways
from services.netemu.metrics import PortCollector
from services.netemu.overlay.overlay import Overlay
from services.netemu.overlay.paths import own_address
from services.netemu.ports import reports
from services.netemu.trace_store import TraceStore
from services.netemu.uplink import PhysicalUplink
from walt.contracts import netemu, nodes, serialization
from walt.contracts.bootserver import NodeBooted
from walt.contracts.checks import Check
from walt.contracts.errors import Failed, Unreachable, WaltError
from walt.contracts.hosts import AgentPresent, Fabric, HostAddresses, Station
from walt.contracts.netemu import AttachedPort, CaptureTarget, OpenCapture, PortReport
from walt.contracts.nodes import ABSENT, Interface, NodeRemoved, NodeWanted, Specs
from walt.contracts.version import VERSION

log = logging.getLogger(__name__)

RECONCILE_S = 300.0


class NetemuApp:
    """One per process. The network is prepared before the first call is served."""

    def __init__(self, env: Environment, bus: Bus) -> None:
        self.host = env.host
        self._bus = bus
        # beside the cable: a reboot removes both it and the ports
        self.registry = RegistryGuard(env.run_dir / "netemu", netemu.service_on(env.host), bus.call)
        self._env = env
        self._is_server = variables.is_server(env)
        address = variables.server_address(env) if self._is_server else ""  # another host is told its own
        self.emulation = Emulation(env.run_dir, address, supervised_cable=variables.is_cable_supervised(env))
        underlay_address = variables.underlay(env)
        source = own_address(underlay_address, variables.underlay_interface(env))
        self.overlay = Overlay(self.emulation.netlink, env.host, underlay_address, source, self.registry.wake)
        self.traces = TraceStore(env.run_dir, bus.call)
        self.calibration = Calibration(self.emulation)
        self.ways = Ways(self.emulation, self.overlay)
        self.captures = Captures()
        try:
            self.emulation.prepare()
        except Failed as error:  # serve all the same: calls fail with the reason, and `walt doctor` shows it
            log.error("%s", error)
        input_filter.install(env.subnet)
        connection_shares.install()
        underlay.install()
        self.nat = Nat(parse_networks(env.variable("WALT_NAT_EXCEPT", "")))
        self.nat.install()
        # ports and their bindings change together; so do specs and the ports they describe
        self._lock = threading.Lock()
        self._specs = dict[int, NodeWanted]()  # the newest of each node of this host
        self._removed = RemovedNodes()
        self._registry = ""  # that was reconciled with
        self.bindings = Bindings(env.subnet, is_required=variables.is_binding_required(env))
        self.bindings.install()
        self.uplink = PhysicalUplink(self.emulation.netlink, env.variable("WALT_INTERFACE", ""))
        self.uplink.poll()
        log.info("link back-end: %s %s", self.emulation.shaper, self.emulation.no_netem)
        self._knowing = SayOnce(log, "this host is alone: %s", "this host is told of the others")
        self._presence: tasks.Task | None = None
        self._collector = PortCollector(self.emulation, self.bindings.dropped, lambda: self.overlay.spanned)
        REGISTRY.register(self._collector)

    def start(self) -> None:
        tasks.spawn(keep_in_step, self.reconcile, RECONCILE_S, self.registry.wake)
        presence = AgentPresent(self.host, netemu.SERVICE, VERSION, self.overlay.underlay)
        self._presence = keep_present(self._bus, lambda: presence)

    def stop(self) -> None:
        if self._presence is not None:
            self._presence.kill()
        REGISTRY.unregister(self._collector)

    def attach(
        self, node_id: int, name: str, owner: str, interfaces: Sequence[Interface], ip: str, version: int, *, live: bool
    ) -> list[AttachedPort]:
        """Give the node exactly these ports. Its addresses are bound before it can send on walt-net."""
        self.traces.fetch(interface.link for interface in interfaces)
        with self._lock:
            newest = self._specs.get(node_id)
            address = ip or (newest.ip if newest else "")
            self.bindings.bind(anti_spoofing.bindings_of_interfaces(node_id, address, interfaces))
            self.overlay.forget(node_id)  # it may have been on another host
            self.overlay.follow(self.emulation.attach(node_id, name, owner, interfaces, live=live))
            if newest is not None and newest.version > version:  # its links were changed while it was being prepared
                self.overlay.follow(self.emulation.update_links(newest))
        return reports.attached(node_id, interfaces)

    def diagnose(self) -> list[Check]:
        return health.diagnose(self.emulation, self.bindings, self.uplink, self.overlay, self.registry.fault)

    def open_capture(self, target: CaptureTarget, expression: str, count: int) -> OpenCapture:
        ports = [state.port for state in self.emulation.snapshot().of_node(target.node_id)]
        return self.captures.open(port_of(target, ports), expression, count)

    def list_ports(self) -> list[PortReport]:
        return reports.ports(self.emulation.readings(), self.bindings.dropped())

    def apply_spec(self, node: NodeWanted) -> None:
        """Apply links and netsetup, live, unless a newer spec was received before, or the removal of the node."""
        if node.id in self._removed:
            return
        if node.host != self.host:
            self._apply_elsewhere(node)
        elif self.registry.allows(f"the spec of {node.name}", node.registry, node.revision):
            self._fetch_traces(node)
            with self._lock:
                if self._keep_newest(node) is node:
                    self._update_nat(node)
                    self.overlay.follow(self.emulation.update_links(node))

    def remove(self, removed: NodeRemoved) -> None:
        if removed.host != self.host:
            if self._is_of_registry(removed.registry):
                with self._lock:
                    self._forget(removed.id, self.overlay.stations.of(removed.id))
                    self.overlay.forget(removed.id)
        elif self.registry.allows(f"the removal of {removed.name}", removed.registry, removed.revision):
            with self._lock:
                self._forget(removed.id, self._specs.get(removed.id))
                self._detach(removed.id)

    def set_hosts(self, addresses: HostAddresses) -> None:
        with self._lock:
            self.overlay.set_addresses(addresses)
            self._join(addresses)

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
        self.overlay.expect()
        reply = serialization.load(Specs, self._bus.call(nodes.SERVICE, "get_specs", host=self.host))
        self.registry.check(reply.registry, reply.revision)
        here = [node for node in reply.nodes if node.host == self.host]  # others have no more than their disks here
        self.traces.fetch(interface.link for node in here for interface in node.interfaces)
        fabric = self._get_fabric()
        with self._lock:
            self._registry = reply.registry
            specs = {node.id: self._keep_newest(node) for node in here}
            self._removed.are_back(node.id for node in here if node.power != ABSENT)
            self._removed.are_back(one.node_id for one in (fabric.stations if fabric else ()))
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
        self._keep_traces()
        texts = list(faults.values())
        with self._lock:
            try:
                self._span(fabric)
            except Failed as error:
                texts.append(str(error))
            if self._is_server:
                self.nat.replace(self._specs.values(), self.overlay.stations.nat_addresses())
        if texts:
            raise Failed("; ".join(texts))

    def repair(self) -> None:
        self.emulation.repair()
        self.uplink.poll()
        self.captures.reap()

    def _fetch_traces(self, node: NodeWanted) -> None:
        try:
            self.traces.fetch(interface.link for interface in node.interfaces)
        except WaltError:
            self.registry.wake.set()  # the reconciliation tries it again and again
            raise

    def _keep_traces(self) -> None:
        with self._lock:
            ports = [state.port.link for state in self.emulation.snapshot().ports.values()]
            specs = [interface.link for node in self._specs.values() for interface in node.interfaces]
            self.traces.keep([*ports, *specs])

    def _detach(self, node_id: int) -> None:
        self._specs.pop(node_id, None)
        self.calibration.forget(node_id)
        self.overlay.follow(self.emulation.detach(node_id))
        self.bindings.forget(node_id)

    def _apply_elsewhere(self, node: NodeWanted) -> None:
        """A node of another host: this one reaches it there."""
        if not self._is_of_registry(node.registry):
            return
        with self._lock:
            here = self._specs.get(node.id)
            if here is not None and here.version > node.version:
                return
            if here is not None:  # it has moved
                self._detach(node.id)
            if self.overlay.put(node):
                self._update_nat(node)

    def _is_of_registry(self, registry: str) -> bool:
        """Of an event about another host's node; the reconciliation guards what is kept of those of this one."""
        return not self._registry or registry in ("", self._registry)

    def _update_nat(self, node: NodeWanted) -> None:
        if self._is_server and (
            has_nat(node) or not self._is_given_anew(node)
        ):  # the gateway of the nodes of all hosts
            self.nat.update(node)

    def _forget(self, node_id: int, known: NodeWanted | Station | None) -> None:
        """Its spec as one to go may come later, or may have been lost."""
        self._removed.add(node_id)
        if known is not None and known.ip and self._is_server and not self._is_given_anew(known):
            self.nat.allow(known.ip, False)

    def _is_given_anew(self, former: NodeWanted | Station) -> bool:
        """Whether the address is that of another node with NAT by now, whose spec was faster."""
        mine = former.id if isinstance(former, NodeWanted) else former.node_id
        of_others = (one for one in self._specs.values() if one.id != mine and has_nat(one))
        return any(one.ip == former.ip for one in of_others) or self.overlay.stations.has_nat(former.ip, but=mine)

    def _get_fabric(self) -> Fabric | None:
        """None from a `nodes` of the version before, which knows no hosts."""
        try:
            reply = self._bus.call(nodes.SERVICE, "get_fabric", host=self.host)
        except Unreachable:
            raise
        except WaltError as error:
            self._knowing.failed(error)
            return None
        self._knowing.succeeded()
        return serialization.load(Fabric, reply)

    def _span(self, fabric: Fabric | None) -> None:
        if fabric is not None:
            self._join(fabric.addresses)
            self.overlay.reconcile(fabric, self.emulation.snapshot().bridges)
        if not self.emulation.has_joined:
            raise Failed(f"this host has not joined yet: nodes does not know {self.host}")

    def _join(self, addresses: HostAddresses) -> None:
        """Take part in walt-net, on a host that is not the server's."""
        mine = next((one for one in addresses.hosts if one.name == self.host), None)
        if mine is not None and not self._is_server:
            address = variables.on_walt_net(self._env, mine.ip)
            self.overlay.follow(self.emulation.join(address, mine.mac))

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
