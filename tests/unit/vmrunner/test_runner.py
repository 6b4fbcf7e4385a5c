"""The runner of one machine, in a world of which it alone is the living part: killed at any of its effects, its successor
makes good what it left."""

from __future__ import annotations

import contextlib
import itertools
import shutil
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from services.contracts.bootserver import NodeBooted
from services.contracts.console import Line
from services.contracts.disks import NO_TEMPLATE
from services.contracts.errors import Failed
from services.contracts.nodes import Disk
from services.contracts.vmrunner import BOOTED, BOOTING, DELAYING, FAILED, STOPPED, VM_REMOVED
from services.kit import commands
from services.vmrunner import disks
from services.vmrunner.admission import Enter, Wait
from services.vmrunner.disks import DiskStore
from services.vmrunner.fleet import Fleet
from services.vmrunner.memory import Memory
from services.vmrunner.runner import Host, Runner
from services.vmrunner.store import Store
from tests.unit.vmrunner.sample import wanted

GIB = 2**30
FIRST = wanted(ram_bytes=6 * GIB, boot_timeout_s=None, disks=(Disk(1, 10**6, NO_TEMPLATE),))


class Killed(BaseException):
    """vmrunner, in the middle of something."""


class Idle(BaseException):
    """The runner waits for something to happen."""


class Vm:
    """A qemu, which outlives who has started it."""

    def __init__(self, world: World) -> None:
        self.ended, self._world = "", world

    def watch(self, on_end) -> None:
        self._on_end = on_end

    def usage(self):
        return None

    def end(self) -> None:
        if self._world.stuck:
            raise Failed("qemu, process 7, does not end")
        with self._world.effect():
            self.dies("qemu was told to quit")

    def dies(self, how: str) -> None:
        self.ended = how
        self._on_end()


class World:
    """All that outlives vmrunner: files, machines, and what nodes was told. kill_at: the effect in which vmrunner dies,
    counted twice: before it, and after it."""

    def __init__(self, folder: Path, kill_at: int = 0) -> None:
        self.folder, self.kill_at = folder, kill_at
        self.moments, self.killed = itertools.count(1), False
        self.vm: Vm | None = None
        self.engine_is_away, self.stuck = False, False
        self.reports, self.removed = [], 0
        self.script = lambda pause: None

    @contextlib.contextmanager
    def effect(self) -> Iterator[None]:
        self._moment()
        yield
        self._moment()

    def _moment(self) -> None:
        if next(self.moments) == self.kill_at:
            self.killed = True
            raise Killed

    @property
    def runs(self) -> bool:
        return self.vm is not None and not self.vm.ended

    # As a launcher:

    def adopt(self, node_id: int) -> Vm | None:
        if self.engine_is_away:
            raise Failed("the Docker Engine does not answer: gone")
        return self.vm if self.runs else None

    def forget(self, node_id: int) -> None:
        with self.effect():
            assert not self.runs

    # As a booter:

    def prepare_line(self, wish) -> Line:
        return Line(*(str(self.folder / name) for name in ("line.sock", "line.log", "line.in")))

    def power_on(self, wish, run, line, pause) -> Vm:
        DiskStore(self.folder / "state").prepare(wish.id, wish.disks)
        self.script(pause)
        with self.effect():
            assert not self.runs, "two machines of one node"
            self.vm = Vm(self)
        return self.vm

    def announce(self, event, value) -> None:
        with self.effect():
            if event == VM_REMOVED:
                self.removed += 1
            else:
                self.reports.append(value)


class Files(Store):
    world: World

    def save(self, machine) -> None:
        with self.world.effect():
            super().save(machine)

    def forget(self, node_id: int) -> None:
        with self.world.effect():
            super().forget(node_id)


class News:
    """In place of the event for which a runner waits."""

    def __init__(self) -> None:
        self.is_set = False

    def set(self) -> None:
        self.is_set = True

    def clear(self) -> None:
        self.is_set = False

    def wait(self, timeout=None) -> None:
        if not self.is_set:
            raise Idle


def life(world: World) -> Host:
    """What a vmrunner that starts has of it."""
    state = world.folder / "state"
    store = Files(state)
    store.world = world
    memory = Memory("lab", 1.0, lambda field: 10 * GIB)
    return Host("lab", store, world, world, DiskStore(state), memory, 0.0, world.announce)


def runner_for(wish, world: World) -> Runner:
    made = Runner(wish, life(world))
    made._news = News()
    return made


def goes_on(runner: Runner) -> None:
    """Until there is nothing to do, or the node is gone."""
    with contextlib.suppress(Idle):
        runner.run()


def booted(runner: Runner) -> None:
    runner.booted(NodeBooted(runner.wanted.id, runner.machine.run, time.time()))
    goes_on(runner)


@pytest.fixture
def world(tmp_path) -> World:
    return World(tmp_path)


def wishes():
    """A node's life: made, given to another owner (its disks with it), stopped, started, removed."""
    taken = replace(FIRST, version=2, boot=2, hard=True, owner="bob", disks=(Disk(2, 10**6, NO_TEMPLATE),))
    stopped = replace(taken, version=3, boot=3, power="off")
    started = replace(taken, version=4, boot=4)
    return FIRST, taken, stopped, started, replace(started, version=5, power="absent")


def fulfil(runner: Runner, wish, world: World) -> Runner:
    """A runner that is killed has a successor."""
    runner.wish(wish)
    while True:
        try:
            goes_on(runner)
            if world.runs:
                booted(runner)
            return runner
        except Killed:
            runner = runner_for(wish, world)


def check(runner: Runner, wish, world: World) -> None:
    folder = world.folder / "state" / str(wish.id)
    if wish.power == "absent":
        assert not world.runs and not folder.exists() and world.removed
        return
    assert world.runs == (wish.power == "on")
    assert (runner.machine.state, runner.machine.boot) == (BOOTED if world.runs else STOPPED, wish.boot)
    files = {path.name for path in (folder / "disks").iterdir()}
    assert files == {f"{disk.id}.{end}" for disk in wish.disks for end in ("raw", "json")}


def test_killed_at_any_effect_it_is_made_good(tmp_path, monkeypatch):
    """No second machine, no disk of a former owner, nothing left of a node that is removed."""
    write_note = disks._write_note

    def note(*about) -> None:
        with world.effect():
            write_note(*about)

    monkeypatch.setattr(disks, "_write_note", note)
    for kill_at in itertools.count(1):
        world = World(tmp_path / str(kill_at), kill_at)
        (world.folder / "state").mkdir(parents=True)
        runner = runner_for(FIRST, world)
        for wish in wishes():
            runner = fulfil(runner, wish, world)
            check(runner, wish, world)
        shutil.rmtree(world.folder)
        if not world.killed:
            break
    assert kill_at > 60  # those that there are


def test_an_engine_that_is_away_is_the_reason_and_it_goes_on_when_it_is_back(world):
    world.engine_is_away = True
    runner = runner_for(FIRST, world)
    goes_on(runner)
    (report,) = world.reports
    assert (report.state, report.boot) == (FAILED, 1)  # nodes takes it as the answer to its wish
    assert report.reason == "the Docker Engine does not answer: gone; next try in 2 s"
    world.engine_is_away = False
    goes_on(runner)
    assert world.runs and runner.machine.state == BOOTING


def test_a_machine_that_runs_has_not_failed_because_the_engine_is_away(world):
    first = runner_for(FIRST, world)
    goes_on(first)
    booted(first)
    told = len(world.reports)
    world.engine_is_away = True
    second = runner_for(FIRST, world)
    goes_on(second)
    assert len(world.reports) == told and second.machine.state == BOOTED
    second.wish(replace(FIRST, version=2, power="off", boot=2, hard=True))
    goes_on(second)
    assert (world.reports[-1].state, world.reports[-1].boot) == (FAILED, 2)
    world.engine_is_away = False
    goes_on(second)
    assert not world.runs and second.machine.state == STOPPED


def test_a_qemu_that_does_not_end_is_the_answer_to_the_reboot(world):
    runner = runner_for(FIRST, world)
    goes_on(runner)
    booted(runner)
    world.stuck = True
    runner.wish(replace(FIRST, version=2, boot=2, hard=True))
    goes_on(runner)
    assert (runner.report().state, runner.report().boot) == (FAILED, 2)
    assert runner.report().reason == "qemu, process 7, does not end; next try in 2 s"
    world.stuck = False
    goes_on(runner)
    assert runner.machine.run == 2 and runner.report().state == BOOTING


def test_booted_is_not_lost_when_it_is_heard_before_the_machine_is_recognised(world):
    def killed(pause) -> None:
        world.vm = Vm(world)
        raise Killed

    world.script = killed
    with pytest.raises(Killed):
        goes_on(runner_for(FIRST, world))
    successor = runner_for(FIRST, world)
    successor.booted(NodeBooted(FIRST.id, 1, time.time()))
    goes_on(successor)
    assert successor.machine.state == BOOTED


def test_a_machine_that_boots_again_keeps_its_place_in_the_hosts_memory(world):
    runner = runner_for(replace(FIRST, boot_delay_s=5), world)
    book = runner._host.memory
    runner.machine = replace(runner.machine, state=BOOTED, boot=1, run=1)
    runner._found = True
    book.promise(FIRST.id, FIRST.ram_bytes)
    goes_on(runner)  # its qemu has gone
    assert runner.machine.state == DELAYING
    assert isinstance(book.ask(6, 6 * GIB), Wait)
    runner.wish(replace(FIRST, version=2, power="off", boot=2))
    goes_on(runner)
    assert book.ask(6, 6 * GIB) == Enter()


def test_what_runs_is_counted_before_anything_is_let_in(world):
    runner = runner_for(FIRST, world)
    goes_on(runner)
    restarted = life(world)
    Fleet(restarted)
    assert restarted.memory.promised_bytes() == FIRST.ram_bytes


def test_a_node_whose_files_stay_is_not_said_to_be_gone(world, monkeypatch):
    runner = runner_for(replace(FIRST, power="absent"), world)
    with monkeypatch.context() as patch:
        patch.setattr(commands, "run", fails)
        goes_on(runner)
    assert not world.removed
    goes_on(runner)
    assert world.removed == 1


def fails(argv, **options):
    raise Failed("rm: Input/output error")


def test_a_boot_script_that_sleeps_long_is_left_for_a_new_wish(world):
    runner = runner_for(FIRST, world)

    def script(pause) -> None:
        runner.wish(replace(FIRST, version=2, power="absent"))
        pause(3600)

    world.script = script
    goes_on(runner)
    assert world.removed == 1 and not world.runs
