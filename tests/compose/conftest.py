"""The tests of a deployment build on each other: the first that fails ends them."""

from __future__ import annotations

import pytest


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.failed:
        _failed.append(report.nodeid)


_failed: list[str] = []


@pytest.fixture(autouse=True)
def _builds_on_the_tests_before() -> None:
    if _failed:
        pytest.fail(f"not tried: {_failed[0]} failed before", pytrace=False)
