"""Power and state: stop, start, reboot, the reports of hosts, and what is repaired when events are lost."""

from __future__ import annotations

import pytest

from tests.service.nodes.world import HOST
from tests.support.wait import wait_until
from walt.contracts import nodes
from walt.contracts.vmrunner import BOOTED, BOOTING, DELAYING, STOPPED, VM_REMOVED, VmRemoved, VmReport


def test_reports_become_states_and_late_or_doubled_ones_do_not(platform):
    platform.call("alice", "create_nodes", ["vnode1"])
    booting, booted = platform.report("vnode1", BOOTING, 1), platform.report("vnode1", BOOTED, 2)
    platform.apply(booted)
    for late in (booting, booted, booting):
        platform.send(late)
    other = platform.report("vnode1", "failed", 3, host="elsewhere")
    platform.send(other)
    marker = platform.report("vnode1", BOOTED, 4, reason="marker")
    platform.send(marker)
    seen = set()
    wait_until(lambda: seen.add(platform.view("vnode1")["state"]) or platform.view("vnode1")["reason"] == "marker")
    assert seen == {BOOTED}


def test_reboot_then_wait_is_race_free(platform):
    platform.call("alice", "create_nodes", ["vnode1"])
    old = platform.report("vnode1", BOOTED, 7)
    platform.apply(old)
    answer = platform.call("alice", "reboot_nodes", "vnode1")["nodes"][0]
    assert (answer["state"], answer["reason"]) == (DELAYING, "reboot requested by alice")
    platform.send(platform.report("vnode1", BOOTED, 8, boot=old.boot))
    platform.pass_marker("vnode1", 10)
    assert platform.state("vnode1") == DELAYING
    platform.apply(platform.report("vnode1", BOOTED, 11))


def test_removed_node_frees_its_name_at_once_and_its_row_last(platform):
    platform.call("alice", "create_nodes", ["vnode1"])
    first = platform.spec("vnode1")
    platform.vmrunner.vms.append(platform.report("vnode1"))
    platform.call("alice", "remove_nodes", "vnode1")
    assert "no node 'vnode1'" in platform.refusal("alice", "get_nodes", "vnode1")
    assert platform.spec("vnode1").power == nodes.ABSENT
    platform.call("bob", "create_nodes", ["vnode1"])
    both = [one for one in platform.specs() if one.name == "vnode1"]
    assert len({one.id for one in both}) == len({one.ip for one in both}) == 2
    for _ in range(2):  # doubled
        platform.vmrunner.announce(VM_REMOVED, VmRemoved(first.id, "vnode1", HOST))
    wait_until(lambda: "vnode1" in platform.vmrunner.removed)
    wait_until(lambda: [one.id for one in platform.specs()] == [first.id + 1])
    assert platform.view("vnode1", "bob")["owner"] == "bob"
    platform.call("bob", "create_nodes", ["later"])
    assert platform.spec("later").id not in {one.id for one in both}


def test_removal_reported_of_a_present_node_is_ignored(platform):
    platform.call("alice", "create_nodes", ["vnode1", "marker"])
    platform.call("alice", "remove_nodes", "marker")
    for name in ("vnode1", "marker"):  # heard in this order
        platform.vmrunner.announce(VM_REMOVED, VmRemoved(platform.spec(name).id, name, HOST))
    wait_until(lambda: "marker" in platform.vmrunner.removed)
    assert platform.view("vnode1")["name"] == "vnode1" and platform.vmrunner.removed == ["marker"]


def test_restart_keeps_everything_and_announces_it_again(platform):
    platform.call("alice", "create_nodes", ["vnode1"], settings=["networks=walt-net,x[bw.up=1Mbps]", "ram=2G"])
    platform.vmrunner.vms.append(platform.report("vnode1", BOOTED))
    before, spec = platform.view("vnode1"), platform.spec("vnode1")
    wait_until(lambda: spec in platform.vmrunner.specs)
    platform.vmrunner.specs.clear()
    platform.restart()
    wait_until(lambda: platform.vmrunner.specs == [spec])
    wait_until(lambda: platform.view("vnode1")["state"] == BOOTED)
    of_the_report = {"state": 0, "since": 0, "reason": 0}
    assert {**platform.view("vnode1"), **of_the_report} == {**before, **of_the_report}


def test_spec_whose_event_was_lost_is_announced_again(platform, monkeypatch):
    """As after a kill between the commit and the event."""
    monkeypatch.setattr(platform.app.bus, "announce", lambda *_: None)
    platform.call("alice", "create_nodes", ["vnode1"])
    monkeypatch.undo()
    platform.app.reconcile()
    wait_until(lambda: platform.vmrunner.specs == [platform.spec("vnode1")])


@pytest.fixture
def announced(platform, monkeypatch):
    """What the reconciliation announces: (event, value); it is not sent."""
    values = []

    def reconcile():
        monkeypatch.setattr(platform.app.bus, "announce", lambda event, value: values.append((event, value)))
        platform.app.reconcile()
        return values

    return reconcile


def test_reconciliation_announces_what_the_host_has_not_applied(platform, announced):
    platform.call("alice", "create_nodes", ["behind", "applied", "leaving", "gone"])
    platform.vmrunner.vms[:] = [platform.report("applied"), platform.report("leaving")]
    platform.call("alice", "remove_nodes", "leaving,gone")
    assert [(event, value.name) for event, value in announced()] == [
        (nodes.NODE_WANTED, "behind"),
        (nodes.NODE_WANTED, "leaving"),
        (nodes.NODE_REMOVED, "gone"),
    ]
    assert platform.state("applied") == BOOTED
    assert {spec.name for spec in platform.specs()} == {"behind", "applied", "leaving"}


def test_specs_and_events_carry_the_identity_of_the_registry(platform, announced):
    platform.call("alice", "create_nodes", ["vnode1", "gone"])
    platform.call("alice", "remove_nodes", "gone")
    with platform.app.transaction() as registry:
        identity = registry.identity
    assert {spec.registry for spec in platform.specs()} == {value.registry for _, value in announced()} == {identity}
    assert {spec.registry for spec in platform.vmrunner.specs} <= {identity}


def test_state_is_kept_while_the_host_is_away(platform):
    platform.call("alice", "create_nodes", ["vnode1"])
    platform.apply(platform.report("vnode1", BOOTED))
    platform.stop(platform.vmrunner)
    platform.restart()
    assert platform.view("vnode1")["state"] == BOOTED


def stopped(platform, name, sequence=50):
    platform.apply(platform.report(name, STOPPED, sequence))


def test_fault_02_stop_and_start(platform):
    platform.call("alice", "create_nodes", ["vnode1"])
    former = platform.report("vnode1", BOOTED, 1)
    platform.apply(former)
    (node,) = platform.call("alice", "stop_nodes", "vnode1")["nodes"]
    spec = platform.spec("vnode1")
    assert (node["state"], node["reason"]) == (BOOTED, "stop requested by alice")  # it runs until it is off
    assert (spec.power, spec.hard, spec.boot) == (nodes.POWER_OFF, False, former.boot + 1)
    wait_until(lambda: spec in platform.vmrunner.specs)
    stopped(platform, "vnode1")
    (node,) = platform.call("alice", "start_nodes", "vnode1")["nodes"]
    assert (node["state"], node["reason"]) == (DELAYING, "start requested by alice")
    for late in (former, VmReport(**{**vars(former), "boot": spec.boot, "sequence": 51, "state": STOPPED})):
        platform.send(late)
    platform.send(platform.report("vnode1", BOOTING, 60))
    seen = set()
    wait_until(lambda: seen.add(platform.view("vnode1")["state"]) or BOOTING in seen)
    assert seen <= {DELAYING, BOOTING} and platform.spec("vnode1").power == nodes.POWER_ON


def test_stop_of_a_stopped_node_and_start_of_a_running_one_change_nothing(platform):
    platform.call("alice", "create_nodes", ["vnode1"])
    before = platform.spec("vnode1")
    answer = platform.call("alice", "start_nodes", "vnode1")
    note = "it is on already (delaying); nothing is changed (to boot it again: walt node reboot vnode1)"
    assert answer["notes"] == [f"vnode1: {note}"]
    assert platform.spec("vnode1") == before
    platform.call("alice", "stop_nodes", "vnode1")
    before = platform.spec("vnode1")
    answer = platform.call("alice", "stop_nodes", "vnode1")
    assert answer["notes"] == ["vnode1: its stop is already requested (state: delaying); nothing is changed"]
    assert platform.spec("vnode1") == before
    platform.call("alice", "stop_nodes", "vnode1", hard=True)  # the guest takes too long
    assert platform.spec("vnode1").hard and platform.spec("vnode1").version > before.version
    stopped(platform, "vnode1")
    assert platform.call("alice", "stop_nodes", "vnode1", hard=True)["notes"]


def test_guest_that_powered_itself_off_is_started(platform):
    platform.call("alice", "create_nodes", ["vnode1"])
    boot = platform.spec("vnode1").boot
    stopped(platform, "vnode1")
    (node,) = platform.call("alice", "start_nodes", "vnode1")["nodes"]
    assert (node["state"], platform.spec("vnode1").boot) == (DELAYING, boot + 1)


def test_hard_is_of_one_boot(platform):
    platform.call("alice", "create_nodes", ["vnode1"])
    platform.call("alice", "reboot_nodes", "vnode1", hard=True)
    assert platform.spec("vnode1").hard
    platform.call("alice", "reboot_nodes", "vnode1")
    assert not platform.spec("vnode1").hard


@pytest.mark.parametrize(("command", "args"), [("reboot_nodes", []), ("boot_nodes", ["debian"]), ("release_nodes", [])])
def test_command_that_boots_starts_a_stopped_node(platform, command, args):
    platform.call("alice", "create_nodes", ["vnode1"])
    platform.call("alice", "stop_nodes", "vnode1")
    stopped(platform, "vnode1")
    platform.call("alice", command, "vnode1", *args)
    assert (platform.spec("vnode1").power, platform.view("vnode1")["state"]) == (nodes.POWER_ON, DELAYING)


def test_lost_spec_to_stop_is_announced_again(platform, announced):
    platform.call("alice", "create_nodes", ["vnode1"])
    platform.vmrunner.vms.append(platform.report("vnode1"))
    platform.call("alice", "stop_nodes", "vnode1")
    assert [(event, value.power) for event, value in announced()] == [(nodes.NODE_WANTED, nodes.POWER_OFF)]
