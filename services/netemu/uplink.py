"""A physical interface in walt-net (WALT_INTERFACE), so that physical machines boot from the platform.

It is a port of the bridge like those of nodes, but no address is bound to it: netemu does not know which machines are
behind it. The input filter of walt-net holds for it too. No other interface is ever touched. The interface may appear
late or again, so it is looked for at each poll.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence

from services.kit.say_once import SayOnce
from services.netemu.kernel.netlink import Netlink
from services.netemu.ports.plan import KernelInterface
from walt.contracts.errors import Failed
from walt.contracts.names import WALT_NET

log = logging.getLogger(__name__)


def find_interface(interfaces: Sequence[KernelInterface], name_or_mac: str) -> KernelInterface:
    """The interface of this name or MAC address; Failed unless it can be a port of walt-net. Pure."""
    found = [one for one in interfaces if name_or_mac == one.name or name_or_mac.lower() == one.mac]
    if not found:
        raise Failed(f"no interface here has the name or MAC address {name_or_mac}")
    if len(found) > 1:
        names = ", ".join(one.name for one in found)
        raise Failed(f"{name_or_mac} is the MAC address of {names}; allowed: the name of one of them")
    (interface,) = found
    if interface.is_ours or interface.name in (WALT_NET, "lo"):
        raise Failed(f"{interface.name} is not an interface to the outside")
    if interface.master not in ("", WALT_NET):
        raise Failed(f"{interface.name} is part of {interface.master} already")
    if not any(one.name == WALT_NET and one.is_ours for one in interfaces):
        raise Failed(f"there is no {WALT_NET} of ours for {interface.name} to join")
    return interface


def is_joined(interface: KernelInterface, with_ipv4: Collection[str]) -> bool:
    """Whether nothing is left to do. with_ipv4: names of the interfaces that have an address. Pure."""
    return interface.master == WALT_NET and interface.is_up and interface.name not in with_ipv4


class PhysicalUplink:
    """name_or_mac: of the interface; '' for none."""

    def __init__(self, netlink: Netlink, name_or_mac: str) -> None:
        self._netlink = netlink
        self.name_or_mac = name_or_mac
        self._joining = SayOnce(log, "WALT_INTERFACE: %s", "the interface of WALT_INTERFACE is there again")

    @property
    def fault(self) -> str:
        """Why the interface is not in walt-net; '' when it is."""
        return self._joining.fault

    def poll(self) -> None:
        if self.name_or_mac:
            try:
                self._join()
                self._joining.succeeded()
            except Failed as error:
                self._joining.failed(error)

    def _join(self) -> None:
        interface = find_interface(self._netlink.interfaces(), self.name_or_mac)
        if not is_joined(interface, self._netlink.with_ipv4()):
            self._netlink.make_bridge_port(interface.name, WALT_NET)
            log.info("%s is in %s", interface.name, WALT_NET)
