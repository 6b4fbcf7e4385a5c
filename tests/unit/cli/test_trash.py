"""`walt trash`: what administrators see of removed disks, and what they do with them."""

import pytest

from cli.tree import run
from tests.unit.cli.fakes import FakeClient
from walt.contracts.errors import Denied

DISK = {
    "id": "disk-17",
    "node": "vnode1",
    "owner": "alice",
    "what": "32G[template=ext4]",
    "used_bytes": 5_000_000,
    "at": 1e9,
    "left_s": 7200.0,
    "restored_to": "",
}


def test_show(capsys):
    assert run(["trash", "show"], FakeClient(get_trash=[DISK])) == 0
    head, row = capsys.readouterr().out.splitlines()
    assert head.split() == ["id", "node", "owner", "what", "used", "removed", "left"]
    assert row.split()[:4] == ["disk-17", "vnode1", "alice", "32G[template=ext4]"] and row.endswith("2 h")
    assert run(["trash", "show"], FakeClient(get_trash=[])) == 0
    assert "the trash is empty" in capsys.readouterr().err


def test_restore(capsys):
    client = FakeClient(restore_trash={"nodes": [], "notes": ["vnode2 gets it at its next boot"]})
    assert run(["trash", "restore", "disk-17", "vnode2"], client) == 0
    assert client.calls == [("nodes.restore_trash", {"disk": "disk-17", "node": "vnode2"})]
    assert capsys.readouterr().err == "disk-17: restored\nvnode2 gets it at its next boot\n"
    assert run(["trash", "restore", "x", "y"], FakeClient(restore_trash=Denied("bob is not"))) == 5


@pytest.mark.parametrize(("words", "disks"), [(["--all"], None), (["disk-17", "persist-1"], ["disk-17", "persist-1"])])
def test_empty(words, disks, capsys):
    client = FakeClient(empty_trash=["disk-17"])
    assert run(["trash", "empty", *words], client) == 0
    assert client.calls == [("nodes.empty_trash", {"disks": disks})]
    assert capsys.readouterr().err == "deleted: disk-17\n"


@pytest.mark.parametrize("words", [[], ["disk-17", "--all"]])
def test_empty_says_what_it_needs(words, capsys):
    client = FakeClient()
    assert run(["trash", "empty", *words], client) == 2 and client.calls == []
    assert "allowed: one or more of ID, or --all" in capsys.readouterr().err
