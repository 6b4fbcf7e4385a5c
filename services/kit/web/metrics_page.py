"""/metrics of a service process, for Prometheus."""

from __future__ import annotations

import logging

import eventlet
import eventlet.wsgi
from prometheus_client import disable_created_metrics, make_wsgi_app

disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series for each counter, which no query uses

log = logging.getLogger(__name__)


def serve_metrics(port: int) -> None:
    """Serve /metrics on all addresses of the process's network namespace."""
    socket = eventlet.listen(("0.0.0.0", port), reuse_addr=True)
    eventlet.spawn(eventlet.wsgi.server, socket, make_wsgi_app(), log_output=False)
    log.info("metrics on port %d", port)
