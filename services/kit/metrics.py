"""Prometheus: calls, failures and seconds per entry point, and the port on which all metrics are served."""

from __future__ import annotations

import logging
import time
from typing import Any

import eventlet
import eventlet.wsgi
from nameko.extensions import DependencyProvider
from prometheus_client import Counter, Histogram, make_wsgi_app

from services.contracts.errors import Refused

CALLS = Counter("walt_entrypoint_calls_total", "Calls of an entry point", ["entrypoint"])
FAILURES = Counter("walt_entrypoint_failures_total", "Calls that ended in an error", ["entrypoint", "kind"])
SECONDS = Histogram("walt_entrypoint_seconds", "Seconds that a call took", ["entrypoint"])

log = logging.getLogger(__name__)


class Metrics(DependencyProvider):
    """Declared once in each service class; counts by itself."""

    def __init__(self) -> None:
        self._started: dict[Any, float] = {}

    def worker_setup(self, worker_ctx: Any) -> None:
        self._started[worker_ctx.call_id] = time.monotonic()

    def worker_result(self, worker_ctx: Any, result: Any = None, exc_info: Any = None) -> None:
        entrypoint = worker_ctx.entrypoint.method_name
        CALLS.labels(entrypoint).inc()
        SECONDS.labels(entrypoint).observe(time.monotonic() - self._started.pop(worker_ctx.call_id))
        if exc_info is not None:
            FAILURES.labels(entrypoint, "refused" if issubclass(exc_info[0], Refused) else "failed").inc()


def serve_metrics(port: int) -> None:
    """Serve /metrics on all addresses of the process's network namespace."""
    socket = eventlet.listen(("0.0.0.0", port), reuse_addr=True)
    eventlet.spawn(eventlet.wsgi.server, socket, make_wsgi_app(), log_output=False)
    log.info("metrics on port %d", port)
