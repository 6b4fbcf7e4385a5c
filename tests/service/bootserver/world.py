"""bootserver in this process, on a real RabbitMQ and with real HTTP; a network whose answers the test gives."""

from __future__ import annotations

import contextlib
import errno
import http.client
import os
import socket
from collections.abc import Callable
from email.message import Message
from typing import Any

from services.bootserver.service import BootserverService
from services.kit.bus import app as kit_app
from services.kit.bus.bus import BrokerBus
from services.kit.environment import environment
from tests.support.fakes.fake_service import FakeService
from tests.support.ports import free_port
from tests.support.specs import spec
from tests.support.wait import wait_until
from walt.contracts import bootserver, serialization
from walt.contracts.bootserver import BootPlan, BootRequest, NodeBooted, NodeCopying

SERVER, NODE_IP, OTHER_IP = "127.0.0.1", "127.0.0.9", "127.0.0.8"
SPEC = spec(id=7, name="vnode1", ip=NODE_IP)
REQUEST = BootRequest(7, "vnode1", 1, "52:54:00:00:00:07", NODE_IP, "default")
MARKER = NodeBooted(0, 0, 0.0)


class Network:
    """What bootserver finds on walt-net.

    persist_fault, dns_fault: why not, "" when all is well; answering: addresses whose ssh server sends its
    banner; probed: the addresses that were probed, in order.
    """

    def __init__(self) -> None:
        self.persist_fault = self.dns_fault = ""
        self.answering: set[str] = set()
        self.probed: list[str] = []

    def sends_banner(self, address: str) -> bool:
        self.probed.append(address)
        return address in self.answering

    def is_up(self, address: str, port: int = 22) -> bool:
        return address in self.answering

    def wait_for_probes(self, address: str, count: int = 3) -> None:
        """Until it has been probed so many times more."""
        before = self.probed.count(address)
        wait_until(lambda: self.probed.count(address) >= before + count, 5)


class Listener(FakeService):
    """Hears what bootserver announces of boots."""

    name = "listener"

    def __init__(self) -> None:
        super().__init__()
        self.booted: list[NodeBooted] = []
        self.copying: list[NodeCopying] = []

    def hears(self) -> list[tuple[str, str, Callable[[Any], None]]]:
        return [
            (bootserver.SERVICE, bootserver.NODE_BOOTED, self._on_booted),
            (bootserver.SERVICE, bootserver.NODE_COPYING, self._on_copying),
        ]

    def _on_booted(self, payload: Any) -> None:
        self.booted.append(serialization.load(NodeBooted, payload))

    def _on_copying(self, payload: Any) -> None:
        self.copying.append(serialization.load(NodeCopying, payload))

    def booted_so_far(self) -> list[NodeBooted]:
        """All that was announced before this call: events of one kind come in order, so a marker comes last."""
        self.announce(bootserver.NODE_BOOTED, MARKER, by=bootserver.SERVICE)
        wait_until(lambda: MARKER in self.booted, 5)
        self.booted.remove(MARKER)
        return list(self.booted)


class Bootserver:
    """The service, and its clients. `restart` starts it again on the same state."""

    def __init__(self, uri: str) -> None:
        self.port = free_port()
        self.bus = BrokerBus(uri, "test")

    def start(self) -> None:
        self._container = kit_app.container(BootserverService, environment())
        self._container.start()

    def stop(self) -> None:
        self._container.stop()

    def restart(self) -> None:
        self.stop()
        self.start()

    def call(self, method: str, **arguments: Any) -> Any:
        return self.bus.call(bootserver.SERVICE, method, **arguments)

    def publish(self, request: BootRequest = REQUEST) -> BootPlan:
        return serialization.load(BootPlan, self.call("publish_boot", request=request))

    def fetch(
        self, path: str, *, source: str = NODE_IP, method: str = "GET", headers: dict[str, str] | None = None
    ) -> tuple[int, Message, bytes]:
        """(status, headers, body). source: the address that the request comes from."""
        connection = http.client.HTTPConnection(SERVER, self.port, timeout=5, source_address=(source, 0))
        try:
            connection.request(method, path, headers=headers or {})
            response = connection.getresponse()
            return response.status, response.headers, response.read()
        finally:
            connection.close()

    def status(self, path: str, **request: Any) -> int:
        return self.fetch(path, **request)[0]

    def text(self, path: str, **request: Any) -> str:
        return self.fetch(path, **request)[2].decode()

    def path_of(self, command: str, script: str) -> str:
        """Of the URL that this command of an iPXE script loads."""
        (line,) = [line for line in script.splitlines() if line.startswith(f"{command} ")]
        return line.split()[1].partition(f":{self.port}")[2]

    def connect(self, source: str, request: bytes = b"") -> socket.socket:
        connection = socket.create_connection((SERVER, self.port), 20, (source, 0))
        connection.sendall(request)
        return connection


def until_closed(connection: socket.socket) -> bytes:
    """What the server sends before it closes the connection."""
    received = b""
    with contextlib.suppress(ConnectionResetError):
        while piece := connection.recv(2**16):
            received += piece
    return received


def full_disk(*args: object, **kwargs: object) -> None:
    """In place of a function that writes."""
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
