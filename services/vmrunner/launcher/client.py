"""vmrunner's end of the launcher's unix socket. A method for each verb of `protocol.py`."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import socket
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from services.kit.unix_server import peer_uid
from services.vmrunner.launcher.protocol import (
    AWAY,
    REFUSED,
    WAIT_STEP_S,
    Nothing,
    OneVm,
    SignalVm,
    StartTrial,
    StartVm,
    WaitTrial,
    WeighVm,
)
from walt.contracts import serialization
from walt.contracts.errors import Failed

log = logging.getLogger(__name__)

ANSWER_LIMIT_S = 60.0  # beside the time that a verb waits itself


class LauncherRefused(Failed):
    """The Docker Engine answers, and does not do it."""


class LauncherAway(Failed):
    """No launcher, or no Docker Engine behind it, answers."""


class VmLauncher:
    def __init__(self, path: Path) -> None:
        self._path = path

    def image_id(self) -> str:
        return str(self._call("image_id", Nothing()))

    def list_vms(self) -> list[int]:
        return [int(node_id) for node_id in self._call("list_vms", Nothing())]

    def start_vm(self, vm: StartVm) -> int:
        return int(self._call("start_vm", vm))

    def find_vm(self, node_id: int) -> int | None:
        pid = self._call("find_vm", OneVm(node_id))
        return None if pid is None else int(pid)

    def usage(self, node_id: int) -> tuple[float, int] | None:
        """Seconds of processors, bytes of memory."""
        found = self._call("usage", OneVm(node_id))
        return None if found is None else (float(found[0]), int(found[1]))

    def signal_vm(self, node_id: int, number: int) -> None:
        self._call("signal_vm", SignalVm(node_id, number))

    def weigh_vm(self, node_id: int, cpu_shares: int) -> None:
        self._call("weigh_vm", WeighVm(node_id, cpu_shares))

    def wait_vm(self, node_id: int) -> bool:
        """Whether it is gone; at the latest after WAIT_STEP_S."""
        return bool(self._call("wait_vm", OneVm(node_id), WAIT_STEP_S))

    def remove_vm(self, node_id: int) -> None:
        self._call("remove_vm", OneVm(node_id))

    def start_trial(self, trial: StartTrial) -> int:
        return int(self._call("start_trial", trial))

    def wait_trial(self, limit_s: float) -> int | None:
        status = self._call("wait_trial", WaitTrial(limit_s), limit_s)
        return None if status is None else int(status)

    def remove_trial(self) -> None:
        self._call("remove_trial", Nothing())

    def _call(self, verb: str, request: Any, waits_s: float = 0.0) -> Any:
        message = {"verb": verb, "request": serialization.dump(request)}
        try:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(ANSWER_LIMIT_S + waits_s)
                connection.connect(str(self._path))
                connection.sendall(json.dumps(message).encode() + b"\n")
                with connection.makefile("rb") as answers:
                    line = answers.readline()
            answer = json.loads(line)
        except OSError as error:
            raise LauncherAway(f"no launcher answers at {self._path}: {error.strerror or error}") from None
        except ValueError:
            raise LauncherAway(f"the launcher at {self._path} has hung up") from None
        if "error" in answer:
            kinds = {REFUSED: LauncherRefused, AWAY: LauncherAway}
            raise kinds.get(answer["error"]["kind"], Failed)(answer["error"]["message"])
        return answer["result"]


class FileHandover:
    """An abstract socket on which a new container fetches its argv and its files. Any process of the network namespace
    finds its name in /proc/net/unix: who connects as another user is turned away, and keeps nobody waiting."""

    def __init__(self, limit_s: float) -> None:
        self.name = f"walt-{os.urandom(16).hex()}"
        self._limit_s = limit_s
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(f"\0{self.name}")
        self._listener.listen(64)

    def __enter__(self) -> FileHandover:
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()

    def send(self, uid: int, argv: Sequence[str], files: Sequence[int]) -> None:
        """files: the first three become its standard input, output and error."""
        deadline = time.monotonic() + self._limit_s
        while (left_s := deadline - time.monotonic()) > 0:
            self._listener.settimeout(left_s)
            with contextlib.suppress(TimeoutError), self._listener.accept()[0] as receiver:
                if (peer := peer_uid(receiver)) == uid:
                    socket.send_fds(receiver, ["".join(f"{argument}\0" for argument in argv).encode()], list(files))
                    return
                log.warning("user %d requests the files of the VM of user %d, and gets none", peer, uid)
        raise Failed(f"the container does not report within {self._limit_s:g} s")
