"""Interfaces of a running machine follow its spec, whatever fails on the way."""

from __future__ import annotations

from types import SimpleNamespace

from services.vmrunner.lifecycle import interfaces
from services.vmrunner.lifecycle.interfaces import InterfaceFollower
from services.vmrunner.qemu.plugged_device import PluggedDevice
from tests.support.specs import HOME_NET, WALT_NET, spec
from walt.contracts.errors import Unreachable


class Guest:
    """Lets a device go at once."""

    def __init__(self, *plugged):
        self.plugged = list(plugged)
        self.hotplug = self

    def devices(self):
        return list(self.plugged)

    def unplug(self, device):
        self.plugged.remove(device)


def test_a_port_goes_although_netemu_was_away_when_its_device_went(monkeypatch):
    def attach(_, wanted):
        told.append([one.slot for one in wanted])
        if len(told) == 1:
            raise Unreachable("netemu does not answer")
        return []

    told, clock = [], SimpleNamespace(monotonic=lambda: 100.0 * len(told))
    monkeypatch.setattr(interfaces, "time", clock)
    follower, guest = InterfaceFollower(attach), Guest(PluggedDevice(2, 0), PluggedDevice(3, 7))
    assert (WALT_NET.slot, HOME_NET.slot) == (2, 3)
    for _ in range(2):
        follower.follow(spec(interfaces=(WALT_NET,)), guest, lambda: None)
        clock.monotonic = lambda: 1000.0
    assert guest.plugged == [PluggedDevice(2, 0)] and told == [[2], [2]]
    follower.follow(spec(interfaces=(WALT_NET,)), guest, lambda: None)
    assert len(told) == 2
