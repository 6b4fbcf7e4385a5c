"""Prometheus: calls, failures and seconds of each entry point of a service."""

from __future__ import annotations

import time
from typing import Any

from nameko.extensions import DependencyProvider
from prometheus_client import Counter, Histogram

from walt.contracts.errors import Refused

CALLS = Counter("walt_entrypoint_calls_total", "Calls of an entry point", ["entrypoint"])
FAILURES = Counter(
    "walt_entrypoint_failures_total",
    "Calls that were refused (the caller's fault) or failed (ours)",
    ["entrypoint", "kind"],
)
SECONDS = Histogram("walt_entrypoint_seconds", "Seconds that a call took", ["entrypoint"])

KINDS = (REFUSED, FAILED) = ("refused", "failed")


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
        took_s = time.monotonic() - self._started.pop(worker_ctx.call_id)
        if not getattr(worker_ctx.entrypoint, "is_patient", False):  # what they wait for takes its time
            SECONDS.labels(entrypoint).observe(took_s)
        if exc_info is not None:
            FAILURES.labels(entrypoint, REFUSED if issubclass(exc_info[0], Refused) else FAILED).inc()
