"""An interface of the real world in walt-net (WALT_INTERFACE), so that physical machines boot from the platform.

It is a port of the bridge like those of nodes, but nobody is bound to it: which machines are behind it is not known here.
The firewall of walt-net is theirs too. An interface that is not named is never touched. The named one may come late,
or be made anew: it is looked for at each turn.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence

from services.contracts.errors import Failed
from services.contracts.names import WALT_NET
from services.netemu.kernel import Kernel
from services.netemu.plan import Link

log = logging.getLogger(__name__)


def find(links: Sequence[Link], wanted: str) -> Link:
    """The interface of this name or MAC, if it can be a port of walt-net. Pure."""
    found = [link for link in links if wanted == link.name or wanted.lower() == link.mac]
    if not found:
        raise Failed(f"no interface here has the name or MAC address {wanted}")
    if len(found) > 1:
        names = ", ".join(link.name for link in found)
        raise Failed(f"{wanted} is the MAC address of {names}; allowed: the name of one of them")
    (link,) = found
    if link.is_ours or link.name in (WALT_NET, "lo"):
        raise Failed(f"{link.name} is no interface to the outside")
    if link.master not in ("", WALT_NET):
        raise Failed(f"{link.name} is part of {link.master} already")
    if not any(one.name == WALT_NET and one.is_ours for one in links):
        raise Failed(f"there is no {WALT_NET} of ours for {link.name} to join")
    return link


def is_in(link: Link, addressed: Collection[str]) -> bool:
    """Nothing is left to be done. addressed: interfaces with an address. Pure."""
    return link.master == WALT_NET and link.is_up and link.name not in addressed


class Physical:
    """`wanted`: a name or MAC address, or '' for none. `fault`: why it is not in walt-net."""

    def __init__(self, kernel: Kernel, wanted: str) -> None:
        self._kernel = kernel
        self.wanted = wanted
        self.fault = ""

    def tend(self) -> None:
        if self.wanted:
            try:
                self._join()
                fault = ""
            except Failed as error:
                fault = str(error)
            if fault and fault != self.fault:
                log.warning("WALT_INTERFACE: %s", fault)
            self.fault = fault

    def _join(self) -> None:
        link = find(self._kernel.links(), self.wanted)
        if not is_in(link, self._kernel.addressed()):
            self._kernel.adopt(link.name, WALT_NET)
            log.info("%s is in %s", link.name, WALT_NET)
