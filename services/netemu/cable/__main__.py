"""The cable process: `python -m services.netemu.cable RUN_DIR`, started by netemu or by a supervisor, ended by a signal.

Not under eventlet; at real-time priority where the host allows it. One per host: its memory does not grow with the ports.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import gc
import json
import os
import resource
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Any

from services.netemu.cable.switch import CablePort, Lane, Switch
from services.netemu.cable.words import link_of, link_words, socket_path

REALTIME_PRIORITY = 10
_PR_SET_TIMERSLACK = 29
MAX_REQUEST_BYTES = 65536


class Process:
    """The switch and its control socket."""

    def __init__(self, path: Path) -> None:
        self.switch = Switch()
        self.running = True
        self._started_ns = time.monotonic_ns()
        self.realtime = become_realtime()
        self._listener = _listen(path)
        self._partial: dict[int, bytes] = {}
        self.switch.watch(self._listener.fileno(), self._accept)

    def run(self) -> None:
        gc.freeze()
        while self.running:
            self.switch.turn()

    def _accept(self) -> None:
        with contextlib.suppress(BlockingIOError):
            client, _ = self._listener.accept()
            client.setblocking(False)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * 1024 * 1024)
            self._partial[client.fileno()] = b""
            self.switch.watch(client.fileno(), lambda: self._read(client))

    def _read(self, client: socket.socket) -> None:
        data = b""
        with contextlib.suppress(OSError):
            data = client.recv(65536)
        text = self._partial[client.fileno()] + data
        if data and b"\n" not in text and len(text) < MAX_REQUEST_BYTES:
            self._partial[client.fileno()] = text
            return
        if b"\n" in text:
            with contextlib.suppress(OSError):  # a client that is gone needs no answer
                client.sendall(json.dumps(self._answer(text)).encode() + b"\n")
        del self._partial[client.fileno()]
        self.switch.forget(client.fileno())
        client.close()

    def _answer(self, text: bytes) -> dict[str, Any]:
        try:
            request = json.loads(text)
            match request["do"]:
                case "show":
                    return self._show()
                case "set":
                    ends = request["node_end"], request["bridge_end"]
                    self.switch.set_port(request["tap"], *ends, link_of(request))
                case "drop":
                    self.switch.drop_port(request["tap"])
                case "stop":
                    self.running = False
        except OSError as error:
            return {"error": error.strerror}
        except (ValueError, KeyError, TypeError) as error:
            return {"error": repr(error)}
        return {}

    def _show(self) -> dict[str, Any]:
        return {
            "pid": os.getpid(),
            "started_ns": self._started_ns,
            "realtime": self.realtime,
            "overhead_us": self.switch.overhead_ns / 1000,
            "ports": {tap: _port_words(port) for tap, port in self.switch.ports.items()},
        }


def _port_words(port: CablePort) -> dict[str, Any]:
    delay = port.up.wire.delay
    return {
        **link_words(port.link),
        "up_counters": _counters(port.up),
        "down_counters": _counters(port.down),
        "delay_us": round(delay.mean_ns / 1000) if delay.seen else None,
    }


def _counters(lane: Lane) -> list[int]:
    wire = lane.wire
    return [wire.frames, wire.bytes, wire.dropped, wire.late]


def become_realtime() -> bool:
    ctypes.CDLL(None).prctl(_PR_SET_TIMERSLACK, 1, 0, 0, 0)
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(REALTIME_PRIORITY))
    except PermissionError:
        # A cgroup without real-time runtime refuses it in spite of CAP_SYS_NICE; the next best thing halves the harm.
        with contextlib.suppress(PermissionError):
            os.setpriority(os.PRIO_PROCESS, 0, -20)
        print("no real-time priority: frames may be late on a busy host (SCHED_FIFO wants CAP_SYS_NICE)", flush=True)
        return False
    return True


def _open_all_it_may() -> None:
    """Two taps for each port: hundreds of ports need more than a process gets without asking."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _listen(path: Path) -> socket.socket:
    """The control socket; whoever holds the lock beside it is the cable of this host."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = os.open(path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise SystemExit("another cable serves this folder") from None
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(path))
    path.chmod(0o600)
    listener.listen(64)
    listener.setblocking(False)
    return listener


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(
        signal.SIGTERM, lambda *_: sys.exit()
    )  # as the first process of a container it would not end by itself
    _open_all_it_may()
    path = socket_path(Path(sys.argv[1]))
    process = Process(path)
    try:
        process.run()
    finally:
        path.unlink(missing_ok=True)


if __name__ == "__main__":
    main()
