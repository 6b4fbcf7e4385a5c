"""`python -m tests.everything`: the three levels, each in a process of its own, and one closing line for all.

Apart, because service tests patch the standard library for eventlet, which no other level is to run with.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

LEVELS = ("unit", "service", "system")
NO_TESTS = 5  # pytest's status for an empty level


def main(options: list[str]) -> int:
    started = time.monotonic()
    statuses, total = [], Counter[str]()
    for level in LEVELS:
        with tempfile.NamedTemporaryFile(suffix=".xml") as report:
            argv = [sys.executable, "-m", "pytest", f"tests/{level}", f"--junitxml={report.name}", *options]
            statuses.append(subprocess.run(argv, check=False).returncode)
            total += outcomes(Path(report.name).read_text())
    print(closing_line(total, time.monotonic() - started))
    return int(any(status not in (0, NO_TESTS) for status in statuses))


def outcomes(report: str) -> Counter[str]:
    """How many tests ended how, from a JUnit report; none when pytest did not get so far."""
    if not report:
        return Counter(errors=1)
    suites = ElementTree.fromstring(report).iter("testsuite")
    found = Counter[str]()
    for suite in suites:
        bad = {kind: int(suite.get(kind, 0)) for kind in ("failures", "errors", "skipped")}
        found.update(bad)
        found["passed"] += int(suite.get("tests", 0)) - sum(bad.values())
    return found


def closing_line(total: Counter[str], seconds: float) -> str:
    words = {"failures": "failed", "passed": "passed", "skipped": "skipped", "errors": "errors"}
    counts = ", ".join(f"{total[kind]} {word}" for kind, word in words.items() if total[kind]) or "no tests ran"
    return f" {counts} in {seconds:.2f}s ".center(80, "=")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
