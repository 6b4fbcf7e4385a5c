"""An agent obeys one history of the registry, and stops where nodes has another."""

from __future__ import annotations

import json

import pytest

from services.kit.registry_guard import RegistryGuard
from walt.contracts import serialization
from walt.contracts.errors import Failed, Unreachable
from walt.contracts.nodes import Revision


class Nodes:
    """Answers for the history of one registry: `epochs` as in nodes, {epoch: last sequence}."""

    def __init__(self, epochs):
        self.epochs = epochs
        self.asked = []
        self.is_away = False

    def call(self, service, method, agent, registry, epoch, sequence):
        assert (service, method, agent) == ("nodes", "check_history", "vmrunner@lab")
        self.asked.append((registry, epoch, sequence))
        if self.is_away:
            raise Unreachable("nodes does not answer")
        if sequence > self.epochs.get(epoch, -1):
            return None
        present = list(self.epochs)[-1]
        return serialization.dump(Revision(present, self.epochs[present]))


@pytest.fixture
def nodes():
    return Nodes({"e1": 10})


@pytest.fixture
def guard(tmp_path, nodes):
    guard = RegistryGuard(tmp_path, "vmrunner@lab", nodes.call)
    guard.check("r1", Revision("e1", 7))
    return guard


def test_what_goes_on_is_obeyed_without_asking(guard, nodes, tmp_path):
    guard.check("r1", Revision("e1", 9))
    assert guard.allows("a late event", "r1", Revision("e1", 8))
    guard.check("r1", Revision("e1", 9))
    guard.check("", Revision())  # of a version before
    assert nodes.asked == [] and json.loads((tmp_path / "registry").read_text())["revision"]["sequence"] == 9


def test_a_new_epoch_is_obeyed_if_the_history_is_the_same(guard, nodes):
    nodes.epochs = {"e1": 7, "e2": 12}
    assert guard.allows("an event", "r1", Revision("e2", 11))
    assert guard.allows("another", "r1", Revision("e2", 12)) and nodes.asked == [("r1", "e1", 7)]
    assert guard.fault == ""


@pytest.mark.parametrize("epochs", [{"e1": 5}, {"e1": 5, "e2": 6}, {"e0": 5, "e2": 900}])
def test_fault_s11_an_older_registry_is_not_obeyed(guard, nodes, epochs, tmp_path):
    """Restored, and perhaps changed since, so that its sequence is beyond what was obeyed."""
    nodes.epochs = epochs
    present = Revision(*list(epochs.items())[-1])
    with pytest.raises(Failed, match="registry r1, but nodes has an older one now"):
        guard.check("r1", present)
    assert not guard.allows("an event", "r1", present) and guard.wake.is_set() and guard.fault
    again = RegistryGuard(tmp_path, "vmrunner@lab", nodes.call)  # it is remembered over restarts
    with pytest.raises(Failed):
        again.check("r1", present)


def test_fault_s11_events_end_it_too_and_wake_the_reconciliation(guard, nodes):
    nodes.epochs = {"e1": 5, "e2": 6}
    assert not guard.allows("an event", "r1", Revision("e2", 6)) and guard.wake.is_set()


def test_what_is_decided_is_obeyed_again(guard, nodes):
    nodes.epochs = {"e1": 5, "e2": 6}
    with pytest.raises(Failed):
        guard.check("r1", Revision("e2", 6))
    nodes.epochs = {"e1": 7, "e2": 6, "e3": 6}  # an administrator accepts the restored one
    guard.check("r1", Revision("e3", 6))
    assert guard.fault == "" and guard.allows("an event", "r1", Revision("e3", 7))


def test_another_registry_is_not_obeyed_until_it_is_accepted(guard, nodes):
    nodes.epochs = {"f1": 3}
    with pytest.raises(Failed, match="registry r1, but nodes has registry r2 now"):
        guard.check("r2", Revision("f1", 3))
    nodes.epochs = {"e1": 7, "f2": 3}
    guard.check("r2", Revision("f2", 3))
    assert guard.fault == "" and nodes.asked[-1] == ("r1", "e1", 7)


def test_while_nodes_is_away_nothing_is_decided(guard, nodes):
    nodes.is_away = True
    assert not guard.allows("an event", "r1", Revision("e2", 8)) and guard.fault == ""
    nodes.is_away, nodes.epochs = False, {"e1": 7, "e2": 8}
    assert guard.allows("an event", "r1", Revision("e2", 8))


def test_identity_that_a_version_before_has_written(tmp_path, nodes):
    (tmp_path / "registry").write_text("r1")
    guard = RegistryGuard(tmp_path, "vmrunner@lab", nodes.call)
    guard.check("r1", Revision("e1", 4))
    assert nodes.asked == []
    guard.check("r1", Revision("e1", 5))
    nodes.epochs = {"e1": 2}
    with pytest.raises(Failed):
        guard.check("r1", Revision("e1", 2))


def test_nothing_is_kept_and_nothing_is_asked(guard, nodes):
    guard.release()
    guard.check("r2", Revision("f1", 1))
    assert nodes.asked == []
