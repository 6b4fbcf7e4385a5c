"""Which VM boots next, and which has lost its slot."""

from __future__ import annotations

import pytest

from services.vmrunner.lifecycle.boot_slots import HOLD_LIMIT_S, LOOK_S, BootSlots


class Host:
    """clock: advanced by the tests; idle_s: of its CPUs; woken: nodes that were told to look again."""

    def __init__(self, count):
        self.now, self.idle_s = 100.0, 0.0
        self.slots = BootSlots(count, lambda: self.now, lambda: self.idle_s)
        self.woken = []

    def request(self, node_id, arrival=0.0):
        return self.slots.request(node_id, arrival, lambda: self.woken.append(node_id))


@pytest.fixture
def host():
    return Host(2)


def test_as_many_boot_at_once_as_there_are_slots(host):
    assert [host.request(node_id) for node_id in (1, 2, 3, 4)] == [True, True, False, False]
    assert host.slots.waiting() == 2
    assert host.request(1), "one that has a slot keeps it"


def test_the_earliest_arrival_is_next_and_is_woken(host):
    for node_id, arrival in ((1, 1.0), (2, 2.0), (5, 5.0), (3, 3.0), (4, 3.0)):
        host.request(node_id, arrival)
    host.woken.clear()
    host.slots.release(2)
    assert host.woken == [3]
    assert host.request(3, 3.0) and not host.request(5, 5.0)
    host.slots.release(1)
    host.slots.release(3)
    assert host.woken == [3, 4, 5]


def test_one_that_does_not_want_it_any_more_is_not_waited_for(host):
    for node_id in (1, 2, 3, 4):
        host.request(node_id, node_id)
    host.slots.release(3)
    host.slots.release(3)
    host.slots.release(99)
    host.slots.release(1)
    assert host.request(4) and host.slots.waiting() == 0


def test_a_vm_that_takes_no_cpu_time_gives_its_slot_to_the_next(host):
    cpu = {1: 0.0, 2: 0.0}
    for node_id in cpu:
        host.request(node_id)
        host.slots.occupy(node_id, lambda node_id=node_id: cpu[node_id])
    assert not host.request(3)
    host.now += LOOK_S
    host.idle_s += LOOK_S * 0.3
    cpu.update({1: LOOK_S * 0.9, 2: LOOK_S * 0.1})
    assert host.request(3)
    host.now += LOOK_S
    host.idle_s += LOOK_S
    cpu[1] += LOOK_S * 0.9
    assert not host.request(4), "1 boots still, and 3 has no qemu yet"


def test_a_vm_that_gets_no_cpu_time_because_all_is_used_keeps_its_slot(host):
    """Otherwise more and more would boot at once, and each get less."""
    for node_id in (1, 2):
        host.slots.occupy(node_id, lambda: 0.0)
    host.now += LOOK_S
    host.idle_s += LOOK_S * 0.2
    assert not host.request(3)


def test_it_is_not_measured_before_some_time_has_passed(host):
    for node_id in (1, 2):
        host.slots.occupy(node_id, lambda: 0.0)
    host.now += LOOK_S - 0.1
    assert not host.request(3)


def test_no_slot_is_held_for_ever(host):
    for node_id in (1, 2):
        host.request(node_id)
    assert not host.request(3)
    host.now += HOLD_LIMIT_S - 1
    assert not host.request(3)
    host.now += 1
    assert host.request(3)


def test_what_boots_already_when_the_service_starts_counts_beyond_the_number(host):
    for node_id in (1, 2, 3):
        host.slots.occupy(node_id, lambda: None)
    assert not host.request(4)
    host.slots.release(1)
    assert not host.request(4)
    host.slots.release(2)
    assert host.request(4)


def test_a_vm_keeps_the_time_of_its_slot_when_its_qemu_starts(host):
    host.request(1)
    host.now += HOLD_LIMIT_S - 1
    host.slots.occupy(1, lambda: None)
    host.request(2)
    host.now += 1
    assert host.request(3), "the slot of 1 has ended"
