"""How the processors of a host are shared among the owners of its VMs."""

from __future__ import annotations

import pytest

from services.vmrunner.lifecycle.cpu_shares import CpuShares
from services.vmrunner.qemu.command_line import BASE_NICE, MAX_NICE, nice_steps
from walt.contracts.errors import Failed


class Vm:
    def __init__(self):
        self.told = []

    def set_weight(self, weight):
        self.told.append(weight)


@pytest.fixture
def vms():
    return {node_id: Vm() for node_id in range(1, 5)}


@pytest.fixture
def shares(vms):
    """1 is of alice; 2, 3 and 4 are of bob."""
    one = CpuShares()
    for node_id, vm in vms.items():
        one.occupy(node_id, "alice-1" if node_id == 1 else "bob-1", vm.set_weight, is_booting=False)
    return one


def weights(vms):
    return {node_id: vm.told[-1] for node_id, vm in vms.items()}


def test_who_runs_many_has_no_more_than_who_runs_one(shares, vms):
    assert weights(vms) == {1: 1, 2: 1 / 3, 3: 1 / 3, 4: 1 / 3}
    shares.release(3)
    shares.release(3)
    assert weights(vms) | {3: None} == {1: 1, 2: 1 / 2, 3: None, 4: 1 / 2}


def test_a_vm_is_told_of_a_change_only(shares, vms):
    shares.occupy(4, "bob-1", vms[4].set_weight, is_booting=False)
    assert (vms[1].told, vms[2].told) == ([1], [1, 1 / 2, 1 / 3])


def test_a_node_that_changes_hands_counts_for_its_new_owner(shares, vms):
    shares.occupy(4, "alice-1", vms[4].set_weight, is_booting=False)
    assert weights(vms) == {1: 1 / 2, 2: 1 / 2, 3: 1 / 2, 4: 1 / 2}


def test_those_that_boot_come_before_those_of_the_same_owner_that_have_booted(shares, vms):
    shares.occupy(4, "bob-1", vms[4].set_weight, is_booting=True)
    assert weights(vms) == {1: 1, 2: 1 / 10, 3: 1 / 10, 4: 8 / 10}
    shares.occupy(4, "bob-1", vms[4].set_weight, is_booting=False)
    assert weights(vms) == {1: 1, 2: 1 / 3, 3: 1 / 3, 4: 1 / 3}


def test_a_new_vm_of_the_same_node_is_told_too(shares):
    again = Vm()
    shares.occupy(4, "bob-1", again.set_weight, is_booting=False)
    assert again.told == [1 / 3]


def test_one_that_cannot_be_told_keeps_no_other_from_its_share(shares, vms):
    def is_away(_):
        raise Failed("the Docker Engine does not answer")

    shares.occupy(2, "bob-1", is_away, is_booting=False)
    shares.release(3)
    assert weights(vms)[4] == 1 / 2


@pytest.mark.parametrize(("count", "steps"), [(1, 0), (2, 3), (3, 5), (10, 10), (20, 13), (1000, MAX_NICE - BASE_NICE)])
def test_nice_gives_the_share_as_far_as_it_goes(count, steps):
    assert nice_steps(1 / count) == steps
