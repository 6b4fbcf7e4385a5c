"""A unix socket that serves processes of certain users, a thread for each connection."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import socketserver
import struct
from collections.abc import Callable
from pathlib import Path

REQUEST_LIMIT_S = 10.0  # for a request to come
MAX_FILES = 8

log = logging.getLogger(__name__)


class UnixServer(socketserver.ThreadingUnixStreamServer):
    """serve: called with each connection of the users in `peers`, whoever else can open the socket; it ends with an
    OSError when the other side is gone. The socket of a server that was killed is replaced."""

    daemon_threads = True

    def __init__(self, path: Path, serve: Callable[[socket.socket], None], peers: tuple[int, ...]) -> None:
        self.serve = serve
        self.peers = peers
        path.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
        super().__init__(str(path), _Connection)
        os.chmod(path, 0o600)


class _Connection(socketserver.BaseRequestHandler):
    server: UnixServer

    def handle(self) -> None:
        if (uid := peer_uid(self.request)) not in self.server.peers:
            log.warning("user %d is not served; allowed: %s", uid, self.server.peers)
            return
        self.request.settimeout(REQUEST_LIMIT_S)
        with contextlib.suppress(OSError):
            self.server.serve(self.request)


def peer_uid(connection: socket.socket) -> int:
    _, uid, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return int(uid)


def receive_line(connection: socket.socket, limit_bytes: int) -> tuple[bytes, list[int]]:
    """Up to the end of the line, of the connection or of the limit; and the files that came with it, which are the
    caller's to close."""
    line, files = b"", list[int]()
    while len(line) < limit_bytes and not line.endswith(b"\n"):
        data, new, _, _ = socket.recv_fds(connection, limit_bytes - len(line), MAX_FILES)
        files += new
        if not data:
            break
        line += data
    return line, files
