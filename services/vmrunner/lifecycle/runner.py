"""The runner of one VM: a thread that asks `decision.decide` what to do next, and does it."""

from __future__ import annotations

import contextlib
import logging
import random
import threading
import time
from collections.abc import Callable

from services.vmrunner.lifecycle import console_clue, decision, guest_shutdown, moves, transitions
from services.vmrunner.lifecycle.boot_clock import BootClock
from services.vmrunner.lifecycle.boot_slots import LOOK_S
from services.vmrunner.lifecycle.causes import cause_of
from services.vmrunner.lifecycle.guest_events import GuestEvent, GuestEvents
from services.vmrunner.lifecycle.runner_context import RunnerContext
from services.vmrunner.lifecycle.transitions import VmRecord
from services.vmrunner.memory.admission import Admit, Reject, Wait
from services.vmrunner.qemu.console_writer import ConsoleWriter
from services.vmrunner.qemu.endings import ENDED_UNSEEN, GUEST_HALTED, GUEST_POWERED_OFF
from services.vmrunner.qemu.vm import Vm
from walt.contracts.errors import WaltError
from walt.contracts.nodes import POWER_ON, NodeWanted
from walt.contracts.settings import MAX_RANDOM_DELAY_S
from walt.contracts.vmrunner import (
    BOOTED,
    CAUSE_NO_MEMORY,
    CAUSE_POWERED_ON,
    CAUSE_REBOOT_REQUESTED,
    CAUSE_STOP_REQUESTED,
    CAUSE_WAITS_FOR_SLOT,
    FAILED,
    STOPPED,
    VM_CHANGED,
    VM_REMOVED,
    VmRemoved,
    VmReport,
)

AFTER_ERROR_S = 5.0

log = logging.getLogger(__name__)


class _Superseded(Exception):
    """A newer spec ends the boot that is under way."""


class Runner:
    """`apply` and `hear` may come twice or late; `run` returns when the node is removed. The constructor
    must not block: two concurrent specs of a node must not create two runners. vm: None while none is known."""

    def __init__(self, spec: NodeWanted, context: RunnerContext) -> None:
        self.spec = spec
        self.record = context.records.load(spec.id) or VmRecord(spec.id, spec.name)
        self._context = context
        self._console = ConsoleWriter(lambda: context.booter.prepare_line(self.spec))
        self._wakeup = threading.Event()
        self._searched = False  # whether it is known if a qemu of it runs
        self._removed = False
        self._goes_back = False
        self.vm: Vm | None = None
        self._boot_clock: BootClock | None = None
        self._events = GuestEvents()

    def report(self) -> VmReport:
        return transitions.report(self.record, self._context.name)

    def apply(self, spec: NodeWanted, may_go_back: bool = False) -> None:
        """may_go_back: as a registry that was restored does, which counts versions and boots from where it was."""
        goes_back = may_go_back and (spec.version < self.spec.version or spec.boot < self.record.boot)
        if goes_back or spec.version > self.spec.version:
            self._goes_back |= goes_back
            self.spec = spec
            self._wakeup.set()

    def has_left(self, move: int) -> bool:
        """Whether it leaves this host by this move, and its VM has ended."""
        is_off = self._searched and (self.vm is None or self.vm.ending is not None) and self.record.state == STOPPED
        return is_off and move == self.record.leaving == self.spec.move

    def hear(self, event: GuestEvent) -> None:
        """One of an earlier run changes nothing."""
        self._events.put(event)
        self._wakeup.set()

    def run(self) -> None:
        while not self._removed:
            try:
                self._step()
            except Exception as error:  # without its runner the node would be left alone
                log.warning("%s: %s", self.record.name, error, exc_info=not isinstance(error, WaltError))
                self._back_off(error)

    def _back_off(self, error: Exception) -> None:
        """While it is not known whether its qemu runs and no new boot was requested, its state stays."""
        pause_s = AFTER_ERROR_S
        if self._searched or self.spec.boot > self.record.boot:
            self._fail(error, tried=self.spec.boot)
            pause_s = self.record.due - time.time()
        self._wakeup.wait(pause_s)

    def _step(self) -> None:
        self._wakeup.clear()
        if not self._searched:
            self._search()
        record = transitions.gone_back(self.record, self.spec.boot) if self._goes_back else self.record
        self._goes_back = False
        self._transition(moves.leaving(record, self.spec, self._context.name))
        ending = ENDED_UNSEEN if self.vm is None else self.vm.ending
        if self.vm is not None and ending is None:
            self._take_events()
            self._context.keep_in_step(self.spec, self.record, self.vm, self._wakeup.set)
        else:
            self._context.release(self.record, self.spec)
        now = time.time()
        match decision.decide(self.record, self.spec, ending, now):
            case decision.Remove():
                self._remove()
            case decision.Receive():
                self._receive()
            case decision.Stop():
                self._stop()
            case decision.EndHalted():
                self._end_vm()
                self._mark_stopped(GUEST_HALTED.cause, GUEST_HALTED.sentence)
            case decision.MarkStopped():
                self._mark_stopped(GUEST_POWERED_OFF.cause, GUEST_POWERED_OFF.sentence)
            case decision.StartBootCycle() as action:
                self._start_boot_cycle(action)
            case decision.ShowCountdown(seconds_left):
                self._show_countdown(seconds_left)
            case decision.Load():
                self._load()
            case decision.Adopt():
                self._transition(transitions.started(self.record, now))
            case decision.GiveUp(cause, reason):
                reason += self._console_clue(cause)
                self._transition(transitions.given_up(self.record, cause, reason, now))
            case decision.Idle(until):
                self._wakeup.wait(None if until is None else max(0.0, until - time.time()))

    def _search(self) -> None:
        self.vm = self._context.launcher.adopt(self.spec.id)
        self._searched = True
        if self.vm is not None:
            self.vm.set_carriers(self.spec.interfaces)  # first, as its processors may not have run yet
            self.vm.watch(self._wakeup.set)
            self._context.memory.occupy(self.spec.id, self.record.ram_bytes or self.spec.ram_bytes, self.vm)
            if self.record.state != BOOTED:
                self._watch_boot(self.vm)

    def _watch_boot(self, vm: Vm) -> None:
        self._boot_clock = BootClock(vm.cpu_seconds)
        self._context.slots.occupy(self.spec.id, vm.cpu_seconds)

    def _take_events(self) -> None:
        is_paused = self.vm is not None and self.vm.is_paused
        for change in self._events.changes(is_paused, self._silence_clue):
            self._transition(change(self.record))
        if self._boot_clock is not None and decision.is_late(self.record, self.spec, time.time()):
            self._transition(transitions.starved(self.record, self._boot_clock.starved_s()))

    def _transition(self, record: VmRecord) -> None:
        """Save it, then announce it. No other action runs before the decision is on disk."""
        old, self.record = self.record, record
        if record == old:
            return
        try:
            self._context.records.save(record)
        except OSError as error:  # a full disk must not end the VM
            log.error("%s: its state cannot be saved: %s", record.name, error)
        if record.state in (BOOTED, FAILED, STOPPED):
            self._context.slots.release(self.spec.id)
        if record.sequence != old.sequence:
            self._context.boots.count(old, record)
            self._context.bus.announce(VM_CHANGED, self.report())

    def _stop(self) -> None:
        self._shut_down_guest()
        self._end_vm()
        self._mark_stopped(CAUSE_STOP_REQUESTED, "powered off as requested")

    def _mark_stopped(self, cause: str, reason: str) -> None:
        self._transition(transitions.stopped(self.record, self.spec, cause, reason, time.time()))

    def _start_boot_cycle(self, action: decision.StartBootCycle) -> None:
        self._shut_down_guest()
        self._end_vm()
        delay_s = self.spec.boot_delay_s
        if delay_s is None:
            delay_s = random.randint(1, MAX_RANDOM_DELAY_S)
        cause, retries = action.cause, action.retries
        reason = action.reason + self._console_clue(cause)
        self._transition(transitions.begin(self.record, self.spec, cause, reason, retries, delay_s, time.time()))
        self._attempt(lambda: self._console.open(reason))

    def _show_countdown(self, seconds_left: int) -> None:
        if self._console.writer is None:
            self._attempt(self._console.open)
            return
        self._console.count(seconds_left)
        self._wakeup.wait(max(0.0, self.record.due - time.time() - (seconds_left - 1)))

    def _load(self) -> None:
        spec = self.spec
        match self._context.memory.request(spec.id, spec.ram_bytes):
            case Admit():
                with contextlib.suppress(_Superseded):
                    self._wait_for_slot(spec)
                    self._transition(transitions.load(self.record, spec.ram_bytes, time.time()))
                    self._attempt(lambda: self._power_on(spec))
            case Wait(sentence):
                self._wait(CAUSE_NO_MEMORY, sentence)
            case Reject(sentence):
                self._record_failure(CAUSE_NO_MEMORY, sentence)

    def _wait(self, cause: str, sentence: str) -> None:
        if not self.record.waits or self.record.cause != cause:
            self._console.say(sentence)
        self._transition(transitions.waiting(self.record, cause, sentence, time.time()))

    def _wait_for_slot(self, spec: NodeWanted) -> None:
        arrival = self.record.since
        while not self._context.slots.request(spec.id, arrival, self._wakeup.set):
            if self.record.cause != CAUSE_WAITS_FOR_SLOT:
                self._wait(CAUSE_WAITS_FOR_SLOT, "other nodes of its host boot before it")
            self._wakeup.wait(LOOK_S)
            self._wakeup.clear()
            if self.spec is not spec:
                raise _Superseded

    def _power_on(self, spec: NodeWanted) -> None:
        line = self._console.writer or self._console.open()
        self.vm = self._context.booter.power_on(spec, self.record.run, line, self._check_still_wanted)
        self._context.memory.occupy(spec.id, spec.ram_bytes, self.vm)
        self.vm.watch(self._wakeup.set)
        self._watch_boot(self.vm)
        self._transition(transitions.started(self.record, time.time()))
        self._console.close()

    def _receive(self) -> None:
        self._end_vm()  # a vmrunner of the version before, which knows no moves, may have started it
        arrival = moves.Arrival(self._context.bus, self._context.moving, self._transition, lambda: self.spec)
        self._attempt(lambda: arrival.receive(self.record, self.spec), tried=self.spec.boot)

    def _check_still_wanted(self) -> None:
        """A boot script may take long: a spec that ends this boot does not wait for its end."""
        if self.spec.power != POWER_ON or self.spec.boot > self.record.boot:
            raise _Superseded

    def _attempt(self, step: Callable[[], object], tried: int = 0) -> None:
        """Do it; when the host cannot, the VM has failed for that reason."""
        try:
            step()
        except (WaltError, OSError) as error:
            log.warning("%s: %s", self.record.name, error)
            self._fail(error, tried)

    def _fail(self, error: Exception, tried: int = 0) -> None:
        self._record_failure(cause_of(error), str(error) or repr(error), tried)

    def _record_failure(self, cause: str, sentence: str, tried: int = 0) -> None:
        if self._console.writer is not None:
            self._console.say(sentence)
        self._console.close()
        self._transition(transitions.failed(self.record, cause, sentence, time.time(), tried))

    def _console_clue(self, cause: str) -> str:
        if cause in (CAUSE_POWERED_ON, CAUSE_REBOOT_REQUESTED):
            return ""
        clue = console_clue.clue(self._console.tail(console_clue.TAIL_BYTES))
        return clue and f"; its console shows: {clue}"

    def _silence_clue(self) -> str:
        return console_clue.silence_clue(self._console.tail(console_clue.TAIL_BYTES))

    def _shutdown_command(self) -> str:
        return decision.shutdown_command(self.record, self.spec, self._context.disks.has_any(self.spec.id))

    def _shut_down_guest(self) -> None:
        """Let the guest end cleanly; what it has not done in time is forced. A newer, harder spec ends the wait."""
        if self.vm is not None:
            command = guest_shutdown.GuestCommand(self._context, self.spec.id, self._console.say, self._wakeup)
            command.run(self.vm, self._shutdown_command)

    def _end_vm(self) -> None:
        if self.vm is not None:
            self.vm.end()
            self.vm = None

    def _remove(self) -> None:
        self._end_vm()
        self._console.close()
        is_elsewhere = self.spec.host != self._context.name
        self._context.forget(self.spec.id, self.record.name, is_elsewhere=is_elsewhere)
        self._removed = True
        self._context.bus.announce(VM_REMOVED, VmRemoved(self.spec.id, self.spec.name, self._context.name))
