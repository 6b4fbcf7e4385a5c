"""The life of a service process: patch, wait for the broker, serve, end. `python -m services.NAME` calls `serve`.

Crash-only: when the broker goes away for good the process ends, and its supervisor starts it anew.
"""

from __future__ import annotations

import contextlib
import logging
import signal
import sys
import time
from collections.abc import Callable
from typing import Any

import eventlet
from kombu import Connection
from nameko.runners import ServiceRunner

from services.contracts.errors import WaltError
from services.kit.environment import Environment, environment
from services.kit.metrics import serve_metrics

log = logging.getLogger(__name__)

BROKER_RETRY_S = 1.0
REFUSAL_LIMIT = 400


def serve(load_service: Callable[[Environment], type]) -> None:
    """Run one service until SIGTERM. `load_service` imports and returns the service class."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    for noisy in ("kombu", "amqp", "nameko"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    logging.getLogger("nameko.containers").addFilter(shorten_refusal)
    env = environment()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())  # the first process of a container has no default for it
    serve_metrics(env.metrics_port)
    wait_for_broker(env.amqp_uri)
    runner = ServiceRunner(
        {"AMQP_URI": env.amqp_uri, "HEARTBEAT": 20, "max_workers": 20, **web_config()},
    )
    runner.add_service(load_service(env))
    signal.signal(signal.SIGTERM, lambda *_: eventlet.spawn_n(runner.stop))
    signal.signal(signal.SIGINT, lambda *_: eventlet.spawn_n(runner.stop))
    runner.start()
    log.info("serving")
    _wait(runner)


def shorten_refusal(record: logging.LogRecord) -> bool:
    """A refused call is told to its caller; here it is worth one line, however much the caller has sent."""
    if record.exc_info and isinstance(record.exc_info[1], WaltError):
        record.msg, record.args, record.exc_info = record.getMessage()[:REFUSAL_LIMIT], (), None
    return True


def web_config() -> dict[str, Any]:
    import os

    address = os.environ.get("WALT_HTTP_ADDRESS")
    return {"WEB_SERVER_ADDRESS": address} if address else {}


def wait_for_broker(uri: str) -> None:
    """Return once the broker takes our connection; say once a change of reason, not every try."""
    said = None
    while True:
        try:
            with contextlib.closing(Connection(uri, connect_timeout=5)) as connection:
                connection.connect()
            return
        except Exception as error:
            if str(error) != said:
                said = str(error)
                log.warning("waiting for the broker: %s", said)
            time.sleep(BROKER_RETRY_S)


def _wait(runner: ServiceRunner) -> None:
    # A signal that arrives while the main greenthread waits in the hub raises EINTR there.
    waiting = eventlet.spawn(runner.wait)
    while True:
        try:
            waiting.wait()
            return
        except InterruptedError:
            continue
