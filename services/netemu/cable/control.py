"""What netemu says to the cable: one JSON line each way on a unix socket.

{"do": "set", "tap": …, "node_end": …, "bridge_end": …, "up": [the fields of Direction], "down": […]}
{"do": "drop", "tap": …}      {"do": "show"} -> CableState      {"do": "stop"}
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from services.contracts.errors import Failed
from services.contracts.links import LinkModel
from services.contracts.netemu import Traffic
from services.netemu.cable.words import link_of, link_words, socket_path
from services.netemu.ports import helpers
from services.netemu.traffic import CableState

PROGRAM = "services.netemu.cable"
START_S = 15.0
ANSWER_S = 5.0


class Cable:
    """The cable of this host, as a process of its own that outlives its starter.

    supervised: somebody else starts it, and again when it has ended; here it is only waited for.
    """

    def __init__(self, run_dir: Path, *, supervised: bool = False) -> None:
        self._run_dir = run_dir
        self._supervised = supervised
        self._path = socket_path(run_dir)

    def show(self) -> CableState | None:
        """None when it does not run."""
        try:
            reply = self._ask({"do": "show"})
        except OSError:
            return None
        ports = reply["ports"]
        return CableState(
            reply["pid"],
            reply["realtime"],
            reply["overhead_us"],
            {tap: link_of(port) for tap, port in ports.items()},
            {tap: Traffic(*port["up_counters"]) for tap, port in ports.items()},
            {tap: Traffic(*port["down_counters"]) for tap, port in ports.items()},
            {tap: port["delay_us"] for tap, port in ports.items() if port["delay_us"] is not None},
            reply["started_ns"],
        )

    def set_port(self, tap: str, link: LinkModel) -> None:
        ends = {role: name for role, name in helpers(tap).items() if role != "ifb"}
        try:
            reply = self._ask({"do": "set", "tap": tap, **ends, **link_words(link)})
        except OSError as error:
            raise Failed(f"the cable does not answer ({error})") from None
        if "error" in reply:
            raise Failed(f"the cable cannot take {tap}: {reply['error']}")

    def drop_port(self, tap: str) -> None:
        with contextlib.suppress(OSError):
            self._ask({"do": "drop", "tap": tap})

    def stop(self) -> None:
        """End it, if it runs; returns once it is gone."""
        state = self.show()
        if state is None:
            return
        with contextlib.suppress(OSError):
            self._ask({"do": "stop"})
        _wait(lambda: not Path(f"/proc/{state.pid}").exists() or _is_zombie(state.pid), "the cable does not end")

    def start(self) -> None:
        """Start it unless it runs; returns once it answers."""
        if self.show() is not None:
            return
        if self._supervised:
            _wait(lambda: self.show() is not None, f"no cable (`python -m {PROGRAM}`) answers on {self._path}")
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        argv = [sys.executable, "-m", PROGRAM, str(self._run_dir)]
        with open(self._path.with_suffix(".log"), "ab") as log:
            process = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, close_fds=True
            )
        _wait(lambda: self.show() is not None or process.poll() is not None, "the cable does not start")
        if process.poll() is not None and self.show() is None:
            raise Failed(f"the cable ended with status {process.returncode}; see {self._path.with_suffix('.log')}")

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(ANSWER_S)
            connection.connect(str(self._path))
            connection.sendall(json.dumps(request).encode() + b"\n")
            with connection.makefile("rb") as answer:
                line = answer.readline()
        if not line.endswith(b"\n"):  # or it ended in the middle of its answer
            raise ConnectionResetError("the cable hung up")
        reply: dict[str, Any] = json.loads(line)
        return reply


def _wait(condition: Any, complaint: str) -> None:
    deadline = time.monotonic() + START_S
    while not condition():
        if time.monotonic() > deadline:
            raise Failed(f"{complaint} within {START_S:g} s")
        time.sleep(0.02)


def _is_zombie(pid: int) -> bool:
    """Ended, and not yet collected by the process that started it."""
    try:
        return os.waitpid(pid, os.WNOHANG)[0] == pid
    except ChildProcessError:
        return False
