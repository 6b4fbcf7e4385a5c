"""The physical nodes: probed, told to reboot or to power off, stored in a file each. `machine.py` decides."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from services.bootserver.physical import machine
from services.bootserver.physical.machine import Machine
from services.kit import tasks
from services.kit.files import write_atomically
from walt.contracts import serialization
from walt.contracts.bootserver import NodeBooted
from walt.contracts.errors import WaltError
from walt.contracts.nodes import ABSENT, NodeWanted
from walt.contracts.vmrunner import CAUSE_BOOT_SCRIPT, CAUSE_COMMAND_FAILED, CAUSE_STILL_ON, VmRemoved, VmReport

log = logging.getLogger(__name__)

SECOND_PROBE_S = 3.0
OFF_POLL_S = 0.5
_FORMER_FIELDS = {"asked": "requested_boot", "off": "power_off"}  # in files of earlier versions


@dataclass(frozen=True)
class MachineEffects:
    """sends_banner: whether the ssh server at an address does; is_up: whether a system is there at all; run_command: in
    a machine, Failed when it cannot; report_changed, report_removed: called with every transition, and with a node that
    is gone."""

    sends_banner: Callable[[str], bool]
    is_up: Callable[[str], bool]
    run_command: Callable[[Machine, str], None]
    report_changed: Callable[[VmReport], object]
    report_removed: Callable[[VmRemoved], object]


class Machines:
    def __init__(self, folder: Path, effects: MachineEffects) -> None:
        self._folder = folder
        self._effects = effects
        self._known = {int(path.stem): _load(path) for path in folder.glob("[0-9]*.json")}
        self._in_command: set[int] = set()

    def start(self) -> None:
        for node_id in self._known:
            self._carry_out(node_id)

    def script_requested(self, spec: NodeWanted) -> Machine:
        return self._put(machine.script_requested(self._known.get(spec.id), spec, time.time()))

    def cannot_boot(self, node_id: int, reason: str) -> None:
        """There is nothing that it can boot."""
        self._put(machine.failed(self._known[node_id], CAUSE_BOOT_SCRIPT, reason, time.time()))

    def kernel_sent(self, address: str) -> None:
        for one in list(self._known.values()):
            if one.ip == address:
                self._put(machine.kernel_sent(one, time.time()))

    def booted(self, event: NodeBooted) -> None:
        if event.node_id in self._known:
            self._put(machine.booted(self._known[event.node_id], event.run, event.at))

    def apply_spec(self, spec: NodeWanted) -> None:
        """Nothing for a new machine: it becomes known when it requests its script."""
        if spec.is_virtual:
            return
        if spec.power == ABSENT:
            self.forget(spec.id)
            self._effects.report_removed(VmRemoved(spec.id, spec.name, spec.host))
        elif spec.id in self._known:
            self._put(machine.with_spec(self._known[spec.id], spec))

    def reconcile(self, specs: Iterable[NodeWanted], before: Mapping[int, Machine]) -> None:
        """before: as `known` was when the specs were requested."""
        for spec in specs:
            one = self._known.get(spec.id)
            if one is not None and one == before.get(spec.id) and spec.boot < one.requested_boot:
                self._put(machine.gone_back(one, spec.boot))
            if not spec.is_virtual and spec.power != ABSENT and spec.id not in self._known:
                self._put(machine.never_booted(spec, time.time()))
            self.apply_spec(spec)

    def known(self) -> dict[int, Machine]:
        """By node id."""
        return dict(self._known)

    def forget(self, node_id: int) -> None:
        self._known.pop(node_id, None)
        self._path(node_id).unlink(missing_ok=True)

    def reports(self) -> list[VmReport]:
        return [machine.report(one) for one in self._known.values()]

    def probe_all(self) -> None:
        tasks.map_concurrently(self._probe, list(self._known))

    def _probe(self, node_id: int) -> None:
        """A machine that does not answer is probed a second time."""
        one = self._known.get(node_id)
        if one is None:
            return
        answers = self._effects.sends_banner(one.ip)
        if not answers:
            tasks.sleep(SECOND_PROBE_S)
            answers = self._effects.sends_banner(one.ip)
        if self._known.get(node_id) == one and node_id not in self._in_command:  # it may have moved on meanwhile
            probed = machine.reachable(one, time.time()) if answers else machine.unreachable(one, time.time())
            self._put(machine.timed_out(probed, time.time()))

    def _put(self, new: Machine) -> Machine:
        old = self._known.get(new.node_id)
        if new != old:
            new = machine.numbered(new, time.time())
            self._known[new.node_id] = new
            try:
                write_atomically(self._path(new.node_id), json.dumps(serialization.dump(new)))
            except OSError as error:  # the disk is full; the change is reported all the same
                log.error("%s: its state cannot be saved: %s", new.name, error)
            if old is None or machine.report(new) != machine.report(old):
                log.info("%s: %s %s", new.name, new.state, new.reason)
                self._effects.report_changed(machine.report(new))
            self._carry_out(new.node_id)
        return new

    def _carry_out(self, node_id: int) -> None:
        """At most one thread for each machine, which does all that is pending."""
        one = self._known[node_id]
        if node_id not in self._in_command and (one.has_pending_command or one.is_powering_off):
            self._in_command.add(node_id)
            tasks.spawn(self._carry_out_all, node_id)

    def _carry_out_all(self, node_id: int) -> None:
        try:
            while (one := self._known.get(node_id)) and (one.has_pending_command or one.is_powering_off):
                if one.has_pending_command:
                    self._send_command(one)
                else:
                    self._wait_until_off(one)
        finally:
            self._in_command.discard(node_id)

    def _send_command(self, one: Machine) -> None:
        command = "poweroff" if one.power_off else "reboot"
        fault = ""
        try:
            self._effects.run_command(one, command)
        except WaltError as error:
            fault = str(error) if self._effects.sends_banner(one.ip) else ""
        present = self._known.get(one.node_id)
        if present is None:
            return
        if fault:
            reason = f"it cannot be told to {command}: {fault}"
            self._put(machine.failed(present, CAUSE_COMMAND_FAILED, reason, time.time()))
        else:
            self._put(machine.command_sent(present, one, time.time()))

    def _wait_until_off(self, one: Machine) -> None:
        end = time.monotonic() + machine.OFF_LIMIT_S
        while self._effects.is_up(one.ip):
            if self._known.get(one.node_id) != one:
                return
            if time.monotonic() > end:
                reason = f"it is still on, {machine.OFF_LIMIT_S:g} s after its poweroff"
                self._put(machine.failed(one, CAUSE_STILL_ON, reason, time.time()))
                return
            tasks.sleep(OFF_POLL_S)
        if self._known.get(one.node_id) == one:
            self._put(machine.unreachable(one, time.time()))

    def _path(self, node_id: int) -> Path:
        return self._folder / f"{node_id}.json"


def _load(path: Path) -> Machine:
    data = {_FORMER_FIELDS.get(name, name): value for name, value in json.loads(path.read_text()).items()}
    return serialization.load(Machine, data)
