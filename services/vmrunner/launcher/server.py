"""The launcher's end of its unix socket: one request and one answer a connection. An error is an answer."""

from __future__ import annotations

import json
import logging
import os
import socket
from pathlib import Path
from typing import Any

from services.kit.docker import EngineAway, EngineRefused
from services.kit.unix_server import UnixServer, receive_line
from services.vmrunner.launcher.docker_vms import DockerVms
from services.vmrunner.launcher.protocol import AWAY, FAILED, INVALID, LINE_BYTES, REFUSED, VERBS
from walt.contracts import serialization
from walt.contracts.errors import InvalidRequest, WaltError

KINDS = ((EngineRefused, REFUSED), (EngineAway, AWAY), (InvalidRequest, INVALID))

log = logging.getLogger(__name__)


class LauncherServer(UnixServer):
    def __init__(self, path: Path, vms: DockerVms, peers: tuple[int, ...]) -> None:
        self._vms = vms
        super().__init__(path, self._serve, peers)

    def _serve(self, connection: socket.socket) -> None:
        line, files = receive_line(connection, LINE_BYTES)
        for file in files:  # no verb takes one
            os.close(file)
        connection.sendall(json.dumps(self._answer(line)).encode() + b"\n")

    def _answer(self, line: bytes) -> dict[str, Any]:
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
        except (ValueError, TypeError, KeyError, RecursionError):
            raise InvalidRequest('a request is {"verb": ..., "request": {...}}') from None
        if not isinstance(verb, str) or verb not in VERBS:
            raise InvalidRequest(f"verb {str(verb)[:40]!r}; allowed: {', '.join(VERBS)}")
        return getattr(self._vms, verb)(serialization.load(VERBS[verb], request))
