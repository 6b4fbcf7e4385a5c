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

DIE_WITH_US = ("setpriv", "--pdeathsig", "TERM", "--")  # a test run may be killed at any moment
VHOSTS = tuple(f"test{number}" for number in range(40))


class PrivateBroker:
    """Started by `start`, ended by `stop`, after which what is durable is there again, or by `kill`."""

    def __init__(self, folder: Path, accounts: list[broker.Account]) -> None:
        self.folder = folder
        self.place = broker.BrokerPlace(folder, ("127.0.0.1",), *(_free_port() for _ in range(5)), name="walt-test")
        self._programs: list[subprocess.Popen[bytes]] = []
        broker.write(self.place, accounts, VHOSTS)

    @property
    def port(self) -> int:
        return self.place.port

    def start(self) -> None:
        env = broker.environment(self.place)
        with (self.folder / "broker.log").open("a") as log:
            for argv in (["epmd", "-address", "127.0.0.1", "-port", str(self.place.epmd_port)], [broker.SERVER]):
                words = [*DIE_WITH_US, *argv]
                self._programs.append(subprocess.Popen(words, env=env, stdout=log, stderr=log, start_new_session=True))
        self._wait_until_open()

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def _end(self, how: signal.Signals) -> None:
        while self._programs:
            _end(self._programs.pop(), how)

    def _wait_until_open(self, limit_s: float = 60) -> None:
        end = time.monotonic() + limit_s
        while time.monotonic() < end:
            with (
                contextlib.suppress(OSError),
                contextlib.closing(socket.create_connection(("127.0.0.1", self.port), 1)),
            ):
                return
            time.sleep(0.1)
        raise RuntimeError(f"RabbitMQ did not start:\n{(self.folder / 'broker.log').read_text()[-3000:]}")


@contextlib.contextmanager
def private_broker(folder: Path, accounts: list[broker.Account]) -> Iterator[PrivateBroker]:
    """A running broker; each of VHOSTS is empty and open to all accounts."""
    one = PrivateBroker(folder, accounts)
    try:
        one.start()
        yield one
    finally:
        one.kill()


def _free_port() -> int:
    with contextlib.closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _end(child: subprocess.Popen[bytes], how: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, how)
    try:
        child.wait(15)
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()
