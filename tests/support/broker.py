"""A real RabbitMQ for the service tests: on loopback, beside any other, gone at the end."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

from deploy.broker import rabbitmq
from tests.support.ports import free_port
from tests.support.wait import wait_until

DIE_WITH_US = ("setpriv", "--pdeathsig", "TERM", "--")  # a test run may be killed at any moment
VHOSTS = tuple(f"test{number}" for number in range(40))


class PrivateBroker:
    """Started by `start`, ended by `stop`, after which what is durable is there again, or by `kill`."""

    def __init__(self, folder: Path, accounts: list[rabbitmq.RabbitmqUser]) -> None:
        self.folder = folder
        self.settings = rabbitmq.BrokerSettings(
            folder,
            ("127.0.0.1",),
            port=free_port(),
            management_port=free_port(),
            metrics_port=free_port(),
            epmd_port=free_port(),
            distribution_port=free_port(),
            name="walt-test",
        )
        self._programs: list[subprocess.Popen[bytes]] = []
        rabbitmq.write(self.settings, accounts, VHOSTS)

    @property
    def port(self) -> int:
        return self.settings.port

    def start(self) -> None:
        env = rabbitmq.environment(self.settings)
        with (self.folder / "broker.log").open("a") as log:
            for argv in (["epmd", "-address", "127.0.0.1", "-port", str(self.settings.epmd_port)], [rabbitmq.SERVER]):
                program = subprocess.Popen(
                    [*DIE_WITH_US, *argv], env=env, stdout=log, stderr=log, start_new_session=True
                )
                self._programs.append(program)
        wait_until(self._is_open, 60, (self.folder / "broker.log").read_text)

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def _end(self, how: signal.Signals) -> None:
        while self._programs:
            _end(self._programs.pop(), how)

    def _is_open(self) -> bool:
        with contextlib.suppress(OSError), contextlib.closing(socket.create_connection(("127.0.0.1", self.port), 1)):
            return True
        return False


@contextlib.contextmanager
def private_broker(folder: Path, accounts: list[rabbitmq.RabbitmqUser]) -> Iterator[PrivateBroker]:
    """A running broker; each of VHOSTS is empty and open to all accounts."""
    one = PrivateBroker(folder, accounts)
    try:
        one.start()
        yield one
    finally:
        one.kill()


def _end(child: subprocess.Popen[bytes], how: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, how)
    try:
        child.wait(15)
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()
