"""When force would help, a person is asked; nobody else ever is."""

import io

import pytest

from cli import notices
from cli.asking import insist
from cli.commands import run
from services.contracts.errors import Conflict, NotOwner
from tests.unit.cli.fakes import FakeClient, Script

HOLDS = Conflict("node 'a' holds data; --force destroys it", "node 'b' holds data; --force destroys it")
DONE = {"nodes": [{"name": "a"}], "notes": []}


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


@pytest.mark.parametrize("refusal", [Conflict("vnode1 is busy"), NotOwner("vnode1 belongs to bob")])
def test_what_force_does_not_help_is_not_asked(refusal, monkeypatch):
    monkeypatch.setattr("sys.stdin", Person("y\n"))

    def order(force):
        assert not force
        raise refusal

    with pytest.raises(type(refusal)):
        insist(order, False)


def test_notice():
    event = {"node": "vnode1", "user": "bob", "kind": "takeover", "at": 100.0, "text": "from alice to bob"}
    assert notices.sentences([event], 290.0) == ["vnode1 was taken over by bob 3m ago (walt log show vnode1)"]
