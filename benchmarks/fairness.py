"""What one user can take from another: `python -m benchmarks.fairness [INSTANCE] [WAY…]`.

On a running local platform, otherwise idle. Bob does his worst in one way after another (benchmarks/floods.py); Alice
runs `walt node show`, types in a shell, pings over a link of 10 ms, and reboots a node meanwhile. The reference is the
same before and after it.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from benchmarks import floods
from benchmarks.boot import WALT
from cli.sessions.remote_session import RemoteSession
from deploy.local.instance import Instance
from walt.client import Client
from walt.configuration import load_configuration
from walt.contracts import console
from walt.contracts.errors import WaltError

ALICE, BOB = "alice", "bob"
PAIR, BOOTING = ("bench-al1", "bench-al2"), "bench-al3"
NETWORK = "bench-alice"
MEASURE_S = 6.0
SETTLE_S = 2.0
PINGS_PER_S = 10
COUNTED = ("frames", "late")
LIMIT_SHOW_S = 1.0
LIMIT_RTT_MS = 1.0  # how far the median may be from what it was before

# Each before, during and after; median and worst, of the round trip median and 95 %. A round trip has what the VMs take
# in it; of the link itself, the platform counts the frames that it forwarded more than 1 ms late.
HEAD = """\
| what bob does | node show (s): before | during | after | keystroke (ms) | during | after | boot (s) \
| round trip (ms) | during | after | late frames | |
|---|---|---|---|---|---|---|---|---|---|---|---|---|"""


@dataclass
class Seen:
    """Of one phase: seconds and milliseconds, each measured once; frames, late: of Alice's link."""

    show_s: list[float] = field(default_factory=list)
    echo_ms: list[float] = field(default_factory=list)
    rtt_ms: list[float] = field(default_factory=list)
    frames: int = 0
    late: int = 0

    @property
    def show(self) -> str:
        return f"{statistics.median(self.show_s):4.2f} {max(self.show_s):5.2f}" if self.show_s else "none"

    @property
    def echo(self) -> str:
        return f"{statistics.median(self.echo_ms):4.0f} {max(self.echo_ms):5.0f}" if self.echo_ms else "none"

    @property
    def rtt(self) -> str:
        if len(self.rtt_ms) < 2:
            return "none"
        return f"{statistics.median(self.rtt_ms):5.2f} {statistics.quantiles(self.rtt_ms, n=20)[-1]:6.2f}"


class User:
    """`walt` in the name of a user."""

    def __init__(self, instance: Instance, name: str) -> None:
        self.environment = {**os.environ, "WALT_CONFIG": str(instance.clients / f"{name}.toml")}

    def walt(self, *words: str, check: bool = True) -> str:
        argv = [str(WALT), *words]
        return subprocess.run(argv, check=check, capture_output=True, text=True, env=self.environment).stdout

    @contextlib.contextmanager
    def running(self, argv: Sequence[str]) -> Iterator[subprocess.Popen[str]]:
        one = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=self.environment)
        try:
            yield one
        finally:
            one.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                one.wait(5)
            one.kill()
            one.wait()


class Typist:
    """A shell on a node whose keys come back."""

    def __init__(self, user: User) -> None:
        self._client = Client(lambda: load_configuration(user.environment))
        host = self._client.call("nodes", "get_nodes", selection=PAIR[0])[0]["host"]
        self._session = RemoteSession(self._client, host, "open_shell", node=PAIR[0], command=["cat"], terminal=None)
        self._session.wait_until_open()
        self._number = 0

    def echo_ms(self) -> float:
        self._number += 1
        key, found, started = b"%d." % self._number, b"", time.monotonic()
        self._session.send(console.DATA, key)
        while key not in found:
            self._client.drain(1)
            self._session.keep(time.monotonic())
            found += b"".join(one.body for one in self._session.receive())
        return 1000 * (time.monotonic() - started)

    def close(self) -> None:
        self._session.close()
        self._client.close()


def measure(alice: User) -> Seen:
    """For MEASURE_S, all three at once."""
    seen = Seen()
    with contextlib.suppress(WaltError), contextlib.closing(Typist(alice)) as typist:
        typist.echo_ms()  # once the shell has begun
        before = _frames(alice)
        _measure(alice, typist, seen)
        after = _frames(alice)
        seen.frames, seen.late = (after[name] - before[name] for name in COUNTED)
    return seen


def _frames(alice: User) -> dict[str, int]:
    """Over both ends and directions of Alice's link."""
    ports = json.loads(alice.walt("network", "show", *PAIR, "-o", "json"))
    directions = [port[side] for port in ports if port["network"] == NETWORK for side in ("up", "down")]
    return {name: sum(one[name] for one in directions) for name in COUNTED}


def _measure(alice: User, typist: Typist, seen: Seen) -> None:
    end = time.monotonic() + MEASURE_S

    def show() -> None:
        while time.monotonic() < end:
            started = time.monotonic()
            alice.walt("node", "show", check=False)
            seen.show_s.append(time.monotonic() - started)
            time.sleep(1)

    def ping() -> None:
        count = str(int(MEASURE_S * PINGS_PER_S))
        said = alice.walt(
            "node", "run", PAIR[0], "--", "ping", "-n", "-i", "0.1", "-c", count, "10.99.0.2", check=False
        )
        seen.rtt_ms += [float(one) for one in re.findall(r"time=([\d.]+) ms", said)]

    threads = [threading.Thread(target=show), threading.Thread(target=ping)]
    for one in threads:
        one.start()
    while time.monotonic() < end:
        seen.echo_ms.append(typist.echo_ms())
        time.sleep(0.1)
    for one in threads:
        one.join()


def boot_s(alice: User) -> float:
    started = time.monotonic()
    alice.walt("node", "reboot", BOOTING)
    alice.walt("node", "wait", "--timeout", "300", BOOTING, check=False)
    return time.monotonic() - started


def flood_argv(way: str) -> list[str]:
    if way in floods.IN_GUEST:
        return [str(WALT), "node", "run", floods.NODES[0], "--", f"python3 -c {shlex.quote(floods.IN_GUEST[way])}"]
    return [sys.executable, "-m", "benchmarks.floods", way]


def create(alice: User, bob: User) -> None:
    common = ("-c", "boot.delay=0", "-c", "cpu.cores=1")
    alice.walt("node", "create", *common, "-c", f"networks=walt-net,{NETWORK}[lat=5ms]", *PAIR)
    alice.walt("node", "create", *common, BOOTING)
    bob.walt("node", "create", *common, "-c", f"networks=walt-net,{floods.NETWORK}[lat=1ms]", *floods.NODES)
    for user, names in ((alice, (*PAIR, BOOTING)), (bob, floods.NODES)):
        user.walt("node", "wait", "--timeout", "600", *names)
        for number, name in enumerate(names[:2], 1):
            command = f"ip link set ens3 up; ip addr add 10.99.0.{number}/24 dev ens3"
            user.walt("node", "run", name, "--", command)


def row(what: str, before: Seen, during: Seen, after: Seen, booted_s: float) -> bool:
    met = bool(during.show_s) and max(during.show_s) <= LIMIT_SHOW_S
    if len(during.rtt_ms) > 1 and len(before.rtt_ms) > 1:
        met &= abs(statistics.median(during.rtt_ms) - statistics.median(before.rtt_ms)) <= LIMIT_RTT_MS
    else:
        met = False
    phases = (before, during, after)
    columns = [*(one.show for one in phases), *(one.echo for one in phases), f"{booted_s:5.1f}"]
    columns += [*(one.rtt for one in phases), f"{during.late} of {during.frames}"]
    print(f"| {what:<15} | {' | '.join(columns)} | {'met' if met else 'MISSED'} |", flush=True)
    return met


def main() -> int:
    instance = Instance(sys.argv[1] if len(sys.argv) > 1 else "local")
    ways = sys.argv[2:] or [*floods.BY_CLIENT, *floods.IN_GUEST]
    alice, bob = User(instance, ALICE), User(instance, BOB)
    met = True
    try:
        create(alice, bob)
        print(HEAD)
        before = measure(alice)
        row("nothing", before, before, before, boot_s(alice))
        for way in ways:
            with bob.running(flood_argv(way)):
                time.sleep(SETTLE_S)
                during = measure(alice)
                booted_s = boot_s(alice)
            time.sleep(SETTLE_S)
            after = measure(alice)
            met &= row(way, before, during, after, booted_s)
            before = after
    finally:
        alice.walt("node", "remove", "--force", *PAIR, BOOTING, check=False)
        bob.walt("node", "remove", "--force", *floods.NODES, check=False)
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
