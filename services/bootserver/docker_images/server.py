"""The end of `protocol.py` that has the Docker Engine. An error is an answer; none ends the process."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import socket
from pathlib import Path
from typing import IO, Any

from services.bootserver.docker_images import engine, references
from services.bootserver.docker_images.protocol import BUILD_ONLINE, EXPORT, FILES, LINE_BYTES
from services.kit.unix_server import UnixServer, receive_line
from walt.contracts.errors import Failed, InvalidRequest, WaltError

SEND_LIMIT_S = 60.0

log = logging.getLogger(__name__)


class _HungUp(Exception):
    """Nobody wants the result any more."""


class DockerImagesServer(UnixServer):
    def __init__(self, path: Path, peers: tuple[int, ...]) -> None:
        super().__init__(path, _serve, peers)


def _serve(connection: socket.socket) -> None:
    line, descriptors = receive_line(connection, LINE_BYTES)
    connection.settimeout(SEND_LIMIT_S)

    def say(text: str) -> None:
        try:
            _send(connection, {"line": text})
        except OSError as error:
            raise _HungUp from error

    with contextlib.ExitStack() as stack:
        for descriptor in descriptors:
            stack.callback(os.close, descriptor)
        try:
            _obey(line, descriptors, stack, say)
            answer: dict[str, Any] = {"status": 0}
        except WaltError as error:
            answer = {"status": error.exit_code, "message": str(error)}
        except _HungUp:
            return
        except OSError as error:
            answer = {"status": Failed.exit_code, "message": str(error.strerror or error)}
        except Exception as error:
            log.exception("a request has failed")
            answer = {"status": Failed.exit_code, "message": f"{type(error).__name__}; see the log of docker-images"}
    _send(connection, answer)


def _obey(line: bytes, descriptors: list[int], stack: contextlib.ExitStack, say: engine.Say) -> None:
    try:
        request = json.loads(line)
        verb = request["verb"]
        modes = FILES[verb]
    except (ValueError, TypeError, KeyError, RecursionError):
        raise InvalidRequest(f"a request has a verb; allowed: {', '.join(FILES)}") from None
    if len(descriptors) != len(modes):
        raise InvalidRequest(f"'{verb}' comes with {len(modes)} files")
    files: list[IO[bytes]] = [
        stack.enter_context(os.fdopen(descriptor, mode, closefd=False))
        for descriptor, mode in zip(descriptors, modes, strict=True)
    ]
    if verb == EXPORT:
        reference = str(request.get("reference"))
        references.check(reference)
        engine.export(reference, files[0], say)
    else:
        engine.build(files[0], files[1], say, has_network=verb == BUILD_ONLINE)


def _send(connection: socket.socket, message: dict[str, Any]) -> None:
    connection.sendall(json.dumps(message).encode() + b"\n")
