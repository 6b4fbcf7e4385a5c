"""What bootserver serves over HTTP: entry points whose errors become status codes, and files named by content."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import eventlet
from nameko.web.handlers import HttpRequestHandler
from nameko.web.server import WebServer
from werkzeug.wrappers import Request, Response
from werkzeug.wsgi import wrap_file

from services.contracts.errors import Denied, NotFound, WaltError

MAX_CONNECTIONS = 8  # of one client at a time: a boot needs one
STALL_LIMIT_S = 120.0  # how long a client may neither send nor take anything
NO_FILES_PAUSE_S = 0.5

log = logging.getLogger(__name__)

STATUS: dict[type[WaltError], int] = {NotFound: 404, Denied: 403}


class PageServer(WebServer):  # type: ignore[misc]
    """What one client does is felt by no other: neither what it breaks, nor how slow it is, nor how often it connects."""

    def __init__(self) -> None:
        super().__init__()
        self._open: Counter[str] = Counter()

    def get_wsgi_server(self, *args: Any, **kwargs: Any) -> Any:
        server = super().get_wsgi_server(*args, **kwargs)
        server.socket_timeout = STALL_LIMIT_S
        return server

    def run(self) -> None:
        while self._is_accepting:
            try:
                super().run()
            except OSError as error:  # no file can be opened any more, say
                log.error("no connection can be accepted: %s", error)
                eventlet.sleep(NO_FILES_PAUSE_S)

    def process_request(self, sock: Any, address: tuple[str, int]) -> None:
        client = address[0]
        self._open[client] += 1
        try:
            # vmrunner asks from this host, for all its nodes.
            if self._open[client] <= MAX_CONNECTIONS or client == sock.getsockname()[0]:
                super().process_request(sock, address)
        except Exception as error:  # nameko would end this service
            log.warning("%s is cut off: %s", client, error)
        finally:
            sock.close()
            self._open -= Counter([client])


class PageHandler(HttpRequestHandler):  # type: ignore[misc]
    server = PageServer()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("expected_exceptions", WaltError)
        super().__init__(*args, **kwargs)

    def response_from_exception(self, exc: Exception) -> Response:
        if isinstance(exc, WaltError):
            return Response(f"{exc}\n", status=STATUS.get(type(exc), 500), mimetype="text/plain")
        return super().response_from_exception(exc)  # type: ignore[no-any-return]


page = PageHandler.decorator


def text(content: str) -> Response:
    return Response(content, mimetype="text/plain")


def data(content: bytes) -> Response:
    return Response(content, mimetype="application/octet-stream")


def stream(pieces: Iterator[bytes]) -> Response:
    return Response(pieces, mimetype="application/octet-stream", direct_passthrough=True)


def content(request: Request, digest: str, path: Path) -> Response:
    """A file whose ETag is the SHA-256 of its content; 304 to who has it. HEAD works as everywhere."""
    file = open(path, "rb")  # noqa: SIM115 (the response closes it)
    body = wrap_file(request.environ, file, buffer_size=2**18)
    response = Response(body, mimetype="application/octet-stream", direct_passthrough=True)
    response.content_length = path.stat().st_size
    response.set_etag(digest)
    response.cache_control.immutable = True
    return response.make_conditional(request)
