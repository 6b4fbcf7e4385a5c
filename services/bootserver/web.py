"""What bootserver serves over HTTP: entry points whose errors become status codes, and files named by content."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from nameko.web.handlers import HttpRequestHandler
from werkzeug.wrappers import Request, Response
from werkzeug.wsgi import wrap_file

from services.contracts.errors import Denied, NotFound, WaltError

STATUS: dict[type[WaltError], int] = {NotFound: 404, Denied: 403}


class PageHandler(HttpRequestHandler):  # type: ignore[misc]
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
