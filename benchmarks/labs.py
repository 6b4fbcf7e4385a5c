"""How long `walt lab apply` takes where nothing changes: python -m benchmarks.labs

A lab of 50 nodes, beside `walt node show` of the same nodes, in turns. It needs a running platform (the one that `walt`
finds by its configuration). The nodes have a boot delay of a day, so that none boots, and are removed at the end.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.cli import WALT, in_turns, row

NODES = 50
MOST_S = 0.5
NAME = "bench-lab"


def lab() -> str:
    lines = [f"name: {NAME}", "defaults: {boot.delay: 86400, boot.timeout: none, ram: 64M}", "nodes:"]
    lines += [f"  bench-{number}:" for number in range(NODES)]
    lines += ["links:", *(f"  - bench-{number} -- bench-{number + 1}: lat=1ms" for number in range(NODES - 1))]
    return "\n".join([*lines, ""])


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "lab.yml"
        path.write_text(lab())
        apply, show = [*WALT, "lab", "apply", str(path)], [*WALT, "node", "show"]
        try:
            subprocess.run(apply, check=True, stdout=subprocess.DEVNULL)
            apply_s, show_s = in_turns(apply, show)
        finally:
            subprocess.run([*WALT, "lab", "destroy", NAME, "--force"], check=False)
    met = row("no change, 50 nodes", apply_s, f"node show: {show_s:.3f} s", f"<= {MOST_S:g} s", apply_s <= MOST_S)
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
