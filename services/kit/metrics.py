"""Prometheus: calls, failures and seconds per entry point, space of folders, the port on which all metrics are served."""

from __future__ import annotations

import logging
import math
import shutil
import time
from pathlib import Path
from typing import Any

import eventlet
import eventlet.wsgi
from nameko.extensions import DependencyProvider
from prometheus_client import Counter, Gauge, Histogram, disable_created_metrics, make_wsgi_app

from services.contracts.errors import Refused

disable_created_metrics()  # type: ignore[no-untyped-call]  # a series for each of the others, of which nobody asks

CALLS = Counter("walt_entrypoint_calls_total", "Calls of an entry point", ["entrypoint"])
FAILURES = Counter(
    "walt_entrypoint_failures_total",
    "Calls that were refused (the caller's fault) or failed (ours)",
    ["entrypoint", "kind"],
)
SECONDS = Histogram("walt_entrypoint_seconds", "Seconds that a call took", ["entrypoint"])
FREE = Gauge("walt_folder_free_bytes", "Space left on the file system of a folder", ["folder"])
SIZE = Gauge("walt_folder_size_bytes", "Size of the file system of a folder", ["folder"])

KINDS = (REFUSED, FAILED) = ("refused", "failed")

log = logging.getLogger(__name__)


class Metrics(DependencyProvider):
    """Declared once in each service class; counts by itself."""

    def __init__(self) -> None:
        self._started: dict[Any, float] = {}

    def worker_setup(self, worker_ctx: Any) -> None:
        self._started[worker_ctx.call_id] = time.monotonic()
        for kind in KINDS:  # so that there is a 0 before the first failure
            FAILURES.labels(worker_ctx.entrypoint.method_name, kind)

    def worker_result(self, worker_ctx: Any, result: Any = None, exc_info: Any = None) -> None:
        entrypoint = worker_ctx.entrypoint.method_name
        CALLS.labels(entrypoint).inc()
        SECONDS.labels(entrypoint).observe(time.monotonic() - self._started.pop(worker_ctx.call_id))
        if exc_info is not None:
            FAILURES.labels(entrypoint, REFUSED if issubclass(exc_info[0], Refused) else FAILED).inc()


def watch_space(name: str, folder: Path) -> None:
    """From now on each scrape tells the space of its file system, under this name."""
    FREE.labels(name).set_function(lambda: _usage(folder)[0])
    SIZE.labels(name).set_function(lambda: _usage(folder)[1])


def _usage(folder: Path) -> tuple[float, float]:
    """(free, size); unknown while the folder is away: that must not cost the other metrics."""
    try:
        usage = shutil.disk_usage(folder)
    except OSError:
        return math.nan, math.nan
    return usage.free, usage.total


def serve_metrics(port: int) -> None:
    """Serve /metrics on all addresses of the process's network namespace."""
    socket = eventlet.listen(("0.0.0.0", port), reuse_addr=True)
    eventlet.spawn(eventlet.wsgi.server, socket, make_wsgi_app(), log_output=False)
    log.info("metrics on port %d", port)
