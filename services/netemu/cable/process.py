"""The cable process: its priority, its control socket, its end.

It runs without eventlet, at real-time priority where the host allows it. There is one for all ports of a host.
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
from bisect import bisect_right
from pathlib import Path
from typing import Any

from services.netemu.cable.answering import Answering
from services.netemu.cable.lanes import CablePort, Lane, OwnerLanes
from services.netemu.cable.protocol import dump_link, load_link, lock_path, socket_path, traces_folder
from services.netemu.cable.switch import Switch
from services.netemu.cable.trace import TraceFiles

REALTIME_PRIORITY = 10
_PR_SET_TIMERSLACK = 29
PORTS_PER_PAGE = 32
MAX_REALTIME_US = 2_000_000  # of processor time without a pause; fairness.py pauses far sooner


class CableProcess:
    """The switch and its control socket. is_compiled: its loop is machine code."""

    def __init__(self, run_dir: Path, is_compiled: bool = False) -> None:
        self._is_compiled = is_compiled
        self.switch = Switch(TraceFiles(traces_folder(run_dir)))
        self._started_ns = time.monotonic_ns()
        self.realtime = become_realtime()
        if self.realtime:
            limit_realtime()
        self._answering = Answering(self.switch, _listen(run_dir), self._answer)

    def run(self) -> None:
        gc.freeze()
        while True:
            self.switch.run_once()

    def _answer(self, text: bytes) -> bytes:
        return json.dumps(self._reply(text)).encode() + b"\n"

    def _reply(self, text: bytes) -> dict[str, Any]:
        try:
            request = json.loads(text)
            match request["do"]:
                case "show":
                    return self._show(request.get("after"))
                case "set":
                    ends = request["node_end"], request["bridge_end"]
                    # a netemu of the version before names no owner
                    self.switch.set_port(request["tap"], *ends, load_link(request), str(request.get("owner", "")))
                case "drop":
                    self.switch.drop_port(request["tap"])
        except OSError as error:
            return {"error": error.strerror}
        except (ValueError, KeyError, TypeError) as error:
            return {"error": repr(error)}
        return {}

    def _show(self, after: str | None) -> dict[str, Any]:
        """after: the last port of the page before, '' for the first page; frames wait while a page is made. None: all
        ports, for a netemu of the version before."""
        taps = sorted(self.switch.ports)
        if after is not None:
            first = bisect_right(taps, after)
            taps = taps[first : first + PORTS_PER_PAGE]
        return {
            "pid": os.getpid(),
            "started_ns": self._started_ns,
            "realtime": self.realtime,
            "compiled": self._is_compiled,
            "overhead_us": self.switch.overhead_ns / 1000,
            "owners": {} if after else {owner: self._dump_owner(one) for owner, one in self.switch.accounts.items()},
            "ports": {tap: _dump_port(self.switch.ports[tap]) for tap in taps},
            "more": len(taps) == PORTS_PER_PAGE and after is not None,
        }

    def _dump_owner(self, account: OwnerLanes) -> dict[str, Any]:
        share = account.share
        age_ns = time.monotonic_ns() - share.limited_at_ns
        return {
            "owner": share.owner,
            "queued_bytes": share.queued_bytes,
            "dropped": share.dropped,
            "held_s": share.held_ns / 1e9,
            "limited_ago_s": age_ns / 1e9 if share.limited_at_ns else None,
        }


def _dump_port(port: CablePort) -> dict[str, Any]:
    delay = port.up.wire.delay
    return {
        **dump_link(port.link),
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
        # A cgroup without real-time runtime refuses it in spite of CAP_SYS_NICE; a high priority halves the lateness.
        with contextlib.suppress(PermissionError):
            os.setpriority(os.PRIO_PROCESS, 0, -20)
        print("no real-time priority: frames may be late on a busy host (SCHED_FIFO needs CAP_SYS_NICE)", flush=True)
        return False
    return True


def limit_realtime() -> None:
    """A loop that never waits, by a fault of ours, must not keep a core for good: it goes on as an ordinary process."""

    def step_down(*_: object) -> None:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
        print(f"no pause for {MAX_REALTIME_US / 1e6:g} s: the real-time priority is given up", flush=True)

    signal.signal(signal.SIGXCPU, step_down)
    _, hard_limit = resource.getrlimit(resource.RLIMIT_RTTIME)
    resource.setrlimit(resource.RLIMIT_RTTIME, (MAX_REALTIME_US, hard_limit))


def _raise_open_files_limit() -> None:
    """Each port needs two descriptors: hundreds of ports need more than the default limit."""
    _, hard_limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard_limit, hard_limit))


def _listen(run_dir: Path) -> socket.socket:
    """The control socket. The lock beside it makes sure that a host has one cable only."""
    path = socket_path(run_dir)
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = os.open(lock_path(run_dir), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise SystemExit("another cable serves this folder") from None
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(path))
    path.chmod(0o600)
    listener.listen(64)
    return listener


def serve(run_dir: Path, is_compiled: bool) -> None:
    """Until a signal ends it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())  # the first process of a container has no default for it
    _raise_open_files_limit()
    process = CableProcess(run_dir, is_compiled)
    try:
        process.run()
    finally:
        socket_path(run_dir).unlink(missing_ok=True)
