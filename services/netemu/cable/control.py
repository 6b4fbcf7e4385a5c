"""netemu's client of the cable: one JSON line each way on a unix socket.

{"do": "set", "tap": …, "node_end": …, "bridge_end": …, "owner": …, "up": [the fields of Direction], "down": […]}
{"do": "drop", "tap": …}      {"do": "show", "after": tap} -> the next ports, by name, and whether there are more
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from services.kit.subprocesses import child_environment
from services.netemu.cable.protocol import dump_link, load_link, lock_path, socket_path
from services.netemu.ports.port import helpers
from services.netemu.ports.traffic import CableShare, CableState
from walt.contracts.errors import Failed
from walt.contracts.links import LinkModel
from walt.contracts.netemu import Traffic

PROGRAM = "services.netemu.cable"
START_S = 15.0
ANSWER_S = 5.0
END_S = 1.0
POLL_S = 0.02


class CableClient:
    """The cable of this host: a process of its own, which outlives the process that starts it.

    supervised: a supervisor starts it, and restarts it; here it is only waited for.
    """

    def __init__(self, run_dir: Path, *, supervised: bool = False) -> None:
        self._run_dir = run_dir
        self._supervised = supervised
        self._path = socket_path(run_dir)

    def show(self) -> CableState | None:
        """None when it is not running; Failed when it runs, and does not answer."""
        try:
            page = self._request({"do": "show", "after": ""})
            ports, owners = page["ports"], page.get("owners", {})
            while page.get("more"):  # a cable of the version before sends all in one
                page = self._request({"do": "show", "after": max(page["ports"])})
                ports.update(page["ports"])
        except (FileNotFoundError, ConnectionRefusedError):
            return None
        except OSError as error:
            if self._has_ended():
                return None
            raise Failed(f"the cable does not answer ({error})") from None
        return CableState(
            page["pid"],
            page["realtime"],
            page["overhead_us"],
            {tap: load_link(port) for tap, port in ports.items()},
            {tap: Traffic(*port["up_counters"]) for tap, port in ports.items()},
            {tap: Traffic(*port["down_counters"]) for tap, port in ports.items()},
            {tap: port["delay_us"] for tap, port in ports.items() if port["delay_us"] is not None},
            page["started_ns"],
            {owner: CableShare(**share) for owner, share in owners.items()},
            page.get("compiled", False),  # a cable of the version before is interpreted
        )

    def _has_ended(self) -> bool:
        """Also when it is about to: it hangs up first."""
        with contextlib.suppress(FileNotFoundError), open(lock_path(self._run_dir), "rb") as lock:
            for _ in range(int(END_S / POLL_S)):
                try:
                    fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
                except BlockingIOError:
                    time.sleep(POLL_S)
                else:
                    return True
            return False
        return True

    def set_port(self, tap: str, link: LinkModel, owner: str) -> None:
        ends = {role: name for role, name in helpers(tap).items() if role != "ifb"}
        try:
            reply = self._request({"do": "set", "tap": tap, "owner": owner, **ends, **dump_link(link)})
        except OSError as error:
            raise Failed(f"the cable does not answer ({error})") from None
        if "error" in reply:
            raise Failed(f"the cable cannot take {tap}: {reply['error']}")

    def drop_port(self, tap: str) -> None:
        with contextlib.suppress(OSError):
            self._request({"do": "drop", "tap": tap})

    def start(self) -> None:
        """Start it unless it is running; return once it answers."""
        if self.show() is not None:
            return
        if self._supervised:
            _wait_until(lambda: self.show() is not None, f"no cable (`python -m {PROGRAM}`) answers on {self._path}")
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        argv = [sys.executable, "-m", PROGRAM, str(self._run_dir)]
        with open(self._path.with_suffix(".log"), "ab") as log:
            process = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                close_fds=True,
                env=child_environment(),
            )
        _wait_until(lambda: self.show() is not None or process.poll() is not None, "the cable does not start")
        if process.poll() is not None and self.show() is None:
            raise Failed(f"the cable ended with status {process.returncode}; see {self._path.with_suffix('.log')}")

    def _request(self, request: dict[str, Any]) -> dict[str, Any]:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(ANSWER_S)
            connection.connect(str(self._path))
            connection.sendall(json.dumps(request).encode() + b"\n")
            with connection.makefile("rb") as answer:
                line = answer.readline()
        if not line.endswith(b"\n"):  # it may have ended in the middle of its reply
            raise ConnectionResetError("the cable hung up")
        reply: dict[str, Any] = json.loads(line)
        return reply


def _wait_until(condition: Callable[[], bool], complaint: str) -> None:
    deadline = time.monotonic() + START_S
    while not condition():
        if time.monotonic() > deadline:
            raise Failed(f"{complaint} within {START_S:g} s")
        time.sleep(POLL_S)
