"""A node that moves to another host: what the registry makes of each command and report."""

from __future__ import annotations

from dataclasses import replace

import pytest

from services.nodes.domain import model, moves
from services.nodes.domain.model import Node, RequestContext, Status
from services.nodes.domain.placement import HostPool, HostState
from walt.contracts import nodes
from walt.contracts.errors import Conflict, NotFound
from walt.contracts.nodes import Revision
from walt.contracts.settings import NodeConfig
from walt.contracts.vmrunner import BOOTED, DELAYING, STOPPED, Capacity, VmReport

ALICE = RequestContext("alice", 9.0)
RUNNING = Node("one", "lab1", "alice", "image", "10.0.0.2", NodeConfig(), Status(BOOTED, 1.0, "", 1, 5), id=7)
OFF = replace(RUNNING, power=nodes.POWER_OFF, status=Status(STOPPED, 1.0, "", 1, 5))
GIB = 2**30


def report(node, state, host, arrived=0):
    return VmReport(7, "one", host, node.boot, 1, node.status.sequence + 1, state, 5.0, "", arrived=arrived)


def spec(node):
    return model.spec(node, "r", Revision())


def pool(*hosts):
    return HostPool("lab1", "10.0.0.0/22", tuple(hosts))


def test_a_running_node_goes_at_its_next_boot_and_is_off_at_first():
    waiting = moves.to_host(RUNNING, "lab2", 9.0)
    assert (waiting.host, spec(waiting).power, waiting.boot) == ("lab1", nodes.POWER_ON, RUNNING.boot)
    leaving = model.rebooted(waiting, ALICE, hard=False)
    assert (spec(leaving).host, spec(leaving).power, leaving.power) == ("lab1", nodes.POWER_OFF, nodes.POWER_ON)
    late = replace(report(leaving, STOPPED, "lab1"), boot=RUNNING.boot)
    assert moves.after_report(leaving, late, 9.0) is leaving, "a stop of before is not its end"
    gone = moves.after_report(leaving, report(leaving, STOPPED, "lab1"), 9.0)
    assert (gone.host, gone.moves_from, gone.status.state) == ("lab2", "lab1", DELAYING)
    assert gone.boot > leaving.boot and gone.version > leaving.version


def test_it_is_at_home_once_the_new_host_has_the_disks_of_this_very_move():
    gone = moves.to_host(OFF, "lab2", 9.0)
    assert (gone.host, gone.moves_from, spec(gone).power) == ("lab2", "lab1", nodes.POWER_OFF)
    for other in (report(gone, STOPPED, "lab2"), report(gone, STOPPED, "lab1", gone.move)):
        assert moves.after_report(gone, other, 9.0).moves_from == "lab1"
    assert moves.after_report(gone, report(gone, STOPPED, "lab2", gone.move - 1), 9.0).moves_from == "lab1"
    home = moves.after_report(gone, report(gone, STOPPED, "lab2", gone.move), 9.0)
    assert (home.host, home.moves_from) == ("lab2", "") and home.version > gone.version


def test_it_can_go_back_or_be_removed_while_its_disks_are_on_their_way():
    gone = moves.to_host(OFF, "lab2", 9.0)
    back = moves.to_host(gone, "lab1", 9.0)
    assert (back.host, back.moves_from, back.moves_to) == ("lab1", "", "")
    assert moves.after_report(back, report(gone, STOPPED, "lab2", gone.move), 9.0) is back
    removed = model.removed(gone)
    assert (removed.host, removed.moves_from) == ("lab1", ""), "where its disks are"
    with pytest.raises(Conflict, match="one is moving from host lab1 to lab2"):
        moves.to_host(gone, "lab3", 9.0)


def test_one_whose_guest_powered_it_off_is_off_and_stays_so():
    halted = replace(RUNNING, status=OFF.status)
    for gone in (moves.to_host(halted, "lab2", 9.0), moves.evacuated(halted, "lab2", ALICE)):
        assert (gone.host, gone.moves_from, gone.power, gone.status.state) == ("lab2", "lab1", "off", STOPPED)
        assert model.started(gone, ALICE).power == nodes.POWER_ON


def test_a_wish_is_taken_back():
    waiting = moves.to_host(RUNNING, "lab2", 9.0)
    assert model.rebooted(moves.to_host(waiting, "lab1", 9.0), ALICE, hard=False).is_leaving is False
    assert moves.to_host(waiting, "lab1", 9.0).boot == RUNNING.boot, "it runs on"


def test_one_that_was_to_leave_and_stays_boots_though_its_host_may_have_stopped_it_already():
    leaving = model.rebooted(moves.to_host(RUNNING, "lab2", 9.0), ALICE, hard=False)
    stays = moves.to_host(leaving, "lab1", 9.0)
    assert (spec(stays).power, stays.moves_to, stays.boot) == (nodes.POWER_ON, "", leaving.boot + 1)
    assert moves.after_report(stays, report(leaving, STOPPED, "lab1"), 9.0) is stays


def test_hosts_that_do_not_answer_neither_give_nor_take_nodes():
    for hosts in (
        (HostState("lab1"), HostState("lab2", is_reachable=False)),
        (HostState("lab1", is_reachable=False), HostState("lab2")),
    ):
        with pytest.raises(Conflict, match="does not answer"):
            moves.sent([OFF], "lab2", pool(*hosts), 9.0)
    with pytest.raises(NotFound, match="no host 'lab9'"):
        moves.sent([OFF], "lab9", pool(HostState("lab1")), 9.0)
    with pytest.raises(Conflict, match="one: a physical node is where it is"):
        moves.sent([replace(OFF, type=nodes.PHYSICAL)], "lab2", pool(HostState("lab1"), HostState("lab2")), 9.0)
    with pytest.raises(Conflict, match="must take none"):
        moves.sent([OFF], "lab2", pool(HostState("lab1"), HostState("lab2", is_drained=True)), 9.0)


def test_a_host_is_emptied_as_far_as_the_others_have_room():
    large = replace(RUNNING, name="large", config=NodeConfig(ram_bytes=3 * GIB))
    small = replace(OFF, name="small", config=NodeConfig(ram_bytes=GIB))
    coming = replace(OFF, name="coming", moves_from="lab3", move=4)
    capacity = Capacity(4, 4 * GIB, 1.0)
    present = [HostState("lab1"), HostState("lab2", capacity=capacity), HostState("lab3", is_drained=True)]
    plan = moves.evacuation([small, large, coming], "lab1", present)
    assert [(one.node, one.host) for one in plan.moves] == [("large", "lab2"), ("small", "lab2")]
    assert [(one.node, one.why) for one in plan.stuck] == [("coming", "its disks are still coming from host lab3")]
    full = moves.evacuation([small], "lab1", [HostState("lab2", capacity=capacity, promised_bytes=4 * GIB)])
    assert full.stuck[0].why == "no other host has room for its ram=1G"
    assert moves.evacuation([small], "lab1", present[::2]).stuck[0].why == "no other host answers and takes nodes"
    assert moves.evacuated(small, "lab2", ALICE).moves_from == "lab1"
    assert moves.evacuated(large, "lab2", ALICE).is_leaving
