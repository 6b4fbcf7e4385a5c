"""What console meets at its edge: users, `nodes` and `bootserver`, VMs on the line, and an ssh client."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
import urllib.request
import uuid
from pathlib import Path

from kombu import Producer, Queue

from services.kit import tasks
from tests.support.amqp_user import AmqpUser
from tests.support.wait import wait_until
from walt.contracts import console
from walt.contracts.errors import NotFound

HOST = "lab1"
SERVICE = console.service_on(HOST)
VM_UID = 2013265921  # of a VM: it gets the files of its line opened

# Like qemu: its output is the recording of the line, its input the FIFO; it opens neither by itself.
FAKE_QEMU = """
import os, select, sys
input_ = os.open(sys.argv[1], os.O_RDWR)
log = os.open(sys.argv[2], os.O_WRONLY | os.O_APPEND)
os.setuid(int(sys.argv[3]))
os.write(1, b"!")
while True:
    ready, _, _ = select.select([0, input_], [], [])
    if input_ in ready:
        os.write(1, os.read(input_, 65536))
    if 0 in ready:
        data = os.read(0, 65536)
        if not data:
            break
        while data:
            data = data[os.write(log, data):]
"""

# Like ssh: options, host, --, command. Runs the command here, and records its arguments unless it is a hangup.
FAKE_SSH = r"""#!/bin/sh
folder=$(dirname "$(echo "$*" | sed 's/.*-i \([^ ]*\).*/\1/')")
seen="$folder $$ $(stat -c %a "$folder/key") $(cat "$folder/known_hosts")"
case "$*" in *"kill -HUP"*) ;; *) echo "$seen" > "$0.new"; mv "$0.new" "$0.seen" ;; esac
while [ $# -gt 0 ] && [ "$1" != "--" ]; do shift; done
[ "$1" = "--" ] && shift
case "$*" in *unreachable) echo "connect to host: no route" >> "$folder/messages"; exit 255 ;; esac
if [ $# -eq 0 ]; then exec sh -i; fi
exec sh -c "$*"
"""

# `python -m services.console` that closes sessions sooner.
HASTY_CONSOLE = """
import services.kit.monkey_patch
import runpy
from services.console import app
from walt.contracts import console
console.SESSION_LEASE_S, app.REAP_EVERY_S = 2, 0.2
runpy.run_module("services.console", run_name="__main__")
"""


class FakeVm:
    """A running FAKE_QEMU; `print` makes it write to the line, `input` is what it has read."""

    def __init__(self, folder: Path) -> None:
        argv = [sys.executable, "-c", FAKE_QEMU, str(folder / "line.in"), str(folder / "line.log"), str(VM_UID)]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(argv, stdin=pipe, stdout=pipe, bufsize=0)
        assert self.process.stdout.read(1) == b"!", "it has opened its files"
        self.input = b""
        self._reader = tasks.spawn(self._read)

    def print(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[self.process.stdin.write(view) :]

    def _read(self) -> None:
        while data := self.process.stdout.read(65536):
            self.input += data

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        self._reader.kill()
        self.process.stdin.close()
        self.process.stdout.close()


class ConsoleProcess:
    """`python -m services.console`, which can be killed and started again."""

    def __init__(self, env: dict[str, str], log: Path, program: tuple[str, ...] = ("-m", "services.console")) -> None:
        self.env, self.log = env, log
        self._argv = [sys.executable, *program]
        self.start()

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(self._argv, env=self.env, stdout=log, stderr=log)

    def wait_until_ready(self) -> None:
        """Until it answers and receives input."""
        services = AmqpUser(self.env["WALT_AMQP_URI"])

        def is_ready() -> bool:
            assert self.process.poll() is None, self.log.read_text()
            with contextlib.suppress(TimeoutError):
                checks = services.reply(f"{SERVICE}.diagnose", user_id=services.name, wait_s=1)["result"]
                return all(check["status"] == "ok" for check in checks if check["subject"] == "console input")
            return False

        wait_until(is_ready, what=self.log.read_text)
        services.close()

    def end(self, signal_number: int = signal.SIGTERM) -> None:
        self.process.send_signal(signal_number)
        with tasks.Timeout(20):
            self.process.wait()

    def metrics(self) -> dict[str, float]:
        """Each sample by its name and labels, as Prometheus reads it."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.env['WALT_METRICS_PORT']}/metrics", timeout=5) as page:
            lines = page.read().decode().splitlines()
        return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines if line[0] != "#")}

    def dropped_messages(self) -> float:
        return self.metrics()["walt_console_dropped_messages_total"]


class SessionUser(AmqpUser):
    """A client as the CLI is one: a connection, a queue, calls, and one session with its messages."""

    def __init__(self, uri: str) -> None:
        super().__init__(uri)
        self.channel = self.connection.channel()
        self.producer = Producer(self.channel)
        self.queue = f"user.{self.name}.{uuid.uuid4().hex}"
        Queue(self.queue, exclusive=True)(self.channel).declare()
        self.session = ""
        self.input_key = console.input_key(HOST)
        self.received: list[tuple[str, bytes, dict]] = []
        self._consumer = None

    def request(self, method: str, **arguments):
        return self.call(f"{SERVICE}.{method}", **arguments)

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
        count, self.session = len(self.received), ""  # until the reply comes, output may be of this session or the last
        opened = self.request(method, queue=self.queue, **arguments)
        self.session, self.sent_bytes = opened["session"], 0
        self.input_key = opened["input_key"]
        self.received[count:] = [one for one in self.received[count:] if one[2]["session"] == self.session]
        return opened

    def send(self, kind: str, body: bytes = b"", session: str = "", user: str | None = None) -> None:
        if kind == console.DATA and not session:
            self.sent_bytes += len(body)
        self.producer.publish(
            body,
            exchange=console.INPUT_EXCHANGE,
            routing_key=self.input_key,
            headers={"session": session or self.session, "kind": kind},
            content_type="application/octet-stream",
            content_encoding="binary",
            **({"user_id": user or self.name} if user != "" else {}),
        )

    def send_unreadable(self) -> None:
        """A message that the library of the reader cannot decode."""
        self.producer.publish(
            b"x",
            exchange=console.INPUT_EXCHANGE,
            routing_key=self.input_key,
            user_id=self.name,
            headers={"compression": "zlib"},
            content_type="x",
            content_encoding="binary",
        )

    def send_until_acknowledged(self) -> None:
        """Bulk, until console has taken all of it, and so everything that was sent before."""
        self.send(console.DATA, bytes(console.TAKEN_STEP))
        self.wait(lambda: str(self.sent_bytes).encode() in self.bodies(console.TAKEN))

    def _on_message(self, message) -> None:
        if message.headers["session"] == self.session or not self.session:
            body = message.body.encode() if isinstance(message.body, str) else bytes(message.body)  # "" when empty
            self.received.append((message.headers["kind"], body, message.headers))

    def wait(self, condition, timeout_s: float = 15) -> None:
        """Receive messages until the condition is true."""
        end = time.monotonic() + timeout_s
        while not condition():
            left = end - time.monotonic()
            assert left > 0, f"waited {timeout_s} s; got {[(k, b[:60]) for k, b, _ in self.received][-8:]}"
            with contextlib.suppress(TimeoutError):
                self.connection.drain_events(timeout=min(left, 0.2))

    def wait_for_exit(self, timeout_s: float = 15) -> int:
        self.wait(lambda: self.exit_status() is not None, timeout_s)
        status = self.exit_status()
        assert status is not None
        return status

    @property
    def received_bytes(self) -> int:
        return sum(len(body) for _, body, _ in self.received)

    def bodies(self, kind: str) -> list[bytes]:
        return [body for one, body, _ in self.received if one == kind]

    def data(self, stream: str | None = None) -> bytes:
        return b"".join(
            body
            for kind, body, headers in self.received
            if kind == console.DATA and stream in (None, headers.get("stream"))
        )

    def notices(self) -> list[str]:
        return [body.decode() for body in self.bodies(console.NOTICE)]

    def exit_status(self) -> int | None:
        return next((int(body) for body in self.bodies(console.EXIT)), None)

    def offset(self) -> int:
        return [headers["offset"] for kind, _, headers in self.received if kind == console.DATA][-1]

    def has_session(self) -> bool:
        try:
            self.request("keep_session", session=self.session)
        except NotFound:
            return False
        return True


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rsplit(")", 1)[1].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False
