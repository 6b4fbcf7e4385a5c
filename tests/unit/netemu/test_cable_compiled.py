"""The cable in machine code does what it does when it is interpreted."""

import subprocess
import sys
from pathlib import Path
from random import Random

import pytest

from services.netemu.cable import engine
from services.netemu.cable.impairments import ImpairmentSequence
from services.netemu.cable.model import Wire, wire_size
from walt.contracts.links import MAX_DELAYED_FRAMES, MAX_RATE_BPS, Direction, Distribution

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
PARTS = ("test_cable_model", "test_impairments", "test_fairness", "test_switch")
PREFER = """
import sys
from services.netemu.cable import engine
assert engine.prefer_compiled()
from services.netemu.cable import switch, model, impairments, lanes, fairness, frames
assert all(one.__file__.endswith(".so") for one in (switch, model, impairments, lanes, fairness, frames))
"""


@pytest.fixture(autouse=True, scope="module")
def machine_code(require):
    require(
        "compiler", engine.compiled_folder().is_dir(), "no machine code of these sources; see deploy/cable_build.py"
    )


def in_machine_code(program, *arguments):
    argv = [sys.executable, "-c", PREFER + program, *arguments]
    return subprocess.run(argv, cwd=ROOT, capture_output=True, text=True)


def test_its_parts_pass_their_tests_in_machine_code():
    program = "import pytest; sys.exit(pytest.main(sys.argv[1:]))"
    done = in_machine_code(program, "-q", "-p", "no:cacheprovider", *(str(HERE / f"{one}.py") for one in PARTS))
    assert done.returncode == 0, done.stdout + done.stderr


def test_code_of_other_sources_is_not_run(monkeypatch, tmp_path):
    monkeypatch.setattr(engine, "SOURCES", tmp_path)
    for name in engine.COMPILED:
        for suffix in (".py", ".pxd"):
            (tmp_path / f"{name}{suffix}").write_bytes(
                (ROOT / "services/netemu/cable" / f"{name}{suffix}").read_bytes()
            )
    assert engine.compiled_folder().is_dir()
    with open(tmp_path / "model.py", "a") as file:
        file.write("# changed")
    assert not engine.prefer_compiled()


def history(seed, frames=400):
    """What a link says of frames at random times, of random sizes, while it is changed at random; extremes included."""
    random = Random(seed)

    def direction():
        return Direction(
            latency_us=random.choice((0, 1, 10_000, 60_000_000)),
            rate_bps=random.choice((0, 1_000, 64_000, 10**9, MAX_RATE_BPS)),
            jitter_us=random.choice((0, 500)),
            loss_ppm=random.choice((0, 10_000, 10**6)),
            duplicate_ppm=random.choice((0, 300_000)),
            corrupt_ppm=random.choice((0, 300_000)),
            reorder_ppm=random.choice((0, 300_000)),
            limit_frames=random.choice((0, 0, 5, MAX_DELAYED_FRAMES)),
            seed=random.randrange(1, 2**31),
            burst_frames=random.choice((0, 8)),
            distribution=random.choice(list(Distribution)),
        )

    wire, now_ns, under_way, found = Wire(direction()), random.randrange(10**15), [], []
    for _ in range(frames):
        now_ns += random.choice((0, 1, 1_000, 10**6, 10**9))
        if random.random() < 0.02:
            wire.set(direction())
        header = bytes((1, 1)) + random.randbytes(8) if random.random() < 0.3 else bytes(10)
        size = wire_size(header + random.randbytes(random.choice((60, 1514, 65_000))), 10)
        fate = wire.impair(now_ns)
        jitter_ns, overtakes = (fate.jitter_ns, fate.overtakes) if fate else (0, False)
        due_ns = wire.admit(now_ns, size, jitter_ns, overtakes)
        found.append((size, fate and fate.values(), due_ns, wire.dropped, wire.in_flight_bytes))
        if due_ns is not None:
            under_way.append((due_ns, size))
        while under_way and random.random() < 0.5:
            wire.depart(now_ns, *under_way.pop(0), random.random() < 0.9)
    return [*found, (wire.frames, wire.bytes, wire.late)]


def fates(distribution, count=5000):
    direction = Direction(10_000, 0, 5_000, 50_000, 50_000, 50_000, 50_000, 0, 7, 4, distribution)
    sequence = ImpairmentSequence(direction)
    return [sequence.next().values() for _ in range(count)]


TELL = """
import importlib.util
spec = importlib.util.spec_from_file_location("told", sys.argv[1])
told = importlib.util.module_from_spec(spec)
spec.loader.exec_module(told)
print(eval(sys.argv[2], vars(told)))
"""


@pytest.mark.parametrize(
    "what", ["[history(seed) for seed in range(40)]", "[fates(distribution) for distribution in Distribution]"]
)
def test_both_say_the_same_of_every_frame_to_the_bit(what):
    done = in_machine_code(TELL, __file__, what)
    assert done.stdout.strip() == str(eval(what)), done.stderr
