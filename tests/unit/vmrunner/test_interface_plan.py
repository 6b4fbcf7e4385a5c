"""Which interfaces of a running machine come, go and stay."""

from __future__ import annotations

from dataclasses import replace

from services.vmrunner.lifecycle.interface_plan import plan
from services.vmrunner.qemu.plugged_device import PluggedDevice
from tests.support.specs import HOME_NET, WALT_NET

LAB = replace(HOME_NET, slot=4, network=replace(HOME_NET.network, id=9, name="lab"))
BASE = [PluggedDevice(2, 0), PluggedDevice(3, 7)]


def test_nothing_to_do():
    planned = plan(BASE, (WALT_NET, HOME_NET))
    assert (planned.leave, planned.stay, planned.come, planned.is_settled) == ((), (WALT_NET, HOME_NET), (), True)


def test_a_new_one_comes_and_one_that_is_not_wanted_leaves():
    planned = plan(BASE, (WALT_NET, LAB))
    assert (planned.leave, planned.stay, planned.come) == ((BASE[1],), (WALT_NET,), (LAB,))
    assert not planned.is_settled


def test_one_that_moves_keeps_its_slot_until_the_next_boot_and_who_wants_that_waits():
    moved, new = replace(HOME_NET, slot=4), replace(LAB, slot=3)
    planned = plan(BASE, (WALT_NET, new, moved))
    assert (planned.leave, planned.stay, planned.come) == ((), (WALT_NET, HOME_NET), ())
    assert planned.is_settled


def test_one_that_leaves_is_asked_again_and_what_is_to_have_its_slot_or_network_waits():
    leaving = replace(BASE[1], is_leaving=True)
    for wanted in ((WALT_NET,), (WALT_NET, HOME_NET), (WALT_NET, replace(LAB, slot=3))):
        planned = plan([BASE[0], leaving], wanted)
        assert (planned.leave, planned.stay, planned.come) == ((leaving,), (WALT_NET,), ())
        assert not planned.is_settled


def test_a_machine_whose_devices_have_no_names_of_ours_keeps_its_ports():
    """A version before has started it. The ports of those that stay are not known here."""
    old = [PluggedDevice(2, None), PluggedDevice(3, None)]
    planned = plan(old, (WALT_NET, HOME_NET, LAB))
    assert (planned.leave, planned.stay, planned.come, planned.is_settled) == ((), (), (), True)
