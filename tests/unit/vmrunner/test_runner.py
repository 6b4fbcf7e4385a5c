"""The runner of one VM, with fakes around it: when it is killed at any of its effects, its successor completes the
work."""

from __future__ import annotations

import itertools
import shutil
import time
from dataclasses import replace

import pytest

from services.kit import subprocesses
from services.vmrunner.disks import store
from services.vmrunner.lifecycle.fleet import Fleet
from services.vmrunner.lifecycle.runner import Runner
from services.vmrunner.memory.admission import Admit, Wait
from tests.support.specs import HOME_NET, WALT_NET
from tests.unit.vmrunner.runner_world import FIRST, GIB, Killed, Vm, World, booted, goes_on, life, runner_for
from walt.contracts.bootserver import NodeBooted
from walt.contracts.disks import NO_TEMPLATE
from walt.contracts.errors import Failed
from walt.contracts.links import LinkModel
from walt.contracts.nodes import Disk
from walt.contracts.vmrunner import BOOTED, BOOTING, DELAYING, FAILED, STOPPED


@pytest.fixture
def world(tmp_path) -> World:
    return World(tmp_path)


def specs():
    """A node's life: made, given to another owner (its disks with it), stopped, started, removed."""
    taken = replace(FIRST, version=2, boot=2, hard=True, owner="bob", disks=(Disk(2, 10**6, NO_TEMPLATE),))
    stopped = replace(taken, version=3, boot=3, power="off")
    started = replace(taken, version=4, boot=4)
    return FIRST, taken, stopped, started, replace(started, version=5, power="absent")


def fulfil(runner: Runner, spec, world: World) -> Runner:
    """A runner that is killed has a successor."""
    runner.apply(spec)
    while True:
        try:
            goes_on(runner)
            if world.runs:
                booted(runner)
            return runner
        except Killed:
            runner = runner_for(spec, world)


def check(runner: Runner, spec, world: World) -> None:
    folder = world.folder / "state" / str(spec.id)
    if spec.power == "absent":
        assert not world.runs and not folder.exists() and world.removed
        return
    assert world.runs == (spec.power == "on")
    assert (runner.record.state, runner.record.boot) == (BOOTED if world.runs else STOPPED, spec.boot)
    files = {path.name for path in (folder / "disks").iterdir()}
    assert files == {f"{disk.id}.{end}" for disk in spec.disks for end in ("raw", "json")}


def test_killed_at_any_effect_its_successor_completes_the_work(tmp_path, monkeypatch):
    """No second VM, no disk of a former owner, nothing left of a node that is removed."""
    write_info = store._write_info

    def write_with_effects(*about) -> None:
        with world.effect():
            write_info(*about)

    monkeypatch.setattr(store, "_write_info", write_with_effects)
    for kill_at in itertools.count(1):
        world = World(tmp_path / str(kill_at), kill_at)
        (world.folder / "state").mkdir(parents=True)
        runner = runner_for(FIRST, world)
        for one in specs():
            runner = fulfil(runner, one, world)
            check(runner, one, world)
        shutil.rmtree(world.folder)
        if not world.killed:
            break
    assert kill_at > 60  # those that there are


def test_an_engine_that_is_away_is_the_reason_and_it_goes_on_when_it_is_back(world):
    world.engine_is_away = True
    runner = runner_for(FIRST, world)
    goes_on(runner)
    (report,) = world.reports
    assert (report.state, report.boot) == (FAILED, 1)  # for nodes it is the answer to its spec
    assert report.reason == "the Docker Engine does not answer: gone; next try in 2 s"
    world.engine_is_away = False
    goes_on(runner)
    assert world.runs and runner.record.state == BOOTING


def test_a_vm_that_runs_has_not_failed_because_the_engine_is_away(world):
    first = runner_for(FIRST, world)
    goes_on(first)
    booted(first)
    reported = len(world.reports)
    world.engine_is_away = True
    second = runner_for(FIRST, world)
    goes_on(second)
    assert len(world.reports) == reported and second.record.state == BOOTED
    second.apply(replace(FIRST, version=2, power="off", boot=2, hard=True))
    goes_on(second)
    assert (world.reports[-1].state, world.reports[-1].boot) == (FAILED, 2)
    world.engine_is_away = False
    goes_on(second)
    assert not world.runs and second.record.state == STOPPED


def test_a_qemu_that_does_not_end_is_the_answer_to_the_reboot(world):
    runner = runner_for(FIRST, world)
    goes_on(runner)
    booted(runner)
    world.stuck = True
    runner.apply(replace(FIRST, version=2, boot=2, hard=True))
    goes_on(runner)
    assert (runner.report().state, runner.report().boot) == (FAILED, 2)
    assert runner.report().reason == "qemu, process 7, does not end; next try in 2 s"
    world.stuck = False
    goes_on(runner)
    assert runner.record.run == 2 and runner.report().state == BOOTING


def test_booted_is_not_lost_when_it_comes_before_the_vm_is_adopted(world):
    def killed(pause) -> None:
        world.vm = Vm(world)
        raise Killed

    world.script = killed
    with pytest.raises(Killed):
        goes_on(runner_for(FIRST, world))
    successor = runner_for(FIRST, world)
    successor.hear(NodeBooted(FIRST.id, 1, time.time()))
    goes_on(successor)
    assert successor.record.state == BOOTED


def test_carriers_follow_the_spec_and_are_told_anew_by_a_successor(world):
    cut = replace(FIRST, version=2, interfaces=(WALT_NET, replace(HOME_NET, link=LinkModel(no_carrier=True))))
    runner = runner_for(replace(FIRST, interfaces=(WALT_NET, HOME_NET)), world)
    goes_on(runner)
    booted(runner)
    assert world.vm.carriers == {"walt-net": True, "home-net": True}
    runner.apply(cut)
    goes_on(runner)
    assert world.vm.carriers == {"walt-net": True, "home-net": False}
    assert (runner.record.state, runner.record.run) == (BOOTED, 1)
    world.vm.carriers.clear()
    goes_on(runner_for(cut, world))
    assert world.vm.carriers_at_watch == {"walt-net": True, "home-net": False}, "before its processors may run"


def test_a_vm_that_boots_again_keeps_its_place_in_the_hosts_memory(world):
    runner = runner_for(replace(FIRST, boot_delay_s=5), world)
    ledger = runner._context.memory
    runner.record = replace(runner.record, state=BOOTED, boot=1, run=1)
    runner._searched = True
    ledger.promise(FIRST.id, FIRST.ram_bytes)
    goes_on(runner)  # its qemu has gone
    assert runner.record.state == DELAYING
    assert isinstance(ledger.request(6, 6 * GIB), Wait)
    runner.apply(replace(FIRST, version=2, power="off", boot=2))
    goes_on(runner)
    assert ledger.request(6, 6 * GIB) == Admit()


def test_what_runs_is_counted_before_anything_is_admitted(world):
    runner = runner_for(FIRST, world)
    goes_on(runner)
    restarted = life(world)
    Fleet(restarted)
    assert restarted.memory.promised_bytes() == FIRST.ram_bytes


def test_fault_s37_vms_are_not_known_before_the_first_reconciliation(world):
    fleet = Fleet(life(world))
    with pytest.raises(Failed, match="has not reconciled with nodes yet"):
        fleet.all_reports()
    fleet.reconcile([], fleet.known())
    assert fleet.all_reports() == []


def test_fault_s42_removed_nodes_are_forgotten_once_no_spec_of_them_can_come(world):
    fleet = Fleet(life(world))
    gone = replace(FIRST, host=fleet._context.name, power="absent", version=9)
    fleet._removed[FIRST.id] = gone.version
    fleet.reconcile([gone], fleet.known())
    fleet.reconcile([], fleet.known())
    fleet.apply(replace(gone, power="on", version=8))  # late
    assert not fleet._runners
    fleet.reconcile([], fleet.known())
    assert not fleet._removed


def test_a_node_whose_files_stay_is_not_reported_as_removed(world, monkeypatch):
    runner = runner_for(replace(FIRST, power="absent"), world)
    with monkeypatch.context() as patch:
        patch.setattr(subprocesses, "run", fails)
        goes_on(runner)
    assert not world.removed
    goes_on(runner)
    assert world.removed == 1


def fails(argv, **options):
    raise Failed("rm: Input/output error")


def test_a_boot_script_that_sleeps_long_is_ended_by_a_new_spec(world):
    runner = runner_for(FIRST, world)

    def script(pause) -> None:
        runner.apply(replace(FIRST, version=2, power="absent"))
        pause(3600)

    world.script = script
    goes_on(runner)
    assert world.removed == 1 and not world.runs


def test_fault_s11_a_node_of_a_restored_registry_obeys_again(world):
    """Its versions and boots begin where the backup was made; what runs goes on."""
    runner = fulfil(runner_for(FIRST, world), replace(FIRST, version=9, boot=7), world)
    run, restored = runner.record.run, replace(FIRST, version=4, boot=3)
    runner.apply(restored)
    assert runner.spec.version == 9  # a late event
    runner.apply(restored, may_go_back=True)
    goes_on(runner)
    assert (runner.report().boot, runner.record.run, runner.record.state) == (3, run, BOOTED)
    fulfil(runner, replace(restored, version=5, boot=4, hard=True), world)
    assert (runner.report().boot, runner.record.run) == (4, run + 1)


def test_fault_s11_so_does_one_whose_vmrunner_was_restarted(world):
    run = fulfil(runner_for(FIRST, world), replace(FIRST, version=9, boot=7), world).record.run
    restored = replace(FIRST, version=4, boot=3)
    runner = runner_for(restored, world)
    runner.apply(restored, may_go_back=True)
    goes_on(runner)
    assert (runner.report().boot, runner.record.run) == (3, run)
