"""Pages of a service: methods that are called by HTTP, on a server on which no client can disturb another.

    @page("GET", "/boot/<int:node_id>/script.ipxe")
    def boot_script(self, request: Request, node_id: int) -> Response: …

The server listens on WALT_HTTP_ADDRESS. A WaltError becomes the status code of `STATUS`, with its sentences as text.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import eventlet
import eventlet.wsgi
from nameko.extensions import Entrypoint, ProviderCollector, SharedExtension, register_entrypoint
from werkzeug.exceptions import HTTPException
from werkzeug.routing import Map, Rule
from werkzeug.wrappers import Request, Response
from werkzeug.wsgi import wrap_file

from services.kit import tasks
from services.kit.environment import NAMEKO_KEY, Environment
from walt.contracts.errors import Denied, NotFound, WaltError

ADDRESS = "0.0.0.0:80"
MAX_CONNECTIONS = 8  # of one client at a time: a boot needs one
STALL_LIMIT_S = 120.0  # how long a client may neither send nor take anything
NO_FILES_PAUSE_S = 0.5

STATUS: dict[type[WaltError], int] = {NotFound: 404, Denied: 403}

log = logging.getLogger(__name__)


def address(env: Environment) -> tuple[str, int]:
    """Where the pages of this process are served."""
    host, _, port = env.variable("WALT_HTTP_ADDRESS", ADDRESS).rpartition(":")
    return host, int(port)


class _Server(SharedExtension, ProviderCollector):
    """Neither what one client breaks, nor how slow it is, nor how often it connects is felt by another."""

    def __init__(self) -> None:
        super().__init__()
        self._connections: Counter[str] = Counter()
        self._listener: Any = None

    def start(self) -> None:
        if self._listener is not None:
            return
        self._listener = eventlet.listen(address(self.container.config[NAMEKO_KEY]), reuse_addr=True)
        self._listener.settimeout(None)
        self._urls = Map([page.rule() for page in self._providers])
        self._wsgi = eventlet.wsgi.Server(
            self._listener,
            self._listener.getsockname(),
            self._respond,
            log_output=False,
            debug=False,
            socket_timeout=STALL_LIMIT_S,  # which it sets anew after each request line
        )
        self._accepting = tasks.spawn_loop("pages", self._accept)

    def stop(self) -> None:
        self._accepting.kill()
        self._listener.close()
        super().stop()

    def _accept(self) -> None:
        try:
            connection, client = self._listener.accept()
        except OSError as error:  # no file can be opened any more, for example
            log.error("no connection can be accepted: %s", error)
            tasks.sleep(NO_FILES_PAUSE_S)
            return
        tasks.spawn(self._serve, connection, client)

    def _serve(self, connection: Any, client: tuple[str, int]) -> None:
        host = client[0]
        self._connections[host] += 1
        try:
            # vmrunner asks from this host, for all its nodes.
            if self._connections[host] <= MAX_CONNECTIONS or host == connection.getsockname()[0]:
                connection.settimeout(STALL_LIMIT_S)
                self._wsgi.process_request([client, connection, eventlet.wsgi.STATE_IDLE])
        except Exception as error:
            log.warning("%s is cut off: %s", host, error)
        finally:
            connection.close()
            self._connections -= Counter([host])

    def _respond(self, environ: dict[str, Any], start_response: Any) -> Any:
        response: Any
        try:
            page, values = self._urls.bind_to_environ(environ).match()
            response = page.respond(Request(environ), values)
        except HTTPException as error:
            response = error
        return response(environ, start_response)


class _Page(Entrypoint):
    server = _Server()

    def __init__(self, method: str, path: str) -> None:
        super().__init__(expected_exceptions=WaltError)
        self._method, self._path = method, path

    def setup(self) -> None:
        self.server.register_provider(self)

    def stop(self) -> None:
        self.server.unregister_provider(self)
        super().stop()

    def rule(self) -> Rule:
        return Rule(self._path, methods=[self._method], endpoint=self)

    def respond(self, request: Request, values: dict[str, Any]) -> Response:
        result, error = tasks.run_worker(self, request, **values)
        if error is None:
            return result  # type: ignore[no-any-return]
        if isinstance(error, WaltError):
            return Response(f"{error}\n", status=STATUS.get(type(error), 500), mimetype="text/plain")
        return Response("internal error; the log of the service tells more\n", status=500, mimetype="text/plain")


def page(method: str, path: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    return lambda function: register_entrypoint(function, _Page(method, path)) or function


def text(content: str) -> Response:
    return Response(content, mimetype="text/plain")


def data(content: bytes) -> Response:
    return Response(content, mimetype="application/octet-stream")


def content(request: Request, digest: str, path: Path) -> Response:
    """A file whose ETag is the SHA-256 of its content; 304 to who has it, and any range of it. HEAD works as
    everywhere."""
    file = open(path, "rb")  # noqa: SIM115 (the response closes it)
    body = wrap_file(request.environ, file, buffer_size=2**18)
    response = Response(body, mimetype="application/octet-stream", direct_passthrough=True)
    response.content_length = path.stat().st_size
    response.set_etag(digest)
    response.cache_control.immutable = True
    return response.make_conditional(request, accept_ranges=True, complete_length=response.content_length)
