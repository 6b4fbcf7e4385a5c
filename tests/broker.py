"""A real RabbitMQ for the service tests: on loopback, beside any other, gone at the end."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from deploy.local import broker

VHOSTS = tuple(f"test{number}" for number in range(40))


def _free_port() -> int:
    with contextlib.closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def private_broker(folder: Path, accounts: list[broker.Account]) -> Iterator[int]:
    """Yields the AMQP port on 127.0.0.1; each of VHOSTS is empty and open to all accounts."""
    place = broker.BrokerPlace(folder, ("127.0.0.1",), _free_port(), _free_port(), _free_port(), name="walt-test")
    broker.write(place, accounts, VHOSTS)
    env = broker.environment(place)
    with contextlib.ExitStack() as stack:
        log = stack.enter_context((folder / "broker.log").open("w"))
        for argv in (["epmd", "-address", "127.0.0.1", "-port", str(place.epmd_port)], [broker.SERVER]):
            child = subprocess.Popen(argv, env=env, stdout=log, stderr=log, start_new_session=True)
            stack.callback(_end, child)
        _wait_until_open(place.port, folder / "broker.log")
        yield place.port


def _end(child: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGTERM)
    try:
        child.wait(15)
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()


def _wait_until_open(port: int, log: Path, limit_s: float = 60) -> None:
    end = time.monotonic() + limit_s
    while time.monotonic() < end:
        with contextlib.suppress(OSError), contextlib.closing(socket.create_connection(("127.0.0.1", port), 1)):
            return
        time.sleep(0.1)
    raise RuntimeError(f"RabbitMQ did not start:\n{log.read_text()[-3000:]}")
