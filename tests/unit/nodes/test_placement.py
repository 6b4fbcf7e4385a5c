"""Which host a new node goes to: the cases of placement_cases.txt."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.nodes.domain import placement
from services.nodes.domain.placement import HostState, Unplaced
from walt.contracts.errors import WaltError
from walt.contracts.network_uses import parse_networks
from walt.contracts.units import parse_memory_bytes
from walt.contracts.vmrunner import Capacity

CASES = Path(__file__).with_name("placement_cases.txt").read_text().split("\n\n")[1:]


def host_of(name, *words):
    """'lab1 16G*1.5 promised=4G home-net=2 drained' -> its state; the first word is its capacity, '?' when unknown."""
    ram, _, factor = words[0].partition("*")
    values = dict(word.split("=") for word in words[1:] if "=" in word)
    promised = parse_memory_bytes(values.pop("promised", "0M")) if "promised" in values else 0
    capacity = None if ram == "?" else Capacity(8, parse_memory_bytes(ram), float(factor or 1))
    ports = {network: int(count) for network, count in values.items()}
    return HostState(name, "drained" in words, "unreachable" not in words, capacity, promised, ports)


def node_of(name, ram, *words):
    """'n1 1G home-net host=lab2'"""
    wanted = next((word.partition("=")[2] for word in words if word.startswith("host=")), "")
    networks = ",".join(["walt-net", *(word for word in words if "=" not in word)])
    return Unplaced(name, parse_memory_bytes(ram), parse_networks(networks), wanted)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.splitlines()[0].removeprefix("# "))
def test_case(case):
    lines = [line.split() for line in case.strip().splitlines() if not line.startswith("#")]
    hosts = [host_of(*words) for kind, *words in lines if kind == "host"]
    nodes = [node_of(*words) for kind, *words in lines if kind == "node"]
    ((_, *expected),) = [line for line in lines if line[0] in ("->", "refused")]
    try:
        found = [f"{name}:{host}" for name, host in placement.place(nodes, hosts).items()]
    except WaltError as refused:
        found = f"{type(refused).__name__}: {refused}".split()
    assert found == expected
