"""What all levels share: a test that needs something of the machine says so, and skips or fails without it."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

REQUIRED = "WALT_REQUIRED"  # capabilities, split by commas, whose absence is a failure: see .ci/run


# A shell starts what it puts in the background with ctrl-c ignored, and all below it would inherit that: tests that
# type ctrl-c to a program need what a terminal gives it.
signal.signal(signal.SIGINT, signal.default_int_handler)
# So would they what nohup ignores; we go on ignoring it, and what we start does not, as a handler ends with exec.
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, lambda *_: None)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """A level at a time: eventlet's threads, which service tests bring for the whole process, would hang other
    tests."""
    levels = {item.path.relative_to(Path(__file__).parent).parts[0] for item in items}
    if "service" in levels and len(levels) > 1 and not config.getoption("collectonly"):
        raise pytest.UsageError(
            f"service tests patch the standard library; allowed: apart from {', '.join(sorted(levels - {'service'}))}, "
            "as in `python -m tests.everything`"
        )


def require(what: str, ok: bool, why: str) -> None:
    """Go on when `ok`; else skip the test, or fail it where `what` is required. `why`: what was found missing."""
    if ok:
        return
    if what in os.environ.get(REQUIRED, "").split(","):
        pytest.fail(f"{what} is required here ({REQUIRED}): {why}", pytrace=False)
    pytest.skip(f"{what}: {why}")


@pytest.fixture(name="require", scope="session")
def _require() -> Callable[[str, bool, str], None]:
    return require


@pytest.fixture(scope="session")
def as_root() -> None:
    """Whoever runs the tests may make network namespaces, mount, and give files to other users."""
    require("root", os.geteuid() == 0, "namespaces, mounts and files of other users are for root only")
