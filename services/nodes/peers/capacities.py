"""What each host has, as its vmrunner last reported it."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterable

from services.kit.bus.bus import Bus
from services.nodes.peers.agents import ANSWER_S
from walt.contracts import serialization, vmrunner
from walt.contracts.errors import WaltError
from walt.contracts.vmrunner import Capacity

REFRESH_S = 60.0
RETRY_S = 10.0
FIRST_ANSWER_S = 2.0  # a command waits so long for a host that has never reported, and not at all for another

log = logging.getLogger(__name__)


class HostCapacities:
    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._known: dict[str, Capacity] = {}
        self._asked_at: dict[str, float] = {}  # by the monotonic clock

    def of(self, hosts: Iterable[str]) -> dict[str, Capacity]:
        """By host, without the hosts that have never reported: their vmrunner checks a node when it boots."""
        unique = set(hosts)
        for host in unique - set(self._known):
            self._refresh(host, RETRY_S, FIRST_ANSWER_S)
        return {host: self._known[host] for host in unique if host in self._known}

    def refresh(self, host: str) -> None:
        """To be called now and then; asks the host when its last report is old."""
        self._refresh(host, REFRESH_S if host in self._known else 0.0, ANSWER_S)

    def _refresh(self, host: str, pause_s: float, timeout_s: float) -> None:
        if time.monotonic() < self._asked_at.get(host, -math.inf) + pause_s:
            return
        self._asked_at[host] = time.monotonic()
        try:
            report = self._bus.call(vmrunner.service_on(host), "capacity", timeout_s=timeout_s)
        except WaltError as error:
            log.info("host %s does not report its capacity: %s", host, error)
        else:
            self._known[host] = serialization.load(Capacity, report)
