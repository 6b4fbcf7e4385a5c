"""The labs of examples/ on a real platform: each does what it expects of itself. test_lab.py runs the blog's."""

import re
import shutil
import time
from pathlib import Path

import pytest
import yaml

from tests.support.wait import wait_until

EXAMPLES = Path(__file__).parents[2] / "examples"
APPLY_LIMIT_S = 480
CHECK_LIMIT_S = 120
# {lab: its nodes that run programs which the small image lacks: bridge, bird, tc, python3}
FULL = {
    "ring": ["switch1", "switch2", "switch3"],
    "routing": [],
    "ospf": ["router[1-4]"],
    "qualities": ["server1", "home"],
    "nat": ["gateway"],
}
HEALING_LIMIT_S = 60  # by its timers, a spanning tree takes 14 s, OSPF 8 s


@pytest.fixture
def example(walt, tmp_path):
    """Applies examples/NAME.yml, with the image full for the nodes of FULL; gone at the end."""
    applied = []
    folder = shutil.copytree(EXAMPLES, tmp_path / "examples")

    def run(name):
        path = folder / f"{name}.yml"
        lab = yaml.safe_load(path.read_text())
        nodes = lab["nodes"] if isinstance(lab["nodes"], dict) else dict.fromkeys(lab["nodes"])
        lab["nodes"] = nodes | {node: {**(nodes[node] or {}), "image": "full"} for node in FULL[name]}
        path.write_text(yaml.safe_dump(lab, allow_unicode=True).replace(": false", ": no"))  # as the lab had it
        applied.append(name)
        walt("lab", "apply", str(path), "--wait", timeout=APPLY_LIMIT_S)
        done = walt("lab", "check", str(path), check=False, timeout=CHECK_LIMIT_S)
        assert done.status == 0, done.stdout

    yield run
    for name in applied:
        walt("lab", "destroy", name, "--force")


def test_ring_heals_where_it_is_cut(walt, example):
    example("ring")
    walt("network", "link", "switch1,switch2", "ring/switch1--switch2", "loss=100%")

    def is_healed():
        return walt("node", "run", "switch1", "--", "ping -c 1 -W 1 10.10.0.2", check=False).status == 0

    assert not is_healed()
    wait_until(is_healed, HEALING_LIMIT_S, "switch1 reaches switch2 by way of switch3")


def test_ospf_takes_the_slow_way_while_the_fast_one_is_cut(walt, example):
    example("ospf")

    def fastest_ms():
        ping = walt("node", "run", "router1", "--", "ping -c 3 -w 8 -I 10.0.0.1 10.0.0.4", check=False).stdout
        match = re.search(r"^rtt .* = ([0-9.]+)/", ping, re.MULTILINE)
        return float(match[1]) if match else None

    for carrier, is_there, way in (
        ("down", lambda rtt_ms: rtt_ms and rtt_ms > 60, "slow"),
        ("up", lambda rtt_ms: rtt_ms and rtt_ms < 40, "fast"),
    ):
        walt("network", "link", "router2", "ospf/router2--router4", f"carrier={carrier}")
        begin = time.monotonic()
        wait_until(lambda is_there=is_there: is_there(fastest_ms()), HEALING_LIMIT_S, f"the {way} way", 1)
        print(f"the {way} way after {time.monotonic() - begin:.0f} s")


@pytest.mark.parametrize("name", sorted({*FULL} - {"ring", "ospf"}))
def test_does_what_it_expects(example, name):
    example(name)


def test_every_example_is_run():
    assert {path.stem for path in EXAMPLES.glob("*.yml")} == {"blog", *FULL}
