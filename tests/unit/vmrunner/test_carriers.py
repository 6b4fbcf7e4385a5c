"""What the monitor of a qemu is told of the carriers of its interfaces."""

from __future__ import annotations

from dataclasses import replace

import pytest

from services.vmrunner.qemu.qmp import QmpClosed
from services.vmrunner.qemu.vm import Vm, begin
from tests.support.specs import HOME_NET, WALT_NET
from walt.contracts.errors import Failed
from walt.contracts.links import LinkModel

CUT = replace(HOME_NET, link=LinkModel(no_carrier=True))


class Monitor:
    """Takes commands; refused: of which network."""

    def __init__(self, refused="", is_gone=False):
        self.told, self._refused, self._is_gone = [], refused, is_gone

    def send(self, command, **arguments):
        if self._is_gone:
            raise QmpClosed("qemu went away")
        self.told.append((command, *arguments.values()))

    def execute(self, command, **arguments):
        self.send(command, **arguments)
        if arguments.get("name") == self._refused:
            raise Failed(f"qemu refuses {command}")


class BareVm(Vm):
    usage = set_cpu_weight = _signal = _until_gone = lambda *_: None


def test_what_has_no_carrier_has_none_before_the_processors_run():
    monitor = Monitor()
    begin(monitor, (WALT_NET, CUT))
    assert monitor.told == [("set_link", "network7", False), ("cont",)]
    plain = Monitor()
    begin(plain, (WALT_NET, HOME_NET))
    assert plain.told == [("cont",)]


def test_a_machine_whose_carrier_cannot_be_taken_does_not_run():
    monitor = Monitor(refused="network7")
    with pytest.raises(Failed):
        begin(monitor, (WALT_NET, CUT))
    assert ("cont",) not in monitor.told


def test_only_what_differs_is_told_after_the_first_time():
    monitor = Monitor()
    vm = BareVm(1, monitor)
    vm.set_carriers((WALT_NET, HOME_NET))
    assert monitor.told == [("set_link", "network0", True), ("set_link", "network7", True)]
    vm.set_carriers((WALT_NET, HOME_NET))
    assert len(monitor.told) == 2
    vm.set_carriers((WALT_NET, replace(CUT, slot=9)))  # the slot counts from the next boot on, the network does not
    vm.set_carriers((WALT_NET, HOME_NET))
    assert monitor.told[2:] == [("set_link", "network7", False), ("set_link", "network7", True)]


@pytest.mark.parametrize("monitor", [None, Monitor(is_gone=True)])
def test_one_that_is_gone_or_anothers_is_left_alone(monitor):
    BareVm(1, monitor).set_carriers((WALT_NET, CUT))
