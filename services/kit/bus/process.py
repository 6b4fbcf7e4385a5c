"""The life of a service process: wait for the broker, serve, end. `python -m services.NAME` calls `serve`.

Crash-only: when the broker goes away for good the process ends, and its supervisor starts it anew.
"""

from __future__ import annotations

import logging
import signal
import sys

import eventlet
from nameko.runners import ServiceRunner

from services.kit.bus.app import configuration, named
from services.kit.bus.name_lock import NameLock
from services.kit.environment import environment
from services.kit.log_lines import set_up_logging
from services.kit.web.metrics_page import serve_metrics
from walt.contracts.errors import WaltError

log = logging.getLogger(__name__)

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
    if per_host:
        service = named(service, env.host)
    name = NameLock(env.amqp_uri, service.name)  # type: ignore[attr-defined]
    name.acquire()
    runner = ServiceRunner(configuration(env))
    runner.add_service(service)
    signal.signal(signal.SIGTERM, lambda *_: eventlet.spawn_n(runner.stop))
    signal.signal(signal.SIGINT, lambda *_: eventlet.spawn_n(runner.stop))
    eventlet.spawn_n(name.keep, runner.stop)
    runner.start()
    log.info("serving")
    _wait(runner)


def shorten_refusal(record: logging.LogRecord) -> bool:
    """A refused call is told to its caller; here it is worth one line, however much the caller has sent."""
    if record.exc_info and isinstance(record.exc_info[1], WaltError):
        record.msg, record.args, record.exc_info = record.getMessage()[:REFUSAL_LIMIT], (), None
    return True


def _wait(runner: ServiceRunner) -> None:
    # A signal that arrives while the main greenthread waits in the hub raises EINTR there.
    waiting = eventlet.spawn(runner.wait)
    while True:
        try:
            waiting.wait()
            return
        except InterruptedError:
            continue
