"""Peers that are away, defects of ours, and nothing at all: the loop goes on."""

import pytest

from services.kit.reconcile_loop import AFTER_DEFECT_S, RETRY_S, keep_in_step
from walt.contracts.errors import Unreachable


class Over(BaseException):
    """Ends the loop, which nothing else does."""


def test_what_follows_each_outcome(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    outcomes = [Unreachable("away"), Unreachable("away"), None, Unreachable("away"), KeyError("defect"), None, Over()]
    pauses: list[float] = []
    monkeypatch.setattr("time.sleep", pauses.append)

    def reconcile() -> None:
        outcome = outcomes.pop(0)
        if outcome is not None:
            raise outcome

    with pytest.raises(Over):
        keep_in_step(reconcile, 60.0)
    assert pauses == [RETRY_S, RETRY_S, 60.0, RETRY_S, AFTER_DEFECT_S, 60.0]
    assert [record.getMessage() for record in caplog.records] == [
        "not reconciled yet: away",
        "not reconciled yet: away",
        "not reconciled",
    ]
