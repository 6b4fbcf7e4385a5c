"""What console meets at its edge: users, `nodes` and `bootserver`, machines on the line, and an ssh."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import eventlet
from kombu import Connection, Exchange, Producer, Queue

from services.contracts import console
from services.contracts.errors import NotFound, NotOwner, from_wire
from services.kit.entrypoints import internal

HOST = "lab1"
SERVICE = console.service_on(HOST)
VM_UID = 64901

# A machine as qemu is one: its output is the line's file, its input the line's FIFO, neither opened by itself.
FAKE_QEMU = """
import os, select, sys
given = os.open(sys.argv[1], os.O_RDWR)
log = os.open(sys.argv[2], os.O_WRONLY | os.O_APPEND)
os.setuid(int(sys.argv[3]))
while True:
    ready, _, _ = select.select([0, given], [], [])
    if given in ready:
        os.write(1, os.read(given, 65536))
    if 0 in ready:
        data = os.read(0, 65536)
        if not data:
            break
        while data:
            data = data[os.write(log, data):]
"""


class FakeNodes:
    name = "nodes"
    states = {"vnode1": "booted", "vnode2": "booting"}
    version = 1

    @internal
    def authorize(self, user, name, action):
        if name not in self.states:
            raise NotFound(f"'{name}' is not a node")
        if user != "alice":
            raise NotOwner(f"{name} belongs to alice; {user} may not {action}")
        number = int(name[-1])
        return {
            "id": number,
            "name": name,
            "owner": "alice",
            "host": HOST,
            "ip": "127.0.0.1",
            "state": self.states[name],
            "version": self.version,
        }

    @internal
    def registry_id(self):
        return "r1"

    @internal
    def wanted_on_host(self, host):
        return [wanted(number) for number in range(1, 50)]


def wanted(number: int) -> dict[str, object]:
    return {
        "id": number,
        "name": f"vnode{number}",
        "host": HOST,
        "owner": "alice",
        "power": "on",
        "boot": 1,
        "version": 1,
        "image": "default",
        "ip": "127.0.0.1",
        "cpu_cores": 1,
        "ram_bytes": 1,
        "boot_delay_s": 0,
        "boot_timeout_s": None,
        "boot_retries": 0,
        "interfaces": [],
    }


class FakeBootserver:
    name = "bootserver"
    access = {"ip": "127.0.0.1", "user": "root", "private_key": "KEY\n", "host_key": "ssh-ed25519 AAAA"}

    @internal
    def open_access(self, node_id):
        return self.access


class Machine:
    """A running FAKE_QEMU; `say` makes it write to the line, `heard` is the input it got."""

    def __init__(self, folder: Path) -> None:
        argv = [sys.executable, "-c", FAKE_QEMU, str(folder / "line.in"), str(folder / "line.log"), str(VM_UID)]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(argv, stdin=pipe, stdout=pipe, bufsize=0)
        self.heard = b""
        self._reader = eventlet.spawn(self._read)

    def say(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[self.process.stdin.write(view) :]

    def _read(self) -> None:
        while data := self.process.stdout.read(65536):
            self.heard += data

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        self._reader.kill()
        self.process.stdin.close()
        self.process.stdout.close()


class ConsoleProcess:
    """`python -m services.console`, which can be killed and started again."""

    def __init__(self, env: dict[str, str], log: Path) -> None:
        self.env, self.log = env, log
        self.start()

    def start(self) -> None:
        with self.log.open("ab") as log:
            argv = [sys.executable, "-m", "services.console"]
            self.process = subprocess.Popen(argv, env=self.env, stdout=log, stderr=log)

    def end(self, how: int = signal.SIGTERM) -> None:
        self.process.send_signal(how)
        with eventlet.Timeout(20):
            self.process.wait()


class User:
    """One client, as the CLI is one: a connection, a queue, calls, messages."""

    def __init__(self, uri: str, name: str = "alice") -> None:
        self.name = name
        self.connection = Connection(uri)
        self.channel = self.connection.channel()
        self.producer = Producer(self.channel)
        self.queue = self._declare()
        self.session = ""
        self.got: list[tuple[str, bytes, dict]] = []
        self.received = 0  # bytes
        self._consumer = None

    def _declare(self, exchange: Exchange | None = None) -> str:
        name = f"user.{self.name}.{uuid.uuid4().hex}"
        bound = (
            Queue(name, exchange, name, exclusive=True) if exchange else Queue(name, exclusive=True, no_declare=False)
        )
        bound(self.channel).declare()
        return name

    def call(self, method: str, **arguments):
        exchange = Exchange("nameko-rpc", "topic", no_declare=True)
        replies: list[dict] = []
        name = self._declare(exchange)
        consumer = self.connection.Consumer(
            Queue(name, no_declare=True),
            channel=self.channel,
            callbacks=[lambda body, _: replies.append(body)],
            no_ack=True,
        )
        with consumer:
            self.producer.publish(
                {"args": [], "kwargs": arguments},
                exchange="nameko-rpc",
                routing_key=f"{SERVICE}.{method}",
                reply_to=name,
                correlation_id="1",
                user_id=self.name,
            )
            self.wait(lambda: replies, 15)
        if replies[0]["error"]:
            raise from_wire(replies[0]["error"]["exc_type"], replies[0]["error"]["exc_args"])
        return replies[0]["result"]

    def listen(self) -> None:
        self._consumer = self.connection.Consumer(
            Queue(self.queue, no_declare=True),
            channel=self.channel,
            on_message=self._on_message,
            accept=None,
            no_ack=True,
        )
        self._consumer.consume()

    def open(self, method: str, listen: bool = True, **arguments) -> dict:
        if listen and self._consumer is None:
            self.listen()
        opened = self.call(method, queue=self.queue, **arguments)
        self.session = opened["session"]
        return opened

    def send(self, kind: str, body: bytes = b"", session: str = "", user: str | None = None) -> None:
        self.producer.publish(
            body,
            exchange=console.INPUT_EXCHANGE,
            routing_key=console.input_key(HOST),
            headers={"session": session or self.session, "kind": kind},
            content_type="application/octet-stream",
            content_encoding="binary",
            **({"user_id": user or self.name} if user != "" else {}),
        )

    def send_unreadable(self) -> None:
        """What the reader's library stumbles over."""
        where = {"exchange": console.INPUT_EXCHANGE, "routing_key": console.input_key(HOST), "user_id": self.name}
        self.producer.publish(
            b"x", headers={"compression": "zlib"}, content_type="x", content_encoding="binary", **where
        )

    def _on_message(self, message) -> None:
        if message.headers["session"] == self.session or not self.session:
            self.received += len(message.body)
            body = message.body.encode() if isinstance(message.body, str) else bytes(message.body)  # "" when empty
            self.got.append((message.headers["kind"], body, message.headers))

    def wait(self, condition, limit_s: float = 15) -> None:
        end = time.monotonic() + limit_s
        while not condition():
            left = end - time.monotonic()
            assert left > 0, f"waited {limit_s} s; got {[(k, b[:60]) for k, b, _ in self.got][-8:]}"
            with contextlib.suppress(TimeoutError):
                self.connection.drain_events(timeout=min(left, 0.2))

    def pause(self, seconds: float) -> None:
        """Take what comes in this time."""
        with contextlib.suppress(AssertionError):
            self.wait(lambda: False, seconds)

    def data(self, stream: str | None = None) -> bytes:
        return b"".join(
            body for kind, body, headers in self.got if kind == console.DATA and stream in (None, headers.get("stream"))
        )

    def notices(self) -> list[str]:
        return [body.decode() for kind, body, _ in self.got if kind == console.NOTICE]

    def exit_status(self) -> int | None:
        return next((int(body) for kind, body, _ in self.got if kind == console.EXIT), None)

    def offset(self) -> int:
        return [headers["offset"] for kind, _, headers in self.got if kind == console.DATA][-1]

    def close(self) -> None:
        with contextlib.suppress(Exception):
            self.connection.release()


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rsplit(")", 1)[1].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False
