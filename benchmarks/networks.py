"""Networks and ports of one host: `python -m benchmarks.networks [NETWORKS]`, by default 1000; needs root.

In a network namespace of its own, without broker and nodes: what netemu does to make the ports of two nodes on each
network, to bring all ports in step with their specs, and to unmake them. The first and the last hundred networks are
compared. The reference, in the same run and a namespace of its own: `mn --topo linear,N` of Mininet where `mn` is
installed (a network of Mininet's is a switch, with its host and the link to the next), and the plain commands of
iproute2 that make the same bridges and taps as ours, one process each.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tests.support.specs import HOME_NET, WALT_NET, spec
from walt.contracts.nodes import Network, NodeWanted

HUNDRED = 100
PORTS = 2  # of each network
MINI_NETWORKS = 50  # of Mininet
LIMIT_S, RECONCILE_LIMIT_S, RATIO = 30.0, 2.0, 1.2
INSIDE = "WALT_BENCHMARK_INSIDE"


def node(number: int) -> NodeWanted:
    network = Network(1 + number // PORTS, f"net{number // PORTS}", "alice", vni=1 + number // PORTS)
    mac = "52:54:00:" + ":".join(f"{byte:02x}" for byte in number.to_bytes(3, "big"))
    return spec(
        id=number + 1, name=f"n{number}", interfaces=(replace(HOME_NET, slot=WALT_NET.slot, mac=mac, network=network),)
    )


@dataclass(frozen=True)
class Took:
    """Seconds by the clock and of the processor, and the last hundred by the first, of the processor; 0: there is no
    such ratio."""

    wall_s: float
    cpu_s: float
    grown: float = 0.0


def timed(function: Callable[[int], object], networks: Sequence[int]) -> Took:
    began, took = time.perf_counter(), []
    for number in networks:
        before = time.process_time()
        function(number)
        took.append(time.process_time() - before)
    few = min(HUNDRED, len(took) // 2)
    grown = sum(took[-few:]) / sum(took[:few]) if few else 0.0
    return Took(time.perf_counter() - began, sum(took), grown)


def measure(networks: int, folder: Path) -> dict[str, Took]:
    from services.netemu.emulation import Emulation

    emulation = Emulation(folder, "10.0.0.1/16")
    emulation.prepare()
    nodes = [node(number) for number in range(networks * PORTS)]

    def make(number: int) -> None:
        for one in nodes[number * PORTS : (number + 1) * PORTS]:
            emulation.attach(one.id, one.name, one.owner, one.interfaces)

    def unmake(number: int) -> None:
        for one in nodes[number * PORTS : (number + 1) * PORTS]:
            emulation.detach(one.id)

    made = timed(make, range(networks))
    assert len(emulation.snapshot().ports) == networks * PORTS
    reconciled = timed(lambda _: emulation.update_all_links(nodes), [0])
    repaired = timed(lambda _: emulation.remove_orphans(), [0])
    one_more = timed(lambda _: emulation.attach(nodes[-1].id, "n", "alice", nodes[-1].interfaces), [0])
    unmade = timed(unmake, range(networks))
    assert not emulation.snapshot().ports
    return {
        "made": made,
        "unmade": unmade,
        "all ports compared with specs": reconciled,
        "orphans looked for": repaired,
        "a node that has its ports": one_more,
    }


def by_iproute2(networks: int) -> float:
    """Seconds: a process for each command, as a script would."""
    began = time.perf_counter()
    for number in range(networks):
        commands = [f"link add b{number} type bridge", f"link set b{number} up"]
        for tap in (f"t{number}-{port}" for port in range(PORTS)):
            commands += [f"tuntap add {tap} mode tap", f"link set {tap} master b{number} up"]
        for command in commands:
            subprocess.run(["ip", *command.split()], check=True)
    return time.perf_counter() - began


def by_mininet(networks: int) -> float | None:
    """Seconds to make and unmake; None where it is not installed."""
    if shutil.which("mn") is None:
        return None
    began = time.perf_counter()
    argv = ["mn", "--topo", f"linear,{networks}", "--switch", "lxbr", "--controller", "none", "--test", "none"]
    subprocess.run(argv, check=True, stdin=subprocess.DEVNULL, capture_output=True)
    return time.perf_counter() - began


def show(networks: int, found: dict[str, Took]) -> None:
    print(f"{networks} networks, {networks * PORTS} ports")
    print(f"{'':<34}{'seconds':>10}{'of CPU':>10}{'goal':>8}{'last/first':>12}{'goal':>8}")
    for name, took in found.items():
        goal = LIMIT_S if took.grown else RECONCILE_LIMIT_S
        growth = f"{took.grown:>12.2f}{RATIO:>8.1f}" if took.grown else ""
        print(f"{name:<34}{took.wall_s:>10.2f}{took.cpu_s:>10.2f}{goal:>8.0f}{growth}")


def main() -> None:
    networks = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    part = os.environ.get(INSIDE, "")
    if part == "ours":
        import logging

        logging.disable(logging.INFO)
        with tempfile.TemporaryDirectory() as folder:
            show(networks, measure(networks, Path(folder)))
    elif part == "iproute2":
        print(f"{'iproute2 makes a tenth of these':<34}{by_iproute2(networks // 10):>10.2f}")
    elif part == "mininet":
        took = by_mininet(MINI_NETWORKS)
        said = "is not installed" if took is None else f"{took:>10.2f}"
        print(f"{f'mn --topo linear,{MINI_NETWORKS}, made, unmade':<34}{said}")
    else:
        for one in ("ours", "iproute2", "mininet"):
            argv = ["unshare", "--net", "--mount", sys.executable, "-m", "benchmarks.networks", str(networks)]
            subprocess.run(argv, env={**os.environ, INSIDE: one}, check=True)


if __name__ == "__main__":
    main()
