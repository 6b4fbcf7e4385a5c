"""When force would help, a person is asked; nobody else ever is."""

import io

import pytest

from cli.tree import run
from cli.ui import takeover_notices
from cli.ui.confirm import confirm_force
from tests.unit.cli.fakes import FakeClient, Script, node
from walt.contracts.errors import Conflict, NeedsForce, NotOwner, OwnerNeedsForce
from walt.contracts.nodes import Event

HOLDS = NeedsForce("node 'a' holds data; --force destroys it", "node 'b' holds data; --force destroys it")
DONE = {"nodes": [node("a")], "notes": []}


class Person(io.StringIO):
    def isatty(self):
        return True


def test_nobody_is_asked_without_a_terminal(monkeypatch, capsys):
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    client = FakeClient(remove_nodes=HOLDS)
    assert run(["node", "remove", "a,b"], client) == 4
    assert len(client.calls) == 1
    assert capsys.readouterr().err.count("--force") == 2


@pytest.mark.parametrize(("answer", "status", "calls"), [("y\n", 0, 2), ("n\n", 4, 1), ("\n", 4, 1), ("", 130, 1)])
def test_a_person_decides(answer, status, calls, monkeypatch, capsys):
    monkeypatch.setattr("sys.stdin", Person(answer))
    client = FakeClient(remove_nodes=Script(HOLDS, DONE))
    assert run(["node", "remove", "a,b"], client) == status
    assert [arguments["force"] for _, arguments in client.calls] == [False, True][:calls]
    said = capsys.readouterr()
    assert said.out == ""
    assert "walt: node 'b' holds data" in said.err
    assert status != 130 or said.err.endswith("[y/N]: \nwalt: interrupted\n")


@pytest.mark.parametrize("refusal", [Conflict("it is busy; not even --force helps"), NotOwner("vnode1 belongs to bob")])
def test_what_force_does_not_help_is_not_asked(refusal, monkeypatch):
    monkeypatch.setattr("sys.stdin", Person("y\n"))

    def order(force):
        assert not force
        raise refusal

    with pytest.raises(type(refusal)):
        confirm_force(order, False)


@pytest.mark.parametrize("refusal", [NeedsForce("it holds data"), OwnerNeedsForce("it belongs to bob")])
def test_the_class_of_a_refusal_says_that_force_helps(refusal, monkeypatch, capsys):
    monkeypatch.setattr("sys.stdin", Person("y\n"))

    def command(force):
        if not force:
            raise refusal
        return "done"

    assert confirm_force(command, False) == "done"
    assert "Do it anyway? [y/N]" in capsys.readouterr().err


def test_notice():
    event = Event(1, 100.0, "vnode1", "alice", "bob", "takeover", "from alice to bob")
    assert takeover_notices.sentences([event], 290.0) == ["vnode1 was taken over by bob 3m ago (walt log show vnode1)"]
