"""Who has too much at the broker (broker_use.py) loses all that he has there, and his connections, and is told why."""

from __future__ import annotations

import logging
from collections.abc import Callable

from prometheus_client import Counter

from services.kit.reconcile_loop import keep_in_step
from services.nodes.users.broker_use import BrokerObjects, excesses
from services.nodes.users.rabbitmq_api import ManagementApi

WATCH_S = 5.0

CLEARED = Counter("walt_users_cleared_total", "How often a user lost what he had at the broker: too much", ["user"])

log = logging.getLogger(__name__)


class BrokerWatch:
    """remove: deletes queues, exchanges and bindings of the broker. Most are gone with the connections."""

    def __init__(self, api: ManagementApi, remove: Callable[[BrokerObjects], None]) -> None:
        self._api = api
        self._remove = remove

    def run(self) -> None:
        keep_in_step(self.look, WATCH_S)

    def look(self) -> None:
        objects = self._api.objects()
        for user, excess in excesses(objects).items():
            log.warning("connections closed: %s", excess)
            CLEARED.labels(user).inc()
            self._api.close_connections(user, excess)
            self._remove(objects.of(user))
