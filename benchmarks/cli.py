"""How long a person waits for `walt`: python -m benchmarks.cli

Start-up beside `python -c "import click"`, in turns, so that a busy machine slows both; `walt node show` only with
a running platform (the one that `walt` finds by its configuration).
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Sequence

ROUNDS = 15
MOST_START_UPS = 3.0
MOST_SHOW_S = 0.4

WALT = [sys.executable, "-m", "cli.main"]


def seconds(argv: Sequence[str]) -> float:
    start = time.perf_counter()
    subprocess.run(argv, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - start


def in_turns(*lines: Sequence[str]) -> list[float]:
    """The median of each."""
    rounds = [[seconds(line) for line in lines] for _ in range(ROUNDS)]
    return [statistics.median(column) for column in zip(*rounds, strict=True)]


def row(what: str, took_s: float, reference: str, limit: str, met: bool) -> bool:
    print(f"{what:<18}{took_s:>8.3f} s  {reference:<32}{limit:<14}{'met' if met else 'MISSED'}")
    return met


def main() -> int:
    reference_s, help_s = in_turns([sys.executable, "-c", "import click"], [*WALT, "--help"])
    ratio = help_s / reference_s
    met = row(
        "walt --help",
        help_s,
        f"{ratio:.2f} x import click ({reference_s:.3f} s)",
        f"<= {MOST_START_UPS:g} x",
        ratio <= MOST_START_UPS,
    )
    answers = subprocess.run([*WALT, "node", "show"], capture_output=True, text=True, check=False)
    if answers.returncode != 0:
        print(f"walt node show    left out: {answers.stderr.strip()}")
        return 0 if met else 1
    (show_s,) = in_turns([*WALT, "node", "show"])
    met &= row("walt node show", show_s, "", f"<= {MOST_SHOW_S:g} s", show_s <= MOST_SHOW_S)
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
