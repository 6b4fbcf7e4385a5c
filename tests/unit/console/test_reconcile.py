from dataclasses import replace

import pytest

from services.console.reconcile import Reconciler
from tests.support.specs import SPEC
from walt.contracts.errors import Conflict, Failed
from walt.contracts.nodes import NodeRemoved, NodeTarget, Specs


class Lines:
    def __init__(self):
        self.owners = []
        self.removed = []

    def ids(self):
        return {SPEC.id}

    def change_owner(self, node_id, owner):
        self.owners.append(owner.name)

    def remove(self, node_id):
        self.removed.append(node_id)


class Sessions:
    def __init__(self):
        self.stopped = []

    def change_owner(self, spec):
        pass

    def stop_node(self, node_id, reason):
        self.stopped.append((node_id, reason))


class Registry:
    """ "r1" is the registry of the nodes to which the lines belong."""

    def check(self, identity, revision):
        if identity != "r1":
            raise Failed("another registry")

    def allows(self, event, identity, revision):
        return identity == "r1"


class Nodes:
    """`answer()` is what it knows when it is asked."""

    def __init__(self):
        self.answer = list

    def get_specs(self):
        return Specs("r1", tuple(self.answer()))


def spec(version, owner):
    return replace(SPEC, version=version, owner=owner, registry="r1")


@pytest.fixture
def lines():
    return Lines()


@pytest.fixture
def sessions():
    return Sessions()


@pytest.fixture
def registry():
    return Registry()


@pytest.fixture
def nodes():
    return Nodes()


@pytest.fixture
def reconciler(lines, sessions, registry, nodes):
    return Reconciler(lines, sessions, registry, nodes.get_specs)


def test_a_late_event_changes_nothing(reconciler, lines):
    reconciler.apply(spec(9, "alice"))
    reconciler.apply(spec(8, "bob"))
    assert lines.owners == ["alice"]


def test_a_registry_restored_from_a_backup_is_the_registry(reconciler, lines, nodes):
    reconciler.apply(spec(9, "alice"))
    nodes.answer = lambda: [spec(5, "bob")]
    reconciler.reconcile()
    assert lines.owners == ["alice", "bob"]
    reconciler.apply(spec(6, "carol"))
    assert lines.owners[-1] == "carol"


def test_an_event_after_the_question_is_newer_than_the_answer(reconciler, lines, nodes):
    def answer():
        reconciler.apply(spec(7, "carol"))
        return [spec(6, "bob")]

    nodes.answer = answer
    reconciler.reconcile()
    assert lines.owners == ["carol"]


def test_lines_of_unknown_nodes_are_removed(reconciler, lines, sessions):
    reconciler.reconcile()
    assert lines.removed == [SPEC.id]
    assert sessions.stopped == [(SPEC.id, "the node is removed")]


def test_another_registry_removes_nothing_and_takes_nothing_over(reconciler, lines):
    removed = NodeRemoved(SPEC.id, "vnode1", "lab1", "r2")
    reconciler.remove(removed)
    reconciler.apply(replace(spec(9, "bob"), registry="r2"))
    assert (lines.removed, lines.owners) == ([], [])
    reconciler.remove(replace(removed, registry="r1"))
    assert lines.removed == [SPEC.id]


def test_what_was_authorized_before_a_change_of_owner_is_refused(reconciler):
    target = NodeTarget(SPEC.id, "vnode1", "alice", "lab1", "192.0.2.1", "booted", version=5)
    reconciler.check_owner(target)
    reconciler.apply(spec(6, "alice"))
    reconciler.check_owner(target)
    reconciler.apply(spec(7, "bob"))
    with pytest.raises(Conflict, match="vnode1 has changed hands just now"):
        reconciler.check_owner(target)
    reconciler.check_owner(replace(target, version=8))


def test_fault_s32_what_was_authorized_for_a_former_account_of_that_name_is_refused(reconciler):
    target = NodeTarget(SPEC.id, "vnode1", "alice", "lab1", "192.0.2.1", "booted", version=5, owner_account="alice-1")
    reconciler.apply(replace(spec(6, "alice"), owner_account="alice-1"))
    reconciler.check_owner(target)
    reconciler.apply(replace(spec(7, "alice"), owner_account="alice-2"))
    with pytest.raises(Conflict, match="vnode1 has changed hands just now"):
        reconciler.check_owner(target)
