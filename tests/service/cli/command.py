"""The `walt` command as a process, the stand-ins for the services, and the way between them."""

import contextlib
import os
import pty
import select
import subprocess
import sys
import time
from pathlib import Path

from eventlet import patcher

from tests.support.wait import wait_until
from walt.client import Client
from walt.configuration import parse_configuration

ROOT = Path(__file__).parents[3]


class Fake:
    """One stand-in process, restartable."""

    def __init__(self, name, folder, amqp_uri):
        self.argv = [sys.executable, "-m", "tests.service.fake_platform", name, str(folder)]
        self.ready = folder / f"{name}.ready"
        self.env = {**os.environ, "WALT_AMQP_URI": amqp_uri, "PYTHONPATH": str(ROOT)}
        self.process = None

    def start(self):
        self.ready.unlink(missing_ok=True)
        self.process = subprocess.Popen(self.argv, cwd=ROOT, env=self.env)
        wait_until(self.ready.exists, 20)

    def kill(self):
        self.process.kill()
        self.process.wait()


class Walt:
    """The command as a person of that name would run it."""

    def __init__(self, uri, folder):
        config = folder / "client.toml"
        config.write_text(f'amqp_uri = "{uri}"\n')
        self.env = {**os.environ, "WALT_CONFIG": str(config), "PYTHONPATH": str(ROOT)}

    def argv(self, *words):
        return [sys.executable, "-m", "cli", *words]

    def __call__(self, *words, stdin=b"", timeout=30):
        return subprocess.run(
            self.argv(*words), cwd=ROOT, env=self.env, input=stdin, capture_output=True, timeout=timeout, check=False
        )

    def start(self, *words, **options):
        return subprocess.Popen(self.argv(*words), cwd=ROOT, env=self.env, **options)

    @contextlib.contextmanager
    def on_terminal(self, *words):
        """(process, master side of its terminal)"""
        master, slave = pty.openpty()
        process = self.start(*words, stdin=slave, stdout=slave, stderr=slave, start_new_session=True)
        try:
            yield process, master, slave
        finally:
            process.kill()
            process.wait()
            os.close(master)
            os.close(slave)


# A relay runs beside the test, which blocks in select and wait: real threads and sockets, not eventlet's.
threading, sockets = patcher.original("threading"), patcher.original("socket")


class Relay:
    """A way to the broker that can be cut, or get stuck: connections stay and carry nothing."""

    def __init__(self, port):
        self.flowing = threading.Event()
        self.flowing.set()
        self.to = ("127.0.0.1", port)
        self.listener = sockets.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.ends = []
        self.spawn(self.serve)

    def spawn(self, function, *arguments):
        threading.Thread(target=function, args=arguments, daemon=True).start()

    def serve(self):
        with contextlib.suppress(OSError):
            while True:
                near, _ = self.listener.accept()
                far = sockets.create_connection(self.to)
                self.ends += [near, far]
                self.spawn(self.copy, near, far)
                self.spawn(self.copy, far, near)

    def copy(self, source, sink):
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                self.flowing.wait()
                sink.sendall(data)

    def cut(self):
        while self.ends:
            end = self.ends.pop()
            with contextlib.suppress(OSError):
                end.shutdown(sockets.SHUT_RDWR)
            end.close()

    def close(self):
        with contextlib.suppress(OSError):
            self.listener.shutdown(sockets.SHUT_RDWR)
        self.listener.close()
        self.flowing.set()
        self.cut()


def until_connected(process):
    """`walt` is past its start, and asks the platform."""
    descriptors = Path(f"/proc/{process.pid}/fd")

    def has_socket():
        with contextlib.suppress(FileNotFoundError):  # a file of its imports, closed meanwhile
            return any(os.readlink(one).startswith("socket:") for one in descriptors.iterdir())
        return False

    wait_until(has_socket, 15)


def read_until(descriptor, wanted, limit_s=15):
    data, end = b"", time.monotonic() + limit_s
    while wanted not in data:
        ready, _, _ = select.select([descriptor], [], [], max(0, end - time.monotonic()))
        assert ready, f"no {wanted!r} in {data!r}"
        chunk = os.read(descriptor, 65536)
        assert chunk, f"no {wanted!r} in {data!r}"
        data += chunk
    return data


def client_of(uri):
    """To call methods as the command line does."""
    return Client(lambda: parse_configuration(f'amqp_uri = "{uri}"', Path("x")))
