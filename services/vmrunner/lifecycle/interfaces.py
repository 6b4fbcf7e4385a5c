"""Interfaces that come and go while their machine runs: netemu makes the ports, and qemu gets the devices."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from services.kit.say_once import SayOnce
from services.vmrunner.lifecycle.interface_plan import plan
from services.vmrunner.qemu import taps
from services.vmrunner.qemu.hotplug import HotPlug
from services.vmrunner.qemu.vm import Vm
from walt.contracts.errors import WaltError
from walt.contracts.netemu import AttachedPort
from walt.contracts.nodes import Interface, NodeWanted

RETRY_S, LONGEST_RETRY_S = 5.0, 60.0  # doubled after each failure

log = logging.getLogger(__name__)

Slots = frozenset[tuple[int, int]]  # with the network of each
AttachPorts = Callable[[NodeWanted, Sequence[Interface]], Sequence[AttachedPort]]


@dataclass
class _Progress:
    """settled: what this machine has been brought in step with, as far as it can; due: when it is tried again, in
    monotonic seconds; owes_ports: netemu is still to be told which ports it has."""

    vm: Vm
    fault: SayOnce
    settled: Slots | None = None
    due: float = 0.0
    pause_s: float = RETRY_S
    owes_ports: bool = False


class InterfaceFollower:
    """attach_ports: give a running node exactly these ports. A step that fails is tried again, and delays nothing."""

    def __init__(self, attach_ports: AttachPorts) -> None:
        self._attach_ports = attach_ports
        self._progress: dict[int, _Progress] = {}  # by node id

    def follow(self, spec: NodeWanted, vm: Vm, wake: Callable[[], None]) -> None:
        """As often as something may have changed. wake: to be called when this is to be called again."""
        hotplug, slots = vm.hotplug, frozenset((one.slot, one.network.id) for one in spec.interfaces)
        known = self._progress.get(spec.id)
        if known is None or known.vm is not vm:
            failing = f"{spec.name}: its interfaces cannot follow: %s"
            known = self._progress[spec.id] = _Progress(vm, SayOnce(log, failing, f"{spec.name}: they have followed"))
        if hotplug is None or known.settled == slots or time.monotonic() < known.due:
            return
        try:
            known.settled = slots if self._step(spec, hotplug, known) else None
            known.pause_s = RETRY_S
            known.fault.succeeded()
        except (WaltError, OSError) as error:
            known.fault.failed(error)
            known.due = time.monotonic() + known.pause_s
            again = threading.Timer(known.pause_s, wake)
            again.daemon = True
            again.start()
            known.pause_s = min(2 * known.pause_s, LONGEST_RETRY_S)

    def forget(self, node_id: int) -> None:
        self._progress.pop(node_id, None)

    def _step(self, spec: NodeWanted, hotplug: HotPlug, known: _Progress) -> bool:
        """Whether it is done. A tap is closed before its port goes: qemu would look for frames in it for ever."""
        planned = plan(hotplug.devices(), spec.interfaces)
        known.owes_ports |= bool(planned.come) or not all(one.is_leaving for one in planned.leave)
        for device in planned.leave:
            hotplug.unplug(device)
        if known.owes_ports:
            names = {port.slot: port.tap for port in self._attach_ports(spec, [*planned.stay, *planned.come])}
            known.owes_ports = False
            for interface in planned.come:
                log.info("%s: ens%d is plugged in, on %s", spec.name, interface.slot, interface.network.name)
                with contextlib.ExitStack() as stack:
                    tap = taps.open_tap(names[interface.slot])
                    stack.callback(os.close, tap)
                    hotplug.plug(interface, tap)
        return planned.is_settled
