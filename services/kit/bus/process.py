"""The life of a service process: wait for the broker, serve, end. `python -m services.NAME` calls `serve`.

Crash-only: when the broker goes away for good the process ends, and its supervisor starts it anew.
"""

from __future__ import annotations

import contextlib
import logging
import signal
import sys
import time

import eventlet
from kombu import Connection
from nameko.runners import ServiceRunner

from services.kit.bus.app import configuration, named
from services.kit.environment import environment
from services.kit.log_lines import set_up_logging
from services.kit.say_once import SayOnce
from services.kit.web.metrics_page import serve_metrics
from walt.contracts.errors import WaltError

log = logging.getLogger(__name__)

BROKER_RETRY_S = 1.0
REFUSAL_LIMIT = 400


def serve(service: type, *, per_host: bool = False) -> None:
    """Run the service until SIGTERM. per_host: an agent, whose name on the bus has this host's."""
    set_up_logging()
    for noisy in ("kombu", "amqp", "nameko"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    logging.getLogger("nameko.containers").addFilter(shorten_refusal)
    env = environment()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())  # the first process of a container has no default for it
    serve_metrics(env.metrics_port)
    wait_for_broker(env.amqp_uri)
    runner = ServiceRunner(configuration(env))
    runner.add_service(named(service, env.host) if per_host else service)
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


def wait_for_broker(uri: str) -> None:
    """Return once the broker accepts our connection."""
    fault = SayOnce(log, "waiting for the broker: %s", "the broker answers")
    while True:
        try:
            with contextlib.closing(Connection(uri, connect_timeout=5)) as connection:
                connection.connect()
        except Exception as error:
            fault.failed(error)
            time.sleep(BROKER_RETRY_S)
        else:
            fault.succeeded()
            return


def _wait(runner: ServiceRunner) -> None:
    # A signal that arrives while the main greenthread waits in the hub raises EINTR there.
    waiting = eventlet.spawn(runner.wait)
    while True:
        try:
            waiting.wait()
            return
        except InterruptedError:
            continue
