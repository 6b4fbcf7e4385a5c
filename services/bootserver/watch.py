"""The boot watch: a node has booted when its ssh server greets.

Looked at from outside, over walt-net, so that an image needs nothing of ours to be seen as booted. The former
machine of a node cannot be mistaken for the new one: a boot is published only once its qemu has ended.
"""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Callable
from typing import Any

import eventlet

from services.bootserver.plans import Published

log = logging.getLogger(__name__)

SSH_PORT = 22
PAUSE_S = 0.2
CONNECT_S = 1.0
BANNER_S = 15.0  # a busy emulated node takes seconds from accepting to greeting: asking again would only add load

Booted = Callable[[Published, float], None]


def greets(address: str, port: int = SSH_PORT) -> bool:
    try:
        with socket.create_connection((address, port), CONNECT_S) as connection:
            connection.settimeout(BANNER_S)
            return connection.recv(64).startswith(b"SSH-")
    except OSError:
        return False


def connects(address: str, port: int = SSH_PORT) -> bool:
    """Whether there is still a system: one that goes down may accept connections long after it has stopped to greet."""
    try:
        with socket.create_connection((address, port), CONNECT_S):
            return True
    except ConnectionRefusedError:
        return True
    except OSError:
        return False


class BootWatches:
    """One green thread per node whose boot has not ended; a new one for a node replaces the old."""

    def __init__(self, booted: Booted, probe: Callable[[str], bool]) -> None:
        self._booted = booted
        self._probe = probe
        self._threads: dict[int, Any] = {}

    def watch(self, published: Published) -> None:
        node_id = published.request.node_id
        self.stop(node_id)
        if not published.booted_at:
            self._threads[node_id] = eventlet.spawn(self._wait, published)

    def stop(self, node_id: int) -> None:
        thread = self._threads.pop(node_id, None)
        if thread is not None:
            thread.kill()

    def stop_all(self) -> None:
        for node_id in list(self._threads):
            self.stop(node_id)

    def _wait(self, published: Published) -> None:
        while not self._probe(published.request.ip):
            eventlet.sleep(PAUSE_S)
        del self._threads[published.request.node_id]
        self._booted(published, time.time())
