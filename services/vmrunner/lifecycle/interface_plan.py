"""Which interfaces of a running machine come, go and stay. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from services.vmrunner.qemu.plugged_device import PluggedDevice
from walt.contracts.nodes import Interface


@dataclass(frozen=True)
class InterfacePlan:
    """leave: to be unplugged; stay: what is wanted of those, in the slots that they have; come: to be plugged in.
    is_settled: whether nothing is left to do after that until the next boot. (An interface keeps its slot and so its
    name until then, also where the settings give it another; one that is to have a slot which is taken by such a one
    waits for that boot too.)"""

    leave: tuple[PluggedDevice, ...]
    stay: tuple[Interface, ...]
    come: tuple[Interface, ...]
    is_settled: bool


def plan(plugged: Collection[PluggedDevice], wanted: Sequence[Interface]) -> InterfacePlan:
    """Of a machine with a device that has no name of ours the ports are not known: it is left as it is."""
    if any(one.network_id is None for one in plugged):
        return InterfacePlan((), (), (), is_settled=True)
    by_network = {one.network.id: one for one in wanted}
    leave = tuple(one for one in plugged if _goes(one, by_network))
    kept = {one.network_id: one.slot for one in plugged if one.network_id in by_network and not one.is_leaving}
    stay = tuple(replace(one, slot=kept[one.network.id]) for one in wanted if one.network.id in kept)
    taken, known = {one.slot for one in plugged}, {one.network_id for one in plugged}
    come = tuple(one for one in wanted if one.slot not in taken and one.network.id not in known)
    return InterfacePlan(leave, stay, come, is_settled=not leave)


def _goes(device: PluggedDevice, by_network: Collection[int | None]) -> bool:
    return device.is_leaving or device.network_id not in by_network
