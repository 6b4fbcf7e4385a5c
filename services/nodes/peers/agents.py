"""What nodes reads from the host agents and from bootserver; None while one does not answer."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

from services.kit import tasks
from services.kit.bus.bus import Bus
from walt.contracts import bootserver, netemu, serialization, vmrunner
from walt.contracts.bootserver import SetAddresses
from walt.contracts.errors import WaltError
from walt.contracts.netemu import PortReport
from walt.contracts.vmrunner import VmReport

ANSWER_S = 5.0

T = TypeVar("T")

log = logging.getLogger(__name__)


class Agents:
    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    def list_vms(self, host: str) -> list[VmReport] | None:
        return self._list(VmReport, vmrunner.service_on(host), "list_vms")

    def list_machines(self) -> list[VmReport] | None:
        """Of the physical nodes."""
        return self._list(VmReport, bootserver.SERVICE, "list_machines")

    def list_ports(self, hosts: Iterable[str]) -> dict[str, list[PortReport] | None]:
        """By host; all hosts are asked at once."""
        unique = list(dict.fromkeys(hosts))
        return dict(zip(unique, tasks.map_concurrently(self._ports_on, unique), strict=True))

    def get_addresses(self, node_ids: Sequence[int]) -> list[SetAddresses]:
        """None of any, while bootserver does not answer."""
        arguments = {"node_ids": list(node_ids)}
        return self._list(SetAddresses, bootserver.SERVICE, "get_addresses", **arguments) or []

    def _ports_on(self, host: str) -> list[PortReport] | None:
        return self._list(PortReport, netemu.service_on(host), "list_ports")

    def _list(self, cls: type[T], service: str, method: str, **arguments: Any) -> list[T] | None:
        try:
            return serialization.load_all(cls, self._bus.call(service, method, timeout_s=ANSWER_S, **arguments))
        except WaltError as error:
            log.info("no reports of %s: %s", service, error)
            return None
