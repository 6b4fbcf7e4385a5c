"""Interfaces of a running qemu: which it has, and those that come and go.

A guest may have taken the process over, and answer anything: what it says of its devices is checked for its form, and
decides only which of the node's own ports it has.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from typing import Any

from services.vmrunner.qemu.command_line import DISKS_SLOT, netdev, network_device
from services.vmrunner.qemu.plugged_device import PluggedDevice
from services.vmrunner.qemu.qmp import Qmp, QmpClosed
from walt.contracts.errors import Failed
from walt.contracts.nodes import FIRST_SLOT, Interface

_DEVICE = re.compile(r"network(\d{1,18})-slot\d+", re.ASCII)  # as network_device calls it
_TAP = "tap"  # what a descriptor is called on its way


class HotPlug:
    """Failed when qemu refuses or does not answer."""

    def __init__(self, monitor: Qmp) -> None:
        self._monitor = monitor

    def devices(self) -> list[PluggedDevice]:
        """Those in the slots of interfaces."""
        try:
            (root,) = [bus for bus in self._monitor.ask("query-pci", {}) if bus["bus"] == 0]
            return list(self._read(root["devices"]))
        except (KeyError, TypeError, ValueError):
            raise Failed("qemu tells nothing of its devices") from None

    def plug(self, interface: Interface, tap: int) -> None:
        """tap: a descriptor, of which qemu gets a copy."""
        name = netdev(interface.network.id)
        self._monitor.ask("getfd", {"fdname": _TAP}, [tap])
        try:
            self._monitor.ask("netdev_add", {"type": "tap", "id": name, "fd": _TAP, "vhost": False})
            if interface.link.no_carrier:
                self._monitor.ask("set_link", {"name": name, "up": False})
            self._monitor.ask("device_add", network_device(interface))
        except Failed:
            self._drop_netdev(name)  # also one that a vmrunner left which was killed before it added the device
            raise

    def unplug(self, device: PluggedDevice) -> None:
        """Its tap is closed at once. The guest lets the device go when it can; it may be asked again."""
        if device.network_id is None:
            return
        name = netdev(device.network_id)
        with contextlib.suppress(Failed):  # it is asked already
            self._monitor.ask("device_del", {"id": f"{name}-slot{device.slot}"})
        if not device.is_leaving:
            self._monitor.ask("netdev_del", {"id": name})

    def _read(self, devices: list[dict[str, Any]]) -> Iterator[PluggedDevice]:
        for one in devices:
            slot, match = int(one["slot"]), _DEVICE.fullmatch(one["qdev_id"])
            if not FIRST_SLOT <= slot < DISKS_SLOT:
                continue
            if match is None:
                yield PluggedDevice(slot, None)
                continue
            peer = self._monitor.ask("qom-get", {"path": f"/machine/peripheral/{match[0]}", "property": "netdev"})
            yield PluggedDevice(slot, int(match[1]), is_leaving=not peer)

    def _drop_netdev(self, name: str) -> None:
        with contextlib.suppress(Failed, QmpClosed):
            self._monitor.ask("netdev_del", {"id": name})
