"""Sessions of the stand-in for console (fake_platform.py): lines, shells and captures."""

import subprocess
import sys
import uuid
from pathlib import Path

import eventlet
from kombu import Connection, Producer

from services.kit.environment import environment
from walt.contracts import console as contract
from walt.contracts.errors import InvalidRequest

FOLDER = Path(sys.argv[2])
PIECE_S = 0.02

sessions = {}


class Session:
    def __init__(self, queue):
        self.id = uuid.uuid4().hex
        self.queue = queue
        self.input = eventlet.Queue()
        sessions[self.id] = self
        (FOLDER / f"opened-{self.id}").touch()

    def send(self, kind, body=b"", **headers):
        with Connection(environment().amqp_uri) as connection:
            Producer(connection.channel()).publish(
                body,
                routing_key=self.queue,
                headers={"session": self.id, "kind": kind, **headers},
                content_type="application/octet-stream",
                content_encoding="binary",
            )


class Line(Session):
    def __init__(self, queue, node, offset, follow):
        super().__init__(queue)
        self.file, self.at, self.follow = FOLDER / f"{node}.line", offset, follow
        eventlet.spawn(self.show)
        eventlet.spawn(self.type)

    def show(self):
        while True:
            fresh = self.file.read_bytes()[self.at :] if self.file.exists() else b""
            if fresh:
                self.at += len(fresh)
                self.send(contract.DATA, fresh, offset=self.at)
            if not self.follow:
                self.send(contract.EXIT, b"0")
                return
            eventlet.sleep(0.05)

    def type(self):
        taken = 0
        while True:
            kind, body = self.input.get()
            if kind == contract.DATA:
                with self.file.open("ab") as file:
                    file.write(b"<" + body + b">")
                taken += len(body)
                self.send(contract.TAKEN, str(taken).encode())


class Shell(Session):
    """A command is run once all input is there; a terminal only shows what it is told."""

    def __init__(self, queue, command, terminal):
        super().__init__(queue)
        eventlet.spawn(self.on_terminal if terminal else self.on_pipe, terminal or command)

    def on_pipe(self, command):
        data, taken = b"", 0
        while True:
            kind, body = self.input.get()
            if kind == contract.END_OF_INPUT:
                break
            data += body
            if len(data) - taken >= contract.TAKEN_STEP:
                taken = len(data)
                self.send(contract.TAKEN, str(taken).encode())
        with (FOLDER / "input").open("wb") as file:
            file.write(data)
        with (FOLDER / "input").open("rb") as file:
            done = subprocess.run(["sh", "-c", " ".join(command or ["cat"])], stdin=file, capture_output=True)
        for stream, output in (("out", done.stdout), ("err", done.stderr)):
            for start in range(0, len(output), 50_000):
                self.send(contract.DATA, output[start : start + 50_000], stream=stream)
        self.send(contract.EXIT, str(done.returncode).encode())

    def on_terminal(self, terminal):
        self.send(contract.DATA, f"window {terminal['rows']}x{terminal['columns']}\r\n".encode())
        while True:
            kind, body = self.input.get()
            if kind == contract.DATA and body == b"\x04":
                self.send(contract.EXIT, b"7")
                return
            self.send(contract.DATA, b"%s %s\r\n" % (kind.encode(), body))


class Capture(Session):
    """A piece that tells what was asked, then more and more, up to `count`. "wrong" is no filter."""

    def __init__(self, queue, network, expression, count):
        if expression == "wrong":
            raise InvalidRequest("filter 'wrong': syntax error; allowed: a filter of tcpdump")
        super().__init__(queue)
        eventlet.spawn(self.run, f"{network} {expression} {count}\n".encode(), count)

    def run(self, first, count):
        self.send(contract.DATA, first)
        sent = 0
        while self.input.empty() and not 0 < count <= sent:
            self.send(contract.DATA, b"piece %d\n" % sent)
            sent += 1
            eventlet.sleep(PIECE_S)
        self.send(contract.DATA, b"the end\n")
        self.send(contract.NOTICE, f"{sent} frames captured, 0 not captured".encode())
        self.send(contract.EXIT, b"0")
