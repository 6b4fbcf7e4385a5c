"""The adapter that executes plans: kernel and cable together, one change at a time.

Each call plans against one snapshot of the kernel and the cable. What is kept in memory can be lost: which back-end was
found, which cable was last seen with all ports intact, and the compensation of each node.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from services.kit.say_once import SayOnce
from services.netemu.cable.control import CableClient
from services.netemu.cable.wiring import CableWiring
from services.netemu.kernel.netlink import WALT_NET_PORT_GROUP, Netlink
from services.netemu.ports import plan
from services.netemu.ports.cable_limits import LimitLog
from services.netemu.ports.plan import Action, Snapshot
from services.netemu.ports.port import (
    Port,
    bridge_name,
    helpers,
    network_alias,
    port_alias,
)
from services.netemu.ports.traffic import Readings
from services.netemu.ports.tunnel import is_of_tunnel
from walt.contracts.errors import Failed
from walt.contracts.names import WALT_NET
from walt.contracts.netemu import CABLE, DIRECT, KERNEL
from walt.contracts.nodes import WALT_NET_ID, Interface, Network, NodeWanted
from walt.contracts.walt_net_addresses import SERVER_MAC

log = logging.getLogger(__name__)

NEVER = -1


class Emulation:
    """The networks of this host. A change that fails is undone.

    address, mac: of this host on walt-net, where it is the server's; "": it joins later, and has no walt-net before."""

    def __init__(self, run_dir: Path, address: str, mac: str = SERVER_MAC, *, supervised_cable: bool = False) -> None:
        self.netlink = Netlink()
        self.cable = CableClient(run_dir, supervised=supervised_cable)
        self.no_netem = ""
        self._address, self._mac = address, mac
        self._lock = threading.Lock()
        self._intact_with: int | None = NEVER  # start time of the cable with which all ports were last seen intact
        self._repairs = SayOnce(log, "ports are broken: %s", "all ports are repaired")
        self._limits = LimitLog()
        self._shares_us: dict[int, int] = {}  # by node, also while it has no port
        self._ways_us: dict[int, int] = {}  # by network: of the way to other hosts
        self.ports_changed = 0  # how often a port was made or removed

    @property
    def shaper(self) -> str:
        return CABLE if self.no_netem else KERNEL

    @property
    def has_joined(self) -> bool:
        return bool(self._address)

    def prepare(self) -> None:
        """Choose the back-end by trying it, and make walt-net."""
        self.no_netem = self.netlink.probe_netem()
        if self.has_joined:
            with self._lock:
                self._execute(plan.plan_walt_net(self._snapshot()))

    def join(self, address: str, mac: str) -> list[Action]:
        """Take part in walt-net with this address and MAC."""
        with self._lock:
            self._address, self._mac = address, mac
            done = self._execute(plan.plan_walt_net(self._snapshot()))
            if not done:  # an earlier process made it
                self.netlink.set_address(WALT_NET, address, mac)
            return done

    def attach(
        self, node_id: int, name: str, owner: str, interfaces: Sequence[Interface], *, live: bool = False
    ) -> list[Action]:
        """Give the node exactly these ports. live: as in `plan.plan`."""
        with self._lock:
            snapshot = self._snapshot()
            wanted = [self._port(snapshot, node_id, name, owner, interface) for interface in interfaces]
            return self._execute(plan.plan(snapshot, node_id, wanted, live=live))

    def update_links(self, node: NodeWanted) -> list[Action]:
        """Give the ports of the node their new link, live; no port is made or removed."""
        with self._lock:
            return self._update_links(self._snapshot(), node)

    def update_all_links(self, nodes: Iterable[NodeWanted]) -> dict[int, str]:
        """The same for many nodes, with a new snapshot only after a change. {node id: why its links cannot be set}"""
        faults = {}
        with self._lock:
            snapshot = self._snapshot()
            for node in nodes:
                try:
                    if self._update_links(snapshot, node):
                        snapshot = self._snapshot()
                except Failed as error:
                    faults[node.id] = str(error)
                    snapshot = self._snapshot()
        return faults

    def compensate(self, node_id: int, share_us: int) -> list[Action]:
        """Take the node's own share off what it sends, and on networks that span hosts what the way there takes."""
        with self._lock:
            self._shares_us[node_id] = share_us
            return self._compensate(self._snapshot(), node_id)

    def compensate_ways(self, ways_us: Mapping[int, int]) -> list[Action]:
        """ways_us: by network, what the way to other hosts takes now; other networks stay as they are."""
        done = list[Action]()
        with self._lock:
            self._ways_us.update(ways_us)
            snapshot = self._snapshot()
            on_them = {one.port.node_id for one in snapshot.ports.values() if one.port.network.id in ways_us}
            for node_id in sorted(on_them & set(self._shares_us)):  # of the others it is taken off with the share
                done += self._compensate(snapshot, node_id)
        return done

    def way_us(self, network_id: int) -> int:
        return self._ways_us.get(network_id, 0)

    def detach(self, node_id: int) -> list[Action]:
        """Of a node that is removed: nothing is kept of it."""
        with self._lock:
            self._shares_us.pop(node_id, None)
            return self._execute(plan.plan(self._snapshot(), node_id, []))

    def remove_orphans(self) -> None:
        """What a kill during a change leaves behind: helpers without a port, unfinished interfaces, empty bridges."""
        with self._lock:
            interfaces = self.netlink.interfaces()
            snapshot = self._snapshot_of(interfaces)
            for name in plan.orphans(snapshot, interfaces):
                self.netlink.remove(name)
            self._execute(plan.plan_empty_bridges(snapshot))

    def group_walt_net_ports(self) -> None:
        """Put the ports of walt-net that an older version made into the interface group of anti_spoofing.py. They
        must be bound before."""
        with self._lock:
            for one in self.netlink.interfaces():
                is_port = one.is_ours and one.master == WALT_NET and not is_of_tunnel(one)
                if is_port and one.group != WALT_NET_PORT_GROUP:
                    self.netlink.set_group(one.name, WALT_NET_PORT_GROUP)

    def forward_group_addresses(self) -> None:
        """Let frames for group addresses pass the bridges and ports that an older version made."""
        with self._lock:
            for one in plan.kept_group_addresses(self.netlink.interfaces()):
                self.netlink.forward_group_addresses(one.name, is_bridge=one.kind == "bridge")

    def bound_forwarding_tables(self) -> None:
        """Of the bridges that an older version made."""
        with self._lock:
            for one in self.netlink.interfaces():
                if one.is_ours and one.kind == "bridge" and not one.learns_few_addresses:
                    self.netlink.bound_forwarding_table(one.name)

    def repair(self) -> list[Action]:
        """Repair the ports that pass no frame: at the start, after a change that failed, and whenever another cable
        process runs. What cannot be repaired yet is tried again at each call."""
        state = self.cable.show()
        self._limits.tell(state.shares.values() if state else ())
        if self._intact_with == (state.started_ns if state else None):
            return []
        done = list[Action]()
        fault: Failed | None = None
        with self._lock:
            for action in plan.plan_repair(self._snapshot()):
                try:
                    done += self._execute([action])
                except Failed as error:
                    fault = error
                    if self.cable.show() is None:  # each of the others would wait for it
                        break
            state = self.cable.show()
        if fault:
            self._intact_with = NEVER
            self._repairs.failed(fault)
        else:
            self._intact_with = state.started_ns if state else None
            self._repairs.succeeded()
        return done

    def snapshot(self) -> Snapshot:
        with self._lock:
            return self._snapshot()

    def readings(self) -> Readings:
        return Readings(self.snapshot(), self.netlink.counters(), self.netlink.queues(), self.cable.show())

    def _snapshot(self) -> Snapshot:
        return self._snapshot_of(self.netlink.interfaces())

    def _snapshot_of(self, interfaces: Iterable[plan.KernelInterface]) -> Snapshot:
        state = self.cable.show()
        return plan.snapshot_of(interfaces, state.links if state else {}, self.shaper)

    def _update_links(self, snapshot: Snapshot, node: NodeWanted) -> list[Action]:
        requested = {one.network.id: one for one in node.interfaces}
        wanted = []
        for state in snapshot.of_node(node.id):
            interface = requested.get(state.port.network.id)
            if interface is not None:
                interface = replace(interface, slot=state.port.slot)  # which it keeps until its next boot
                wanted.append(self._port(snapshot, node.id, node.name, node.owner, interface))
            else:  # it is removed when the machine has let it go
                wanted.append(replace(state.port, node=node.name, owner=node.owner))
        return self._execute(plan.plan(snapshot, node.id, wanted, live=True))

    def _port(self, snapshot: Snapshot, node_id: int, name: str, owner: str, interface: Interface) -> Port:
        link = interface.link.of_frames  # qemu passes no frame of an interface without a carrier
        port = Port(node_id, name, owner, interface.slot, interface.network, link)
        known_us = {state.port.tap: state.port.compensation_us for state in snapshot.of_node(node_id)}
        if node_id in self._shares_us or port.tap not in known_us:
            share_us = self._shares_us.get(node_id, min(known_us.values(), default=0))
            return replace(port, compensation_us=share_us + self.way_us(interface.network.id))
        return replace(port, compensation_us=known_us[port.tap])  # from before a restart

    def _compensate(self, snapshot: Snapshot, node_id: int) -> list[Action]:
        ports = [state.port for state in snapshot.of_node(node_id)]
        share_us = self._shares_us[node_id]
        wanted = [replace(port, compensation_us=share_us + self.way_us(port.network.id)) for port in ports]
        return self._execute(plan.plan(snapshot, node_id, wanted, live=True))

    def _execute(self, actions: Sequence[Action]) -> list[Action]:
        with contextlib.ExitStack() as undo:
            undo.callback(setattr, self, "_intact_with", NEVER)
            for action in actions:
                self.ports_changed += isinstance(action, plan.MakePort | plan.RemovePort)
                if isinstance(action, plan.MakeBridge):
                    undo.callback(self.netlink.remove, bridge_name(action.network.id))
                elif isinstance(action, plan.MakePort):
                    undo.callback(self._remove_port, action.port)
                self._apply(action)
            undo.pop_all()
        return list(actions)

    def _apply(self, action: Action) -> None:
        log.info("%s", action)
        match action:
            case plan.MakeBridge(network):
                self._make_bridge(network)
            case plan.MakePort(port):
                self.netlink.make_tap(port.tap, port_alias(port), mtu=port.mtu)
            case plan.SetLink(port, backend, previous):
                self._set_link(port, backend, previous)
            case plan.LabelPort(port):
                self.netlink.set_alias(port.tap, port_alias(port))
            case plan.RemovePort(port):
                self._remove_port(port)
            case plan.RemoveBridge(name):
                self.netlink.remove(name)

    def _make_bridge(self, network: Network) -> None:
        is_walt_net = network.id == WALT_NET_ID
        if is_walt_net and not self.has_joined:
            raise Failed(f"this host has not joined yet: nodes has not told which address it has on {WALT_NET}")
        address, mac = (self._address, self._mac) if is_walt_net else ("", "")
        self.netlink.make_bridge(bridge_name(network.id), network_alias(network), address, mac)

    def _set_link(self, port: Port, backend: str, previous: str) -> None:
        wiring = CableWiring(self.netlink, self.cable)
        if backend == CABLE:
            if previous != CABLE:
                wiring.prepare(port)
            self.cable.set_port(port.tap, port.applied, port.owner)
            if previous != CABLE:
                wiring.enter(port, previous)
            return
        if previous not in (DIRECT, KERNEL):
            wiring.leave(port)
        if backend == KERNEL:
            self.netlink.shape(port.tap, port.applied)
        else:
            self.netlink.unshape(port.tap)
        self.netlink.set_bridge(port.tap, port.bridge)

    def _remove_port(self, port: Port) -> None:
        self.cable.drop_port(port.tap)
        for name in (port.tap, *helpers(port.tap).values()):
            self.netlink.remove(name)
