"""`python -m tests.everything`: the three levels, each apart from the others, and one closing line for all.

Apart, because service tests patch the standard library for eventlet, which no other level is to run with. They wait
more than they compute, so their files are dealt to two processes, which run side by side and are printed one after the
other.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

NO_TESTS = 5  # pytest's status for an empty level
SERVICE_PROCESSES = 2
TIMED = ["tests/service/console/test_fairness.py", "tests/service/test_kit_requests.py"]  # with nothing beside them


def main(options: list[str]) -> int:
    started = time.monotonic()
    service = sorted({str(path) for path in Path("tests/service").rglob("test_*.py")} - {*TIMED})
    runs = [*run(["tests/unit"], options), *run_together(deal(service), options)]
    runs += [*run(TIMED, options), *run(["tests/system"], options)]
    total = sum((outcomes(report) for _, report in runs), Counter[str]())
    print(closing_line(total, time.monotonic() - started))
    return int(any(status not in (0, NO_TESTS) for status, _ in runs))


def deal(files: list[str]) -> list[list[str]]:
    """In turns, so that the files of one folder, which cost alike, are shared out."""
    return [files[first::SERVICE_PROCESSES] for first in range(SERVICE_PROCESSES)]


def run(paths: list[str], options: list[str]) -> list[tuple[int, str]]:
    """(status, JUnit report)."""
    with tempfile.NamedTemporaryFile(suffix=".xml") as report:
        status = subprocess.run(pytest_argv(paths, options, report.name), check=False).returncode
        return [(status, Path(report.name).read_text())]


def run_together(parts: list[list[str]], options: list[str]) -> list[tuple[int, str]]:
    """As `run`, each part in a process of its own; the first prints as it goes, the others when they have ended."""
    with tempfile.TemporaryDirectory() as folder:
        reports = [Path(folder) / f"{number}.xml" for number in range(len(parts))]
        outputs = [Path(folder) / f"{number}.txt" for number in range(len(parts))]
        processes = []
        for number, part in enumerate(parts):
            argv = pytest_argv(part, options, str(reports[number]))
            with outputs[number].open("wb") as output:
                processes.append(subprocess.Popen(argv, stdout=output if number else None, stderr=subprocess.STDOUT))
        statuses = [process.wait() for process in processes]
        for output in outputs[1:]:
            print(output.read_text(errors="replace"), flush=True)
        return [
            (status, report.read_text() if report.exists() else "")
            for status, report in zip(statuses, reports, strict=True)
        ]


def pytest_argv(paths: list[str], options: list[str], report: str) -> list[str]:
    return [sys.executable, "-m", "pytest", *paths, f"--junitxml={report}", *options]


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
