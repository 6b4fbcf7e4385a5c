"""MB a second of `walt node cp`: `python -m benchmarks.copy [INSTANCE] [MB]`.

On a running local platform, otherwise idle, with a Debian as image default. The same bytes, which no cipher and no disk
makes less of, three ways between the same ends:

    TCP         a connection without anything, from the server's address on walt-net: the reference
    ssh         `ssh NODE 'cat > FILE'`, which is what scp does: what a copy over ssh could reach
    walt        `walt node cp`

`start` is what a copy of one byte takes; the rates are of the rest.
"""

from __future__ import annotations

import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from benchmarks.boot import WALT, walt
from deploy.local.instance import Instance

NODE = "bench-copy"
SETTINGS = ("boot.delay=0", "cpu.cores=1")
ROUNDS = 3
PORT = 5557
THERE = "/tmp/copied"  # in the node, and in its memory
GOAL = 3  # of TCP, walt is to reach one part of so many

# In the node: for each connection, take all and answer, or send as much as is asked for.
PEER = f"""
import socket
listener = socket.create_server(("", {PORT}))
print("ready", flush=True)
while True:
    connection, _ = listener.accept()
    size = int(connection.makefile("rb", 0).readline())
    while size > 0 and (data := connection.recv(65536)):
        size -= len(data)
    if size < 0:
        connection.sendall(bytes(-size))
    connection.close()
"""

# On the server, in the network of the nodes: prints the seconds.
CALLER = f"""
import socket, sys, time
address, size = sys.argv[1], int(sys.argv[2])
connection = socket.create_connection((address, {PORT}))
start = time.monotonic()
connection.sendall(b"%d\\n" % size + bytes(max(size, 0)))
while connection.recv(65536):
    pass
print(time.monotonic() - start)
"""


class Ends:
    """This host and the node, of an instance. small, large: files of one byte, and of `size` bytes."""

    def __init__(self, instance: Instance, ip: str, folder: Path, size: int) -> None:
        key = instance.state / "bootserver" / "keys" / "platform"
        options = ("StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR")
        words = ["-F", "/dev/null", "-i", str(key), *(word for one in options for word in ("-o", one))]
        self.ssh = [*instance.enter, "ssh", *words, "-l", "root", ip]
        self.ip, self.enter, self.size = ip, instance.enter, size
        self.small, self.large, self.back = (folder / name for name in ("small", "large", "back"))
        self.small.write_bytes(b"x")
        self.large.write_bytes(os.urandom(size))

    def tcp_s(self, size: int) -> float:
        argv = [*self.enter, sys.executable, "-c", CALLER, self.ip, str(size)]
        return float(subprocess.run(argv, check=True, stdout=subprocess.PIPE).stdout)

    def ssh_up_s(self, file: Path) -> float:
        with file.open("rb") as source:
            return seconds([*self.ssh, f"cat > {THERE}-{file.name}"], stdin=source)

    def ssh_down_s(self, file: Path) -> float:
        with self.back.open("wb") as target:
            return seconds([*self.ssh, f"cat {THERE}-{file.name}"], stdout=target)

    def walt_up_s(self, file: Path) -> float:
        return seconds([str(WALT), "node", "cp", str(file), f"{NODE}:{THERE}-{file.name}"])

    def walt_down_s(self, file: Path) -> float:
        return seconds([str(WALT), "node", "cp", f"{NODE}:{THERE}-{file.name}", str(self.back)])


def seconds(argv: Sequence[str], **options: object) -> float:
    start = time.monotonic()
    subprocess.run(argv, check=True, **options)  # type: ignore[call-overload]
    return time.monotonic() - start


@contextlib.contextmanager
def peer(ends: Ends) -> Iterator[None]:
    """The TCP peer runs in the node."""
    running = subprocess.Popen([*ends.ssh, f"exec python3 -c '{PEER}'"], stdout=subprocess.PIPE)
    try:
        assert running.stdout is not None
        if running.stdout.readline() != b"ready\n":
            raise SystemExit(f"python3 does not run in {NODE}: image default has to be a Debian")
        yield
    finally:
        running.terminate()
        running.wait()


def report(ends: Ends) -> None:
    ways: dict[str, dict[str, Callable[[Path], float]]] = {
        "to the node": {"ssh": ends.ssh_up_s, "walt": ends.walt_up_s},
        "from it": {"ssh": ends.ssh_down_s, "walt": ends.walt_down_s},
    }
    print(f"{'':<14}{'way':<6}{'start s':>9}{'MB/s':>9}{'of TCP':>9}{'of ssh':>9}    median of {ROUNDS}")
    for (direction, copies), sign in zip(ways.items(), (1, -1), strict=True):
        rounds = [round_of(ends, copies, sign) for _ in range(ROUNDS)]
        start, rate = (
            {way: statistics.median(one[part][way] for one in rounds) for way in rounds[0][part]} for part in (0, 1)
        )
        for way in ("TCP", *copies):
            shares = f"{rate[way] / rate['TCP']:>9.2f}{rate[way] / rate['ssh']:>9.2f}"
            print(f"{direction:<14}{way:<6}{start[way]:>9.2f}{rate[way]:>9.1f}{shares}")
    print(f"goal: walt at least {1 / GOAL:.2f} of TCP")


def round_of(
    ends: Ends, copies: dict[str, Callable[[Path], float]], sign: int
) -> tuple[dict[str, float], dict[str, float]]:
    """Seconds to the start, and MB/s after it, of each way in turn."""
    start, rate = {"TCP": ends.tcp_s(sign)}, dict[str, float]()
    rate["TCP"] = ends.size / 1e6 / ends.tcp_s(sign * ends.size)
    for way, copy_s in copies.items():
        start[way] = copy_s(ends.small)
        rate[way] = ends.size / 1e6 / max(copy_s(ends.large) - start[way], 0.01)
    return start, rate


def main() -> None:
    instance = Instance(sys.argv[1] if len(sys.argv) > 1 else "local")
    size = int(sys.argv[2] if len(sys.argv) > 2 else 20) * 1_000_000
    walt("node", "create", NODE, *(word for one in SETTINGS for word in ("-c", one)), "--wait")
    try:
        walt("node", "run", NODE, "--", "systemctl is-system-running --wait || true")
        (node,) = json.loads(walt("node", "show", NODE, "-o", "json"))
        with tempfile.TemporaryDirectory() as folder:
            ends = Ends(instance, node["ip"], Path(folder), size)
            with peer(ends):
                report(ends)
    finally:
        walt("node", "remove", NODE, "--force")


if __name__ == "__main__":
    main()
