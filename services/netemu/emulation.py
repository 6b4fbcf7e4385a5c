"""The adapter that carries out plans: kernel and cable together, one change at a time.

What must be remembered is read from the world at every call; in memory there is only which back-end was found.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from services.contracts.errors import Failed
from services.contracts.netemu import CABLE, DIRECT, KERNEL
from services.contracts.nodes import WALT_NET_ID, Interface
from services.netemu import plan
from services.netemu.cable.control import Cable
from services.netemu.kernel import Kernel
from services.netemu.plan import Action, World
from services.netemu.ports import Port, bridge_name, helper_alias, helpers, network_alias, port_alias, unfinished_alias
from services.netemu.traffic import Readings

log = logging.getLogger(__name__)

NEVER = -1
CABLE_QUEUE_FRAMES = 10_000  # what fast senders hand it while it is at work elsewhere waits, and is not lost
SERVER_MAC = "52:57:41:4c:54:00"  # a bridge without one of its own changes it with its ports


class Emulation:
    """The networks of this host. Every change reads the world, plans, applies; a failed change is undone."""

    def __init__(self, run_dir: Path, vm_uid: int, server_address: str, *, supervised_cable: bool = False) -> None:
        self.kernel = Kernel()
        self.cable = Cable(run_dir, supervised=supervised_cable)
        self.no_netem = ""
        self._vm_uid = vm_uid
        self._server_address = server_address
        self._lock = threading.Lock()
        self._looked_at: int | None = NEVER  # when the cable began with which all ports were last known to be whole
        self._fault = ""  # why some could not be mended, when last tried
        self._shares: dict[int, int] = {}  # compensation of a node, also while it has no port

    @property
    def shaper(self) -> str:
        return CABLE if self.no_netem else KERNEL

    def prepare(self) -> None:
        """Choose the back-end by trying it, and make walt-net."""
        self.no_netem = self.kernel.probe_netem()
        with self._lock:
            self._carry_out(plan.plan_walt_net(self._world()))

    def attach(self, node_id: int, name: str, owner: str, interfaces: Sequence[Interface]) -> list[Action]:
        """The node has exactly these ports."""
        with self._lock:
            world = self._world()
            wanted = [self._port(world, node_id, name, owner, interface) for interface in interfaces]
            return self._carry_out(plan.plan(world, node_id, wanted))

    def relink(self, node_id: int, name: str, owner: str, interfaces: Sequence[Interface]) -> list[Action]:
        """Live: the ports that are there take their new link; none is made or removed."""
        with self._lock:
            world = self._world()
            asked = {(one.slot, one.network.id): one for one in interfaces}
            wanted = []
            for state in world.of_node(node_id):
                interface = asked.get((state.port.slot, state.port.network.id))
                if interface is not None:
                    wanted.append(self._port(world, node_id, name, owner, interface))
                else:  # it goes with the next boot
                    wanted.append(replace(state.port, node=name, owner=owner))
            return self._carry_out(plan.plan(world, node_id, wanted, live=True))

    def compensate(self, node_id: int, share_us: int) -> list[Action]:
        with self._lock:
            self._shares[node_id] = share_us
            world = self._world()
            wanted = [replace(state.port, compensation_us=share_us) for state in world.of_node(node_id)]
            return self._carry_out(plan.plan(world, node_id, wanted, live=True))

    def detach(self, node_id: int) -> list[Action]:
        with self._lock:
            return self._carry_out(plan.plan(self._world(), node_id, []))

    def sweep(self) -> None:
        """What a kill in the middle of a change left: helpers without their port, ports half made, empty bridges."""
        with self._lock:
            for name in plan.orphans(self._world(), self.kernel.links()):
                self.kernel.remove(name)
            self._carry_out(plan.plan_sweep(self._world()))

    def mend(self) -> list[Action]:
        """Ports that pass nothing are made whole: at the start, after a change that failed, and whenever the cable is
        another process. What cannot be mended yet is said once, and tried again each time."""
        state = self.cable.show()
        if self._looked_at == (state.started_ns if state else None):
            return []
        done = list[Action]()
        fault = ""
        with self._lock:
            for action in plan.plan_mend(self._world()):
                try:
                    done += self._carry_out([action])
                except Failed as error:
                    fault = str(error)
                    if self.cable.show() is None:  # each of them would wait for it
                        break
            state = self.cable.show()
        self._looked_at = NEVER if fault else state.started_ns if state else None
        if fault and fault != self._fault:
            log.warning("ports are broken: %s", fault)
        self._fault = fault
        return done

    def world(self) -> World:
        with self._lock:
            return self._world()

    def readings(self) -> Readings:
        return Readings(self.world(), self.kernel.counters(), self.kernel.queues(), self.cable.show())

    def _world(self) -> World:
        state = self.cable.show()
        return plan.world_of(self.kernel.links(), state.links if state else {}, self.shaper)

    def _port(self, world: World, node_id: int, name: str, owner: str, interface: Interface) -> Port:
        known = [state.port.compensation_us for state in world.of_node(node_id)]
        share_us = self._shares.get(node_id, max(known, default=0))
        return Port(node_id, name, owner, interface.slot, interface.network, interface.link, share_us)

    def _carry_out(self, actions: Sequence[Action]) -> list[Action]:
        with contextlib.ExitStack() as undo:
            undo.callback(setattr, self, "_looked_at", NEVER)
            for action in actions:
                if isinstance(action, plan.MakeBridge):
                    undo.callback(self.kernel.remove, bridge_name(action.network.id))
                elif isinstance(action, plan.MakePort):
                    undo.callback(self._remove_port, action.port)
                self._apply(action)
            undo.pop_all()
        return list(actions)

    def _apply(self, action: Action) -> None:
        log.info("%s", action)
        match action:
            case plan.MakeBridge(network):
                is_server = network.id == WALT_NET_ID
                address, mac = (self._server_address, SERVER_MAC) if is_server else ("", "")
                self.kernel.make_bridge(bridge_name(network.id), network_alias(network), address, mac)
            case plan.MakePort(port):
                self.kernel.make_tap(port.tap, port_alias(port), mtu=port.mtu, owner_uid=self._vm_uid)
            case plan.SetLink(port, backend, was):
                self._set_link(port, backend, was)
            case plan.LabelPort(port):
                self.kernel.label(port.tap, port_alias(port))
            case plan.RemovePort(port):
                self._remove_port(port)
            case plan.RemoveBridge(name):
                self.kernel.remove(name)

    def _set_link(self, port: Port, backend: str, was: str) -> None:
        if backend == CABLE:
            if was != CABLE:
                self._wire_cable(port)
            self.cable.set_port(port.tap, port.applied)
            if was != CABLE:
                self._enter_cable(port, was)
            return
        if was not in (DIRECT, KERNEL):
            self._leave_cable(port)
        if backend == KERNEL:
            self.kernel.shape(port.tap, port.applied)
        else:
            self.kernel.unshape(port.tap)
        self.kernel.join(port.tap, port.bridge)

    def _wire_cable(self, port: Port) -> None:
        self.cable.start()
        self.cable.drop_port(port.tap)  # it may hold taps of a port that was half made
        ends = helpers(port.tap)
        for name in (ends["node_end"], ends["bridge_end"]):
            self.kernel.make_tap(name, unfinished_alias(port.tap), mtu=port.mtu, queue_frames=CABLE_QUEUE_FRAMES)

    def _enter_cable(self, port: Port, was: str) -> None:
        """The bridge end is in before the tap is out, so that a talking node loses no frame.

        Meanwhile both are isolated: they would hand the node its own frames.
        """
        node_end, bridge_end = helpers(port.tap)["node_end"], helpers(port.tap)["bridge_end"]
        if was == DIRECT:
            self.kernel.isolate(port.tap, True)
        else:
            self.kernel.join(port.tap, "")  # never on its bridge without its shaping
            self.kernel.unshape(port.tap)
        self.kernel.redirect(node_end, port.tap)
        self.kernel.join(bridge_end, port.bridge)
        self.kernel.isolate(bridge_end, True)
        self.kernel.redirect(port.tap, node_end)
        self.kernel.join(port.tap, "")
        self.kernel.isolate(bridge_end, False)
        for name in (node_end, bridge_end):
            self.kernel.label(name, helper_alias(port.tap))

    def _leave_cable(self, port: Port) -> None:
        self.cable.drop_port(port.tap)
        self.kernel.accept(port.tap)
        for name in helpers(port.tap).values():
            self.kernel.remove(name)

    def _remove_port(self, port: Port) -> None:
        self.cable.drop_port(port.tap)
        for name in (port.tap, *helpers(port.tap).values()):
            self.kernel.remove(name)
