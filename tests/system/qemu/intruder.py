"""A qemu that was taken over, as a program: becomes its user, and tries what the other VM's process, files and sockets
let it do. Prints as JSON what has succeeded, and whether the same works on its own process.

    python -m tests.system.qemu.intruder attack UID OWN_PID PID TAP PATH…
    python -m tests.system.qemu.intruder steal UID
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import re
import signal
import socket
import struct
import sys
import time
from collections.abc import Callable
from functools import partial

PIDFD_GETFD = 438
PTRACE_SEIZE = 0x4206
STEAL_LIMIT_S = 10.0

libc = ctypes.CDLL(None, use_errno=True)


def become(uid: int) -> None:
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)


def checked(result: int) -> None:
    if result < 0:
        raise OSError(ctypes.get_errno(), "refused")


def take_descriptor(pid: int) -> None:
    checked(libc.syscall(PIDFD_GETFD, os.pidfd_open(pid), 0, 0))


def open_tap(name: str) -> None:
    tun = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(tun, 0x400454CA, struct.pack("16sH22x", name.encode(), 0x0002 | 0x1000 | 0x4000))


def read(path: str) -> None:
    os.listdir(path) if os.path.isdir(path) else os.open(path, os.O_RDONLY)


def attempts(pid: int, tap: str, paths: list[str]) -> dict[str, Callable[[], object]]:
    of_process: dict[str, Callable[[], object]] = {
        "take a descriptor": partial(take_descriptor, pid),
        "trace": lambda: checked(libc.ptrace(PTRACE_SEIZE, pid, None, None)),
        "see by signal 0": partial(os.kill, pid, 0),
        "kill": partial(os.kill, pid, signal.SIGKILL),
        "signal by descriptor": lambda: signal.pidfd_send_signal(os.pidfd_open(pid), signal.SIGTERM),
        "slow down": partial(os.setpriority, os.PRIO_PROCESS, pid, 19),
        "bind to a processor": partial(os.sched_setaffinity, pid, {0}),
        "open its tap": partial(open_tap, tap),
        **{f"read {name}": partial(read, f"/proc/{pid}/{name}") for name in ("mem", "environ", "maps", "fd", "fdinfo")},
        **{f"enter {name}": partial(os.listdir, f"/proc/{pid}/{name}/") for name in ("root", "cwd")},
    }
    of_files: dict[str, Callable[[], object]] = {}
    for path in paths:
        of_files[f"read {path}"] = partial(read, path)
        of_files[f"connect to {path}"] = partial(socket.socket(socket.AF_UNIX).connect, path)
        of_files[f"move {path}"] = partial(os.rename, path, f"{path}.taken")
    return {**of_process, **of_files}


def works(attempt: Callable[[], object]) -> bool:
    try:
        attempt()
    except OSError:
        return False
    return True


def attack(own_pid: int, pid: int, tap: str, *paths: str) -> None:
    succeeded = [name for name, attempt in attempts(pid, tap, list(paths)).items() if works(attempt)]
    print(json.dumps([succeeded, works(partial(take_descriptor, own_pid))]))


def steal() -> None:
    """The files that vmrunner hands to a VM's container as it starts."""
    print("ready", flush=True)
    end = time.monotonic() + STEAL_LIMIT_S
    while time.monotonic() < end:
        with open("/proc/net/unix") as table:
            names = re.findall(r"@(walt-[0-9a-f]{32})", table.read())
        for name in names:
            with socket.socket(socket.AF_UNIX) as connection:
                if works(partial(connection.connect, f"\0{name}")):
                    print("connected", flush=True)
                    _, files, _, _ = socket.recv_fds(connection, 1000, 253)
                    print("files", len(files), flush=True)
                    return


if __name__ == "__main__":
    become(int(sys.argv[2]))
    if sys.argv[1] == "steal":
        steal()
    else:
        attack(int(sys.argv[3]), int(sys.argv[4]), *sys.argv[5:])
