"""`netemu@HOST` as its peers know it: a tap for each interface, and reports of ports."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.support.fakes.fake_service import FakeService, serves
from walt.contracts import netemu, serialization
from walt.contracts.netemu import AttachedPort, CaptureTarget, OpenCapture, PortReport
from walt.contracts.nodes import Interface


class FakeNetemu(FakeService):
    """taps: {(node id, slot): tap}, where the test has made real ones; ports: what list_ports tells, beside the ports
    attached here; live: of which nodes ports were attached while they ran; capture: what open_capture answers, to
    (target, expression, count)."""

    def __init__(self, host: str = "lab", taps: dict[tuple[int, int], str] | None = None) -> None:
        super().__init__()
        self.name = netemu.service_on(host)
        self.taps = taps or {}
        self.ports: list[PortReport] = []
        self.capture: Callable[[CaptureTarget, str, int], OpenCapture] | None = None
        self.live: list[int] = []
        self._attached: dict[int, list[PortReport]] = {}

    @serves
    def attach_ports(
        self,
        node_id: int,
        name: str,
        owner: str,
        interfaces: list[Any],
        ip: str = "",
        version: int = 0,
        live: bool = False,
    ) -> Any:
        self.live += [node_id] * live
        found = serialization.load_all(Interface, interfaces)
        self._attached[node_id] = [self._port(node_id, name, owner, one) for one in found]
        return serialization.dump_all(AttachedPort(port.slot, port.tap) for port in self._attached[node_id])

    @serves
    def list_ports(self) -> Any:
        attached = [port for ports in self._attached.values() for port in ports]
        return serialization.dump_all([*attached, *self.ports])

    @serves
    def open_capture(self, target: Any, expression: str = "", count: int = 0) -> Any:
        assert self.capture is not None, "no capture is expected"
        return serialization.dump(self.capture(serialization.load(CaptureTarget, target), expression, count))

    @serves
    def diagnose(self) -> list[Any]:
        return []

    def _port(self, node_id: int, name: str, owner: str, interface: Interface) -> PortReport:
        tap = self.taps.get((node_id, interface.slot), f"vn{node_id}e{interface.slot}")
        network, link = interface.network, interface.link
        values = (interface.slot, tap, netemu.DIRECT, link, link, 0)
        return PortReport(node_id, name, owner, network.name, network.owner, *values)
