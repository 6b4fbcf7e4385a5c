"""`python -m services.bootserver.workers.fetch_docker_image SOCKET export IMAGE TAR` or `SOCKET build CONTEXT TAR`, or
`build-online` (docker_images/protocol.py).

TAR becomes the root file system, of an image of the Docker Engine or of what the Dockerfile in CONTEXT, a tar of its
folder, makes. The process at SOCKET does it (`docker_images/`); this one waits for it, and ends it by its own end.
"""

from __future__ import annotations

import contextlib
import json
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from services.bootserver.docker_images.protocol import EXPORT
from services.bootserver.workers import worker
from walt.contracts.errors import Failed

HUNG_UP = "the process that has the Docker Engine has ended"


def fetch(path: str, verb: str, source: str, tar: Path) -> None:
    request = {"verb": verb, "reference": source} if verb == EXPORT else {"verb": verb}
    with contextlib.ExitStack() as stack:
        files: list[IO[bytes]] = [stack.enter_context(open(source, "rb"))] if verb != EXPORT else []
        files.append(stack.enter_context(open(tar, "wb")))
        connection = stack.enter_context(_connected(path))
        socket.send_fds(connection, [json.dumps(request).encode() + b"\n"], [file.fileno() for file in files])
        for answer in _answers(connection):
            if "status" in answer:
                _end(answer)
                return
            if answer["line"]:
                print(answer["line"], flush=True)
    raise Failed(HUNG_UP)


def _connected(path: str) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.connect(path)
    except OSError as error:
        connection.close()
        raise Failed(
            f"the process that has the Docker Engine does not answer ({path}: {error.strerror}); allowed without it: a "
            "FILE.tar or a folder"
        ) from None
    return connection


def _answers(connection: socket.socket) -> Iterator[dict[str, Any]]:
    with connection.makefile("rb") as lines:
        for line in lines:
            yield json.loads(line)


def _end(answer: dict[str, Any]) -> None:
    if answer["status"]:
        raise worker.ERRORS.get(answer["status"], Failed)(answer["message"])


if __name__ == "__main__":
    path, verb, source, tar = sys.argv[1:]
    worker.worker_main(lambda: fetch(path, verb, source, Path(tar)), Path(tar).parent)
