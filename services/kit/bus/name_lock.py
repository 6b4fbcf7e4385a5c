"""One process of each name on the bus: calls and events would reach now one and now the other of two, and two agents of
one host would both change its VMs and links.

The name is held as an exclusive queue of the broker, which ends with its connection, however that ends. It therefore
also tells two servers apart that were given the same WALT_HOST.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable

from amqp.exceptions import ResourceLocked
from kombu import Connection

from services.kit import tasks
from services.kit.bus.rpc_connection import BROKER_ERRORS, CONNECT_LIMIT_S, HEARTBEAT_S
from services.kit.say_once import SayOnce

RETRY_S = 1.0
SECOND_AFTER_S = 3.0  # when a broker comes back, the one that served takes the name before those that waited for it
LOST_S = 90.0  # the broker keeps a connection that was cut for two heartbeats, and our own queue with it

log = logging.getLogger(__name__)


class NameLock:
    """name: as the service has it on the bus, "vmrunner@lab1"."""

    def __init__(self, amqp_uri: str, name: str) -> None:
        self._amqp_uri = amqp_uri
        self._name = name
        self._connection: Connection | None = None

    def acquire(self) -> None:
        """Return once the broker answers and no other process has the name; the log says what is waited for."""
        fault, after_s = SayOnce(log, "waiting for %s", "the wait is over"), 0.0
        while True:
            try:
                self._take(after_s)
            except ResourceLocked:
                fault.failed(f"another {self._name}, which serves already; allowed: one")
                after_s = SECOND_AFTER_S
            except Exception as error:
                fault.failed(f"the broker: {error}")
            else:
                fault.succeeded()
                return
            tasks.sleep(RETRY_S)

    def keep(self, give_up: Callable[[], None]) -> None:
        """Take the name again whenever the connection is lost; `give_up` is called once another process has had it for
        LOST_S. In a green thread of its own."""
        taken_by_other_at: float | None = None
        while True:
            try:
                self._watch()
            except BROKER_ERRORS as error:
                log.info("the connection that holds the name %s was lost: %s", self._name, error)
            try:
                self._take()
                taken_by_other_at = None
            except ResourceLocked:
                taken_by_other_at = taken_by_other_at or time.monotonic()
                if time.monotonic() - taken_by_other_at > LOST_S:
                    log.error("another %s serves; this one ends", self._name)
                    give_up()
                    return
            except BROKER_ERRORS:  # it is away: nobody has the name
                taken_by_other_at = None
            tasks.sleep(RETRY_S)

    def _take(self, after_s: float = 0.0) -> None:
        """after_s: since the broker accepted the connection."""
        self._close()
        connection = Connection(self._amqp_uri, heartbeat=HEARTBEAT_S, connect_timeout=CONNECT_LIMIT_S)
        try:
            connection.connect()
            tasks.sleep(after_s)
            connection.default_channel.queue_declare(f"name.{self._name}", exclusive=True, auto_delete=False)
        except BaseException:
            connection.collect()
            raise
        self._connection = connection

    def _watch(self) -> None:
        """Until the connection is lost, which raises one of BROKER_ERRORS."""
        while self._connection is not None:
            with contextlib.suppress(TimeoutError):
                self._connection.drain_events(timeout=HEARTBEAT_S / 4)
            self._connection.heartbeat_check()

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.collect()
            self._connection = None
