"""The runner of one machine: a greenthread that asks `lifecycle.decide` what to do next, and does it."""

from __future__ import annotations

import contextlib
import logging
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from services.contracts.bootserver import NodeBooted, NodeCopying
from services.contracts.errors import Failed, WaltError
from services.contracts.nodes import POWER_ON, NodeWanted
from services.contracts.settings import MAX_RANDOM_DELAY_S
from services.contracts.vmrunner import VM_CHANGED, VM_REMOVED, VmRemoved, VmReport
from services.kit.peers import Announce
from services.vmrunner import guest, lifecycle
from services.vmrunner.admission import Enter, Never, Wait
from services.vmrunner.boot import Booter
from services.vmrunner.disks import DiskStore
from services.vmrunner.lifecycle import Begin, Count, GiveUp, Load, Machine, Recognise, Remove, Rest, Stop, TakeAsOff
from services.vmrunner.line import LineWriter, Words
from services.vmrunner.memory import Memory
from services.vmrunner.metrics import BootBook
from services.vmrunner.store import Store
from services.vmrunner.vm import Launcher, Vm

AFTER_ERROR_S = 5.0
SYNC_LIMIT_S = 5.0

log = logging.getLogger(__name__)


class _Overtaken(Exception):
    """A newer wish ends the boot that is under way."""


@dataclass(frozen=True)
class Host:
    """What the runners of one host share. soft_end_s: how long a guest may take to shut down."""

    name: str
    store: Store
    launcher: Launcher
    booter: Booter
    disks: DiskStore
    memory: Memory
    soft_end_s: float
    announce: Announce
    boots: BootBook = field(default_factory=BootBook)


class Runner:
    """`wish` and `booted` may come at any time, twice or late; `run` returns when the node is gone from here.

    The making of one waits for nothing, so that a node whose wish comes twice at once has one runner all the same."""

    def __init__(self, wanted: NodeWanted, host: Host) -> None:
        self.wanted = wanted
        self.machine = host.store.load(wanted.id) or Machine(wanted.id, wanted.name)
        self._host = host
        self._words = Words()
        self._news = threading.Event()
        self._found = False  # whether it is known what runs of it
        self._removed = False
        self._vm: Vm | None = None
        self._booted: NodeBooted | None = None
        self._copying: tuple[NodeCopying, float] | None = None  # and when it was heard

    @property
    def vm(self) -> Vm | None:
        return self._vm

    def report(self) -> VmReport:
        return lifecycle.report(self.machine, self._host.name)

    def wish(self, wanted: NodeWanted) -> None:
        if wanted.version > self.wanted.version:
            self.wanted = wanted
            self._news.set()

    def booted(self, news: NodeBooted) -> None:
        """It may come before its machine is found, or recognised: so it is kept. Of an earlier run it changes nothing."""
        self._booted = news
        self._news.set()

    def copying(self, news: NodeCopying) -> None:
        self._copying = news, time.time()
        self._news.set()

    def run(self) -> None:
        while not self._removed:
            try:
                self._step()
            except Exception as error:  # a runner that dies would leave its node without anybody
                log.warning("%s: %s", self.machine.name, error, exc_info=not isinstance(error, WaltError))
                self._rest_in_trouble(error)

    def _rest_in_trouble(self, error: Exception) -> None:
        """A machine of which nothing new is wanted has not failed as long as it cannot be known whether it runs."""
        pause_s = AFTER_ERROR_S
        if self._found or self.wanted.boot > self.machine.boot:
            self._fail(error, tried=self.wanted.boot)
            pause_s = self.machine.due - time.time()
        self._news.wait(pause_s)

    def _step(self) -> None:
        self._news.clear()
        if not self._found:
            self._find()
        runs = self._vm is not None and not self._vm.ended
        ended = self._vm.ended if self._vm is not None else lifecycle.ENDED_UNSEEN
        if not runs:
            self._free()
        else:
            self._hear()
        match lifecycle.decide(self.machine, self.wanted, runs, ended, time.time()):
            case Remove():
                self._remove()
            case Stop():
                self._take_leave()
                self._end_vm()
                self._become(lifecycle.stopped(self.machine, self.wanted, time.time()))
            case TakeAsOff():
                self._become(lifecycle.stopped(self.machine, self.wanted, time.time(), ended))
            case Begin() as action:
                self._begin(action)
            case Count(seconds_left):
                self._count(seconds_left)
            case Load():
                self._load()
            case Recognise():
                self._become(lifecycle.started(self.machine, time.time()))
            case GiveUp(sentence):
                self._become(lifecycle.given_up(self.machine, sentence, time.time()))
            case Rest(until):
                self._news.wait(None if until is None else max(0.0, until - time.time()))

    def _find(self) -> None:
        self._vm = self._host.launcher.adopt(self.wanted.id)
        self._found = True
        if self._vm is not None:
            self._vm.watch(self._news.set)
            self._host.memory.occupy(self.wanted.id, self.machine.ram_bytes or self.wanted.ram_bytes, self._vm)

    def _hear(self) -> None:
        if self._copying is not None:
            news, at = self._copying
            self._become(lifecycle.copying(self.machine, news.run, at))
        if self._booted is not None:
            self._become(lifecycle.booted(self.machine, self._booted.run, self._booted.at, time.time()))

    def _become(self, machine: Machine) -> None:
        """Remember it first, then tell. Nothing else runs between the decision and the memory of it."""
        old, self.machine = self.machine, machine
        if machine == old:
            return
        try:
            self._host.store.save(machine)
        except OSError as error:  # a full disk must not take the machine down
            log.error("%s: its state cannot be saved: %s", machine.name, error)
        if machine.sequence != old.sequence:
            self._host.boots.count(old, machine)
            self._host.announce(VM_CHANGED, self.report())

    def _begin(self, action: Begin) -> None:
        self._take_leave()
        self._end_vm()
        delay_s = self.wanted.boot_delay_s
        if delay_s is None:
            delay_s = random.randint(1, MAX_RANDOM_DELAY_S)
        self._become(lifecycle.begin(self.machine, self.wanted, action, delay_s, time.time()))
        self._attempt(lambda: self._open_line(action.cause))

    def _count(self, seconds_left: int) -> None:
        if self._words.writer is None:
            self._attempt(self._open_line)
            return
        self._words.count(seconds_left)
        self._news.wait(max(0.0, self.machine.due - time.time() - (seconds_left - 1)))

    def _load(self) -> None:
        wanted = self.wanted
        match self._host.memory.ask(wanted.id, wanted.ram_bytes):
            case Enter():
                self._become(lifecycle.load(self.machine, wanted.ram_bytes, time.time()))
                with contextlib.suppress(_Overtaken):
                    self._attempt(lambda: self._power_on(wanted))
            case Wait(sentence):
                if sentence != self.machine.reason:
                    self._words.say(sentence)
                self._become(lifecycle.waiting(self.machine, sentence, time.time()))
            case Never(sentence):
                self._fail(Failed(sentence))

    def _power_on(self, wanted: NodeWanted) -> None:
        line = self._words.writer or self._open_line()
        self._vm = self._host.booter.power_on(wanted, self.machine.run, line, self._pause)
        self._host.memory.occupy(wanted.id, wanted.ram_bytes, self._vm)
        self._vm.watch(self._news.set)
        self._become(lifecycle.started(self.machine, time.time()))
        self._words.close()

    def _pause(self, seconds: float) -> None:
        """Of a boot script: it may be a long one, and a wish that ends this boot does not wait for its end."""
        expires = time.monotonic() + seconds
        while (left_s := expires - time.monotonic()) > 0:
            if self.wanted.power != POWER_ON or self.wanted.boot > self.machine.boot:
                raise _Overtaken
            self._news.wait(left_s)
            self._news.clear()

    def _attempt(self, step: Callable[[], object]) -> None:
        """Do it; if the host cannot, the machine has failed with that sentence."""
        try:
            step()
        except (WaltError, OSError) as error:
            log.warning("%s: %s", self.machine.name, error)
            self._fail(error)

    def _fail(self, error: Exception, tried: int = 0) -> None:
        sentence = str(error) or repr(error)
        if self._words.writer is not None:
            self._words.say(sentence)
        self._words.close()
        self._become(lifecycle.failed(self.machine, sentence, time.time(), tried))

    def _open_line(self, cause: str = "") -> LineWriter:
        """With the mark of a power-on, and why it comes to it."""
        self._words.close()
        writer = self._words.open(self._host.booter.prepare_line(self.wanted))
        if cause:
            self._words.say(cause)
        return writer

    def _farewell(self) -> str:
        return lifecycle.farewell(self.machine, self.wanted, self._host.disks.has_any(self.wanted.id))

    def _take_leave(self) -> None:
        """Let the guest end in good order; what it does not do in time is done to it. A harder wish ends the waiting."""
        command = self._farewell()
        if self._vm is None or self._vm.ended or not command:
            return
        shuts_down = command == lifecycle.POWER_OFF_GUEST
        limit_s = self._host.soft_end_s if shuts_down else min(SYNC_LIMIT_S, self._host.soft_end_s)
        self._words.say("asking the guest to shut down" if shuts_down else "asking the guest to sync")
        request = guest.Request(self._host.name, self.wanted.id, command, limit_s, self._news.set)
        expires = time.monotonic() + limit_s
        while self._farewell() == command and not self._vm.ended and time.monotonic() < expires:
            if request.fault or (request.done and not shuts_down):
                break
            self._news.wait(max(0.0, expires - time.monotonic()))
            self._news.clear()
        if request.fault:
            log.warning("%s: %s", self.machine.name, request.fault)
            self._words.say(request.fault)

    def _free(self) -> None:
        """What no qemu holds any more. A file that stays is tried again; it must not keep the machine from its end."""
        if not lifecycle.keeps_promise(self.machine):
            self._host.memory.give_back(self.wanted.id)
        try:
            self._host.disks.keep_only(self.wanted.id, self.wanted.disks)
        except (WaltError, OSError) as error:
            log.warning("%s: a disk that is not wanted stays: %s", self.machine.name, error)

    def _end_vm(self) -> None:
        if self._vm is not None:
            self._vm.end()
            self._vm = None

    def _remove(self) -> None:
        self._end_vm()
        self._words.close()
        forget(self._host, self.wanted.id)
        self._removed = True
        self._host.announce(VM_REMOVED, VmRemoved(self.wanted.id, self.wanted.name, self._host.name))


def forget(host: Host, node_id: int) -> None:
    host.launcher.forget(node_id)
    host.memory.give_back(node_id)
    host.store.forget(node_id)
    host.boots.forget(node_id)
