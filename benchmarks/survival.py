"""Kills at random moments: `python -m benchmarks.survival INSTANCE [KILLS] [SEED]`, by default 20 and a random seed.

On a running local platform of its own, best with a small image (`python -m deploy.local up --image default=small`).
Three users create, configure, link, rename, reboot and remove nodes, each a sequence of commands that follows from the
seed. Meanwhile one program of the platform after the other is killed (SIGKILL), at moments that follow from the seed as
well: services, agents, broker, name servers, cable. After each kill the users wait, and within some seconds everything
must be as it should:

    what was answered is done, what was not is done or not     each node of the registry that is on has one VM
    nothing runs that the registry does not know               no VM that no command was about was interrupted
    ports and bridges are those of the nodes that run          no command is refused, as one that is done twice would be

Each line that it prints can be had again with the same seed. The status is 1 when something was not as it should be.
"""

from __future__ import annotations

import json
import os
import random
import re
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from deploy.broker.accounts import SERVICES_ACCOUNT, services_client
from deploy.local import accounts, network, supervisor
from deploy.local.instance import Instance, Uplink
from deploy.local.programs import amqp_uri

USERS = ("amy", "ben", "cal")
NODES_EACH = 2
SETTINGS = ("-c", "boot.delay=0", "-c", "ram=128M", "-c", "cpu.cores=1")
SETTLED_WITHIN_S = 60.0  # of a kill: on few processors VMs boot meanwhile
COMMAND_LIMIT_S = 90
REFUSED = (2, 3, 4, 5)  # exit codes
SERIAL = re.compile(r"serial=walt-node-(\d+),")
TAP = re.compile(r"vn(\d+)e\d+")


def command_line(pid: int) -> str:
    """With blanks between its words; "" of one that has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text(errors="replace").replace("\0", " ")
    except OSError:
        return ""


class Person:
    """One user, whose commands follow from the seed. expected: names of his nodes, as far as answers tell; None: it is
    not known, as a command got no answer. refused: what was said to commands that nothing was wrong with."""

    def __init__(self, instance: Instance, name: str, seed: int, gate: threading.Event, ended: threading.Event) -> None:
        self.name = name
        self.expected: set[str] | None = set()
        self.touched = set[str]()
        self.refused: list[str] = []
        self.commands = self.unanswered = 0
        self._instance, self._gate, self._ended = instance, gate, ended
        self._random = random.Random(f"{seed}/{name}")
        self._count = 0
        self._busy = threading.Lock()

    def run(self) -> None:
        while not self._ended.is_set():
            self._gate.wait(1)
            if not self._gate.is_set():
                continue
            with self._busy:
                self._step()
            time.sleep(self._random.uniform(0.1, 1.0))

    @contextmanager
    def at_rest(self) -> Iterator[None]:
        with self._busy:
            yield

    def nodes(self) -> set[str]:
        done = self._walt("node", "show", "-o", "json")
        done.check_returncode()
        return {row["name"] for row in json.loads(done.stdout)}

    def _step(self) -> None:
        if self.expected is None:
            try:
                self.expected = self.nodes()
            except (subprocess.SubprocessError, ValueError):
                return
        mine = sorted(self.expected)
        if len(mine) < NODES_EACH:
            self._count += 1
            new = f"{self.name}{self._count}"
            self._change({new}, set(), "node", "create", new, *SETTINGS)
            return
        node = self._random.choice(mine)
        match self._random.randrange(5):
            case 0:
                self._change(set(), {node}, "node", "remove", node, "--force")
            case 1:
                self._change(set(), set(), "node", "config", node, "networks=walt-net,home-net[lat=1ms]", about=node)
            case 2:
                delay = self._random.randrange(1, 50)
                self._change(set(), set(), "network", "link", node, "walt-net", f"lat={delay}ms", about=node)
            case 3:
                self._count += 1
                new = f"{self.name}{self._count}"
                self._change({new}, {node}, "node", "rename", node, new)
            case _:
                self._change(set(), set(), "node", "reboot", node, about=node)

    def _change(self, added: set[str], removed: set[str], *words: str, about: str = "") -> None:
        self.touched |= added | removed | ({about} if about else set())
        self.commands += 1
        done = self._walt(*words)
        if done.returncode == 0 and self.expected is not None:
            self.expected = (self.expected - removed) | added
        elif done.returncode in REFUSED:
            self.refused.append(f"{' '.join(words)}: {done.stderr.strip()}")
            self.expected = None
        elif done.returncode != 0:
            self.unanswered += 1
            self.expected = None

    def _walt(self, *words: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "WALT_CONFIG": str(self._instance.clients / f"{self.name}.toml")}
        argv = [Path(sys.executable).with_name("walt"), *words]
        return subprocess.run(
            argv, capture_output=True, text=True, env=environment, check=False, timeout=COMMAND_LIMIT_S
        )


class Platform:
    def __init__(self, instance: Instance, uplink: Uplink) -> None:
        self.instance = instance
        self._uri = amqp_uri(SERVICES_ACCOUNT, accounts.ensure(instance)[SERVICES_ACCOUNT], uplink)

    def programs(self) -> dict[str, int]:
        """{name: pid} of what may be killed; the cable too, when it runs."""
        found = {one.name: one.pid for one in supervisor.states(self.instance) if one.pid}
        for pid in network.processes(self.instance):
            if "services.netemu.cable" in command_line(pid):
                found["cable"] = pid
        return found

    def vms(self) -> dict[int, int]:
        """{node id: pid}; -1 for one with two."""
        found: dict[int, int] = {}
        for pid in network.processes(self.instance):
            if network.program_of(pid).startswith("qemu-system"):
                match = SERIAL.search(command_line(pid))
                if match:
                    node_id = int(match[1])
                    found[node_id] = -1 if node_id in found else pid
        return found

    def specs(self) -> list[dict[str, Any]]:
        with closing(services_client(self._uri)) as client:
            specs: list[dict[str, Any]] = client.call("nodes", "get_specs", timeout_s=5)["nodes"]
            return specs

    def taps(self) -> set[int]:
        """Ids of the nodes that have one."""
        argv = [*self.instance.enter, "ip", "-o", "link"]
        return set(map(int, TAP.findall(subprocess.run(argv, check=True, capture_output=True, text=True).stdout)))


def faults(platform: Platform, people: list[Person]) -> list[str]:
    """What is not as it should be; to be asked again until the limit."""
    try:
        specs = platform.specs()
        owned = {person.name: person.nodes() for person in people}
    except Exception as error:
        return [f"no answer: {type(error).__name__} {error}"]
    found = [
        f"{one.name} was told {sorted(one.expected)} and has {sorted(owned[one.name])}"
        for one in people
        if one.expected is not None and one.expected != owned[one.name]
    ]
    wanted = {spec["id"] for spec in specs if spec["power"] == "on"}
    known = {spec["id"] for spec in specs}
    vms, taps = platform.vms(), platform.taps()
    found += [f"node {node} has two VMs" for node, pid in vms.items() if pid == -1]
    found += [f"a VM of node {node} that is not wanted" for node in vms.keys() - wanted]
    found += [f"node {node} has no VM" for node in wanted - vms.keys()]
    found += [f"a tap of node {node} that is not known" for node in taps - known]
    found += [f"node {spec['id']} is on its way out" for spec in specs if spec["power"] == "absent"]
    return found


def kill_one(platform: Platform, chance: random.Random) -> str:
    programs = platform.programs()
    name = chance.choice(sorted(programs))
    os.kill(programs[name], signal.SIGKILL)
    return name


def settle(platform: Platform, people: list[Person]) -> tuple[float, list[str]]:
    started = time.monotonic()
    while True:
        found = faults(platform, people)
        took = time.monotonic() - started
        if not found or took > SETTLED_WITHIN_S:
            return took, found
        time.sleep(0.5)


def interrupted(
    before: dict[int, int], after: dict[int, int], names: dict[int, str], people: list[Person]
) -> list[str]:
    """VMs that were replaced or ended, though no command was about their nodes."""
    touched = set[str]().union(*(person.touched for person in people))
    return [
        f"the VM of {names.get(node, node)} was interrupted"
        for node, pid in before.items()
        if names.get(node) not in touched and node in names and after.get(node) != pid
    ]


def main() -> int:
    instance = Instance(sys.argv[1])
    kills = int(sys.argv[2]) if len(sys.argv) > 2 else 20
    seed = int(sys.argv[3]) if len(sys.argv) > 3 else secrets.randbelow(10**6)
    uplink = network.find(instance)
    if uplink is None:
        raise SystemExit(f"instance {instance.name} is down; allowed: one that is up")
    for user in USERS:
        accounts.provide(instance, uplink, user, administrator=False)
    gate, ended, chance = threading.Event(), threading.Event(), random.Random(seed)
    platform = Platform(instance, uplink)
    people = [Person(instance, user, seed, gate, ended) for user in USERS]
    threads = [threading.Thread(target=one.run, daemon=True) for one in people]
    for thread in threads:
        thread.start()
    print(f"seed {seed}")
    bad = done = 0
    try:
        while done < kills:
            bad += bool(one_round(done + 1, platform, people, gate, chance))
            done += 1
    except KeyboardInterrupt:  # the time is over: what was seen counts
        pass
    finally:
        gate.set()
        ended.set()
    total, lost = sum(one.commands for one in people), sum(one.unanswered for one in people)
    print(f"{done} kills, {total} commands, {lost} without an answer; {bad} rounds with faults")
    return int(bad > 0)


def one_round(
    number: int, platform: Platform, people: list[Person], gate: threading.Event, chance: random.Random
) -> list[str]:
    """Commands, a kill among them, then rest; what is wrong."""
    before, names = platform.vms(), {spec["id"]: spec["name"] for spec in platform.specs()}
    for person in people:
        person.touched.clear()
        person.refused.clear()
    gate.set()
    time.sleep(chance.uniform(1.0, 8.0))
    killed = kill_one(platform, chance)
    time.sleep(chance.uniform(0.0, 3.0))
    gate.clear()
    for person in people:
        with person.at_rest():
            pass
    took, found = settle(platform, people)
    found += interrupted(before, platform.vms(), names, people)
    found += [f"refused: {what}" for person in people for what in person.refused]
    print(f"{number:>4}  {killed:<14} in order after {took:5.1f} s  {'; '.join(found)}".rstrip(), flush=True)
    return found


if __name__ == "__main__":
    sys.exit(main())
