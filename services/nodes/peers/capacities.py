"""What each host has, as its vmrunner last announced it; one that has not yet is asked."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterable

from services.kit.bus.bus import Bus
from walt.contracts import serialization, vmrunner
from walt.contracts.errors import WaltError
from walt.contracts.vmrunner import Capacity

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
            self._ask(host)
        return {host: self._known[host] for host in unique if host in self._known}

    def learn(self, host: str, capacity: Capacity) -> None:
        self._known[host] = capacity

    def _ask(self, host: str) -> None:
        if time.monotonic() < self._asked_at.get(host, -math.inf) + RETRY_S:
            return
        self._asked_at[host] = time.monotonic()
        try:
            report = self._bus.call(vmrunner.service_on(host), "capacity", timeout_s=FIRST_ANSWER_S)
        except WaltError as error:
            log.info("host %s does not report its capacity: %s", host, error)
        else:
            self._known[host] = serialization.load(Capacity, report)
