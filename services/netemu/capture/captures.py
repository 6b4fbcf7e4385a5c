"""The captures of this host: a process for each, which lives as long as its reader."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
from collections.abc import Sequence
from typing import Any

from services.netemu.capture import programs
from services.netemu.capture.capture_buffer import CaptureOrder
from services.netemu.kernel.packet_socket import open_packet_socket
from services.netemu.ports.port import Port
from walt.contracts.errors import Conflict, NotFound
from walt.contracts.links import format_link
from walt.contracts.netemu import MAX_CAPTURES, CaptureTarget, OpenCapture

log = logging.getLogger(__name__)


class Captures:
    def __init__(self) -> None:
        self._processes: list[Any] = []

    def open(self, port: Port, expression: str, count: int) -> OpenCapture:
        """Each frame of the port from now on. InvalidRequest: what is wrong with the filter; nothing was started."""
        self.reap()
        if len(self._processes) >= MAX_CAPTURES:
            raise Conflict(f"{MAX_CAPTURES} captures run on this host; allowed: no more (one that ends makes room)")
        program = programs.compile_filter(port.tap, expression) if expression else ()
        opened = OpenCapture(f"walt-capture-{os.urandom(16).hex()}", os.urandom(16).hex())
        with contextlib.ExitStack() as stack:
            packets = stack.enter_context(open_packet_socket(port.tap, program))
            listener = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET))
            listener.bind(f"\0{opened.address}")
            listener.listen(4)
            self._processes.append(programs.start_process(order_of(port, expression, count, opened), packets, listener))
        return opened

    def reap(self) -> None:
        """Forget those that have ended."""
        for process in self._processes:
            if process.poll():
                log.error("the process of a capture ended with status %d", process.returncode)
        self._processes = [one for one in self._processes if one.returncode is None]


def port_of(target: CaptureTarget, ports: Sequence[Port]) -> Port:
    """ports: of this node. Pure."""
    own = {port.network.name: port for port in ports if port.network.owner in ("", target.owner)}
    if not own:
        raise Conflict(f"{target.node} has no port yet; it gets them at its first boot (walt node start {target.node})")
    if target.network not in own:
        raise NotFound(f"{target.node} has no port on '{target.network}' now; allowed: {', '.join(sorted(own))}")
    return own[target.network]


def order_of(port: Port, expression: str, count: int, opened: OpenCapture) -> CaptureOrder:
    """Pure."""
    network = port.network.name + (f" of {port.network.owner}" if port.network.owner else "")
    link = format_link(port.link) or "plain"
    return CaptureOrder(
        comment=f"node {port.node}, network {network}, link {link}: frames as the node sends and receives them",
        name=f"{port.node}:{port.network.name}",
        description=f"port of {port.node} on {port.network.name} (slot {port.slot})",
        expression=expression,
        count=count,
        key=opened.key,
    )
