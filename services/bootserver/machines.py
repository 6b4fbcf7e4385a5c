"""The physical nodes: told to reboot, watched, remembered in a file each. `machine.py` decides."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import eventlet

from services.bootserver import machine
from services.bootserver.machine import Machine
from services.contracts import console, wire
from services.contracts.bootserver import NodeBooted
from services.contracts.console import CommandEnd
from services.contracts.errors import Failed, WaltError
from services.contracts.nodes import ABSENT, NodeWanted
from services.contracts.vmrunner import VmRemoved, VmReport
from services.kit import peers
from services.kit.files import write_atomically

log = logging.getLogger(__name__)

PROBE_EVERY_S = 20.0
SECOND_LOOK_S = 3.0
OFF_LOOK_S = 0.5
COMMAND_LIMIT_S = 15.0
PEER_GRACE_S = 2.0
LOST = 255  # ssh's status when the other side closes the connection, as one that shuts down may


@dataclass(frozen=True)
class Outside:
    """greets: whether the ssh server of an address does; lives: whether there is a system at all; tell: runs a command
    in the node, Failed when it cannot; changed, removed: told of every transition, and of a node that is gone."""

    greets: Callable[[str], bool]
    lives: Callable[[str], bool]
    tell: Callable[[Machine, str], None]
    changed: Callable[[VmReport], None]
    removed: Callable[[VmRemoved], None]


def tell(told: Machine, command: str) -> None:
    """By the console that reaches it."""
    service = console.service_on(told.host)
    limit_s, patience_s = COMMAND_LIMIT_S, COMMAND_LIMIT_S + PEER_GRACE_S
    end = wire.load(
        CommandEnd, peers.call(service, "run_command", told.node_id, [command], limit_s, timeout_s=patience_s)
    )
    if end.status not in (0, LOST):
        raise Failed(f"{command}: status {end.status}: {end.output.strip()}")


class Machines:
    def __init__(self, folder: Path, outside: Outside) -> None:
        self._folder = folder
        self._outside = outside
        self._known: dict[int, Machine] = {}
        self._telling: set[int] = set()
        for path in folder.glob("[0-9]*.json"):
            self._known[int(path.stem)] = wire.load(Machine, json.loads(path.read_text()))

    def start(self) -> None:
        for node_id in self._known:
            self._tell(node_id)

    def begun(self, wanted: NodeWanted) -> Machine:
        """It asks what to boot."""
        return self._put(machine.begun(self._known.get(wanted.id), wanted, time.time()))

    def failed(self, node_id: int, reason: str) -> None:
        self._put(machine.failed(self._known[node_id], reason, time.time()))

    def kernel_sent(self, address: str) -> None:
        for one in list(self._known.values()):
            if one.ip == address:
                self._put(machine.kernel_sent(one, time.time()))

    def booted(self, news: NodeBooted) -> None:
        if news.node_id in self._known:
            self._put(machine.booted(self._known[news.node_id], news.run, news.at))

    def wish(self, wanted: NodeWanted) -> None:
        """A new machine is known by its asking, which comes before or after this."""
        if wanted.is_virtual:
            return
        if wanted.power == ABSENT:
            self.forget(wanted.id)
            self._outside.removed(VmRemoved(wanted.id, wanted.name, wanted.host))
        elif wanted.id in self._known:
            self._put(machine.wished(self._known[wanted.id], wanted))

    def reconcile(self, all_wanted: Iterable[NodeWanted]) -> None:
        for wanted in all_wanted:
            if not wanted.is_virtual and wanted.power != ABSENT and wanted.id not in self._known:
                self._put(machine.unseen(wanted, time.time()))
            self.wish(wanted)

    def known(self) -> set[int]:
        return set(self._known)

    def forget(self, node_id: int) -> None:
        self._known.pop(node_id, None)
        self._path(node_id).unlink(missing_ok=True)

    def reports(self) -> list[VmReport]:
        return [machine.report(one) for one in self._known.values()]

    def probe_for_ever(self) -> None:
        while True:
            eventlet.sleep(PROBE_EVERY_S)
            for _ in eventlet.GreenPool().imap(self._probe, list(self._known)):
                pass

    def _probe(self, node_id: int) -> None:
        """One that does not answer is given a second look."""
        one = self._known.get(node_id)
        if one is None:
            return
        answers = self._outside.greets(one.ip)
        if not answers:
            eventlet.sleep(SECOND_LOOK_S)
            answers = self._outside.greets(one.ip)
        if self._known.get(node_id) == one and node_id not in self._telling:  # it may have moved on meanwhile
            seen = machine.answering(one, time.time()) if answers else machine.silent(one, time.time())
            self._put(machine.overdue(seen, time.time()))

    def _put(self, new: Machine) -> Machine:
        old = self._known.get(new.node_id)
        if new != old:
            self._known[new.node_id] = new
            try:
                write_atomically(self._path(new.node_id), json.dumps(wire.dump(new)))
            except OSError as error:  # of a full disk; what is seen of it is told all the same
                log.error("%s: its state cannot be saved: %s", new.name, error)
            if old is None or machine.report(new) != machine.report(old):
                log.info("%s: %s %s", new.name, new.state, new.reason)
                self._outside.changed(machine.report(new))
            self._tell(new.node_id)
        return new

    def _tell(self, node_id: int) -> None:
        """At most one greenthread for each, which does all that there is to tell."""
        one = self._known[node_id]
        if node_id not in self._telling and (one.must_be_told or one.must_fall_silent):
            self._telling.add(node_id)
            eventlet.spawn(self._tell_all, node_id)

    def _tell_all(self, node_id: int) -> None:
        try:
            while (one := self._known.get(node_id)) and (one.must_be_told or one.must_fall_silent):
                if one.must_be_told:
                    self._tell_one(one)
                else:
                    self._see_off(one)
        finally:
            self._telling.discard(node_id)

    def _tell_one(self, one: Machine) -> None:
        command = "poweroff" if one.off else "reboot"
        fault = ""
        try:
            self._outside.tell(one, command)
        except WaltError as error:
            fault = str(error) if self._outside.greets(one.ip) else ""
        now_known = self._known.get(one.node_id)
        if now_known is None:
            return
        if fault:
            self._put(machine.failed(now_known, f"it cannot be told to {command}: {fault}", time.time()))
        else:
            self._put(machine.told(now_known, one, time.time()))

    def _see_off(self, one: Machine) -> None:
        end = time.monotonic() + machine.OFF_LIMIT_S
        while self._outside.lives(one.ip):
            if self._known.get(one.node_id) != one:
                return
            if time.monotonic() > end:
                self._put(
                    machine.failed(one, f"it is still on, {machine.OFF_LIMIT_S:g} s after its poweroff", time.time())
                )
                return
            eventlet.sleep(OFF_LOOK_S)
        if self._known.get(one.node_id) == one:
            self._put(machine.silent(one, time.time()))

    def _path(self, node_id: int) -> Path:
        return self._folder / f"{node_id}.json"
