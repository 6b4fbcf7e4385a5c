"""How a port is wired through the cable, and back: the kernel's part of it."""

from __future__ import annotations

from services.netemu.cable.control import CableClient
from services.netemu.kernel.netlink import Netlink
from services.netemu.ports.port import Port, helper_alias, helpers, unfinished_alias
from walt.contracts.netemu import DIRECT

CABLE_QUEUE_FRAMES = 10_000  # frames of fast senders wait here, and are not lost, while the cable serves other ports


class CableWiring:
    def __init__(self, netlink: Netlink, cable: CableClient) -> None:
        self._netlink = netlink
        self._cable = cable

    def prepare(self, port: Port) -> None:
        self._cable.start()
        self._cable.drop_port(port.tap)  # it may hold taps of a port that was not finished
        ends = helpers(port.tap)
        for name in (ends["node_end"], ends["bridge_end"]):
            self._netlink.make_tap(name, unfinished_alias(port.tap), mtu=port.mtu, queue_frames=CABLE_QUEUE_FRAMES)

    def enter(self, port: Port, previous: str) -> None:
        """The bridge end joins the bridge before the tap leaves it, so that a running node loses no frame.

        While both are in the bridge they are isolated: otherwise they would send the node its own frames back.
        """
        node_end, bridge_end = helpers(port.tap)["node_end"], helpers(port.tap)["bridge_end"]
        if previous == DIRECT:
            self._netlink.set_isolated(port.tap, True)
        else:
            self._netlink.set_bridge(port.tap, "")  # never in its bridge without its shaping
            self._netlink.unshape(port.tap)
        self._netlink.redirect(node_end, port.tap)
        self._netlink.set_bridge(bridge_end, port.bridge)
        self._netlink.set_isolated(bridge_end, True)
        self._netlink.redirect(port.tap, node_end)
        self._netlink.set_bridge(port.tap, "")
        self._netlink.set_isolated(bridge_end, False)
        for name in (node_end, bridge_end):
            self._netlink.set_alias(name, helper_alias(port.tap))

    def leave(self, port: Port) -> None:
        self._cable.drop_port(port.tap)
        self._netlink.stop_redirect(port.tap)
        for name in helpers(port.tap).values():
            self._netlink.remove(name)
