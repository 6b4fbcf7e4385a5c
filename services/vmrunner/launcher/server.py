"""The launcher's unix socket: one request and one answer a connection. Errors are answers; none ends the process."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import socket
import socketserver
import struct
from pathlib import Path
from typing import Any

from services.kit.docker import EngineAway, EngineRefused
from services.vmrunner.launcher.docker_vms import DockerVms
from services.vmrunner.launcher.protocol import AWAY, FAILED, INVALID, LINE_BYTES, REFUSED, VERBS
from walt.contracts import serialization
from walt.contracts.errors import InvalidRequest, WaltError

REQUEST_LIMIT_S = 10.0  # for its line to come
KINDS = ((EngineRefused, REFUSED), (EngineAway, AWAY), (InvalidRequest, INVALID))

log = logging.getLogger(__name__)


class LauncherServer(socketserver.ThreadingUnixStreamServer):
    """Serves the users in `peers` only, whoever can open the socket. A killed one's socket is replaced."""

    daemon_threads = True

    def __init__(self, path: Path, vms: DockerVms, peers: tuple[int, ...]) -> None:
        self.vms = vms
        self.peers = peers
        path.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
        super().__init__(str(path), _Connection)
        os.chmod(path, 0o600)

    def answer(self, line: bytes) -> dict[str, Any]:
        try:
            return {"result": self._obey(line)}
        except WaltError as error:
            kind = next((kind for cls, kind in KINDS if isinstance(error, cls)), FAILED)
            return {"error": {"kind": kind, "message": str(error)}}
        except Exception as error:  # none of a request's, nor of the engine's, ends the others'
            log.exception("a request has failed")
            return {"error": {"kind": FAILED, "message": f"{type(error).__name__} in the launcher; see its log"}}

    def _obey(self, line: bytes) -> Any:
        if not line.endswith(b"\n"):
            raise InvalidRequest(f"a request is a line of at most {LINE_BYTES} bytes")
        try:
            message = json.loads(line)
            verb, request = message["verb"], message["request"]
        except (ValueError, TypeError, KeyError):
            raise InvalidRequest('a request is {"verb": ..., "request": {...}}') from None
        if not isinstance(verb, str) or verb not in VERBS:
            raise InvalidRequest(f"verb {str(verb)[:40]!r}; allowed: {', '.join(VERBS)}")
        return getattr(self.vms, verb)(serialization.load(VERBS[verb], request))


class _Connection(socketserver.StreamRequestHandler):
    server: LauncherServer
    timeout = REQUEST_LIMIT_S

    def handle(self) -> None:
        credentials = self.connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        _, uid, _ = struct.unpack("3i", credentials)
        if uid not in self.server.peers:
            log.warning("user %d is not served; allowed: %s", uid, self.server.peers)
            return
        with contextlib.suppress(OSError):  # who has sent it is gone
            answer = self.server.answer(self.rfile.readline(LINE_BYTES))
            self.wfile.write(json.dumps(answer).encode() + b"\n")
