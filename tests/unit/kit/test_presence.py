"""An agent says that it is there: at once, then at each interval, also after a fault."""

from types import SimpleNamespace

import pytest

from services.kit import presence, tasks
from services.kit.presence import keep_present
from walt.contracts.hosts import AGENT_PRESENT, AgentPresent

HERE = AgentPresent("lab1", "netemu", underlay="198.18.1.2")


def test_it_is_announced_at_once_and_again_until_it_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(presence, "PRESENCE_S", 0.01)
    announced, thrice = [], tasks.Signal()

    def announce(event: str, value: AgentPresent) -> None:
        announced.append((event, value))
        if len(announced) == 3:
            thrice.set()

    task = keep_present(SimpleNamespace(announce=announce), lambda: HERE)
    assert thrice.wait(5)
    task.kill()
    assert announced == [(AGENT_PRESENT, HERE)] * 3
    tasks.sleep(0.05)
    assert len(announced) == 3


def test_a_fault_costs_one_announcement(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(presence, "PRESENCE_S", 0.01)
    monkeypatch.setattr(tasks, "AFTER_FAULT_S", 0.01)
    outcomes, announced = [KeyError("memory"), HERE], tasks.Signal()

    def here() -> AgentPresent:
        if isinstance(outcomes[0], Exception):
            raise outcomes.pop(0)
        return HERE

    task = keep_present(SimpleNamespace(announce=lambda _, value: announced.set(value)), here)
    assert announced.wait(5) == HERE
    task.kill()
    assert "presence failed" in caplog.text
