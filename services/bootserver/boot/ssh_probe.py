"""The boot watch: a node has booted when its ssh server sends its banner.

Probed from outside, over walt-net, so that an image needs nothing of the platform's to be seen as booted. The former
VM of a node cannot be mistaken for the new one: a boot is published only after the former qemu has ended.
"""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Callable

from services.bootserver.boot.boot_records import BootRecord
from services.kit import tasks
from services.kit.tasks import Task

log = logging.getLogger(__name__)

SSH_PORT = 22
CLOSED_PORT = 1  # tcpmux: nothing listens there
RETRY_S = 0.2
CONNECT_S = 1.0
BANNER_S = 15.0  # a busy emulated node accepts seconds before its banner: another connection would only add load

OnBooted = Callable[[BootRecord, float], None]


def sends_banner(address: str, port: int = SSH_PORT) -> bool:
    try:
        with socket.create_connection((address, port), CONNECT_S) as connection:
            connection.settimeout(BANNER_S)
            return connection.recv(64).startswith(b"SSH-")
    except OSError:
        return False


def is_up(address: str, port: int = SSH_PORT) -> bool:
    """Whether a system is there at all: one that shuts down may accept connections long after its last banner."""
    try:
        with socket.create_connection((address, port), CONNECT_S):
            return True
    except ConnectionRefusedError:
        return True
    except OSError:
        return False


class BootWatches:
    """A thread per node whose boot has not ended; a new watch of a node replaces the former one."""

    def __init__(self, on_booted: OnBooted, probe: Callable[[str], bool]) -> None:
        self._on_booted = on_booted
        self._probe = probe
        self._threads: dict[int, Task] = {}

    def watch(self, record: BootRecord) -> None:
        node_id = record.request.node_id
        self.stop(node_id)
        if not record.booted_at:
            self._threads[node_id] = tasks.spawn(self._wait, record)

    def stop(self, node_id: int) -> None:
        thread = self._threads.pop(node_id, None)
        if thread is not None:
            thread.kill()

    def stop_all(self) -> None:
        for node_id in list(self._threads):
            self.stop(node_id)

    def _wait(self, record: BootRecord) -> None:
        while not self._probe(record.request.ip):
            tasks.sleep(RETRY_S)
        del self._threads[record.request.node_id]
        self._on_booted(record, time.time())
