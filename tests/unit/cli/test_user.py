"""`walt user`: what it asks, what it writes where, and that no password is lost on the way."""

import json
import tomllib

import pytest

from cli.tree import run
from tests.unit.cli.fakes import FakeClient, node
from walt.client_toml import with_login
from walt.contracts.errors import Conflict, InvalidRequest

OWN = """# where the platform is
amqp_uri = "amqps://ada:old@lab.example:5671//"  # mine
ca = '''
-----BEGIN'''
"""
NEW = {"name": "bob", "password": "p/@ x"}
BOBS = {"amqp_uri": "amqps://bob:p%2F%40%20x@lab.example:5671//", "ca": "-----BEGIN"}


class Configured(FakeClient):
    def __init__(self, source, **answers):
        super().__init__(**answers)
        self.configuration = type("Configuration", (), {"user": "ada", "source": source})


@pytest.fixture
def own(tmp_path):
    path = tmp_path / "client.toml"
    path.write_text(OWN)
    return path


def test_add_prints_a_whole_client_file(own, capsys):
    client = Configured(own, add_user=NEW)
    assert run(["user", "add", "bob", "--admin"], client) == 0
    assert client.calls == [("nodes.add_user", {"name": "bob", "administrator": True})]
    said = capsys.readouterr()
    assert tomllib.loads(said.out) == BOBS
    assert said.err == "bob: added as an administrator\n"
    assert own.read_text() == OWN


@pytest.mark.parametrize(("line", "method"), [("user add bob", "add_user"), ("user passwd bob", "change_password")])
def test_client_file_of_another_is_for_its_owner_only(own, tmp_path, line, method, capsys):
    path = tmp_path / "bob.toml"
    assert run([*line.split(), "--config", str(path)], Configured(own, **{method: NEW})) == 0
    assert tomllib.loads(path.read_text()) == BOBS
    assert path.stat().st_mode & 0o777 == 0o600
    assert capsys.readouterr().out == ""


def test_file_that_exists_or_cannot_be_made_is_refused_before_anything_changes(own, tmp_path, capsys):
    client = Configured(own, add_user=NEW)
    assert run(["user", "add", "bob", "--config", str(own)], client) == 4
    assert run(["user", "add", "bob", "--config", str(tmp_path / "no" / "bob.toml")], client) == 2
    assert client.calls == []
    assert own.read_text() == OWN
    assert "exists; allowed: a file that does not" in capsys.readouterr().err


def test_no_file_is_left_of_what_was_refused(own, tmp_path):
    path = tmp_path / "bob.toml"
    assert run(["user", "add", "bob", "--config", str(path)], Configured(own, add_user=Conflict("taken"))) == 4
    assert not path.exists()


@pytest.mark.parametrize("line", ["user passwd", "user passwd ada"])
def test_own_password_is_changed_in_the_file_in_use_even_behind_a_link(own, tmp_path, line, capsys):
    link = tmp_path / "link.toml"
    link.symlink_to(own)
    client = Configured(link, change_password={"name": "ada", "password": "shorter"})
    assert run(line.split(), client) == 0
    assert client.calls == [("nodes.change_password", {"password": None})]
    assert own.read_text() == OWN.replace("ada:old", "ada:shorter")
    assert link.is_symlink() and capsys.readouterr().out == ""


def test_own_password_is_printed_when_the_file_cannot_be_written(own, capsys, monkeypatch):
    def refused(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("walt.client_toml.os.open", refused)
    assert run(["user", "passwd"], Configured(own, change_password={"name": "ada", "password": "new"})) == 1
    said = capsys.readouterr()
    assert tomllib.loads(said.out)["amqp_uri"] == "amqps://ada:new@lab.example:5671//"
    assert "the password is changed, but" in said.err


def test_chosen_password_is_the_first_line_of_stdin_never_an_argument(own, monkeypatch, capsys):
    client = Configured(own, change_password=NEW)
    monkeypatch.setattr("sys.stdin.readline", lambda: "correct horse battery\n", raising=False)
    assert run(["user", "passwd", "bob", "--choose"], client) == 0
    assert client.calls[0][1] == {"name": "bob", "password": "correct horse battery"}
    monkeypatch.setattr("sys.stdin.readline", lambda: "", raising=False)
    assert run(["user", "passwd", "--choose"], client) == 2
    assert run(["user", "passwd", "--config", "x"], client) == 2
    assert run(["user", "passwd", "bob", "secret"], client) == 2
    assert len(client.calls) == 1


def test_remove_tells_what_became_of_the_nodes(own, capsys):
    client = Configured(own, remove_user={"nodes": [node("one"), node("two")], "notes": ["one: emptied"]})
    assert run(["user", "remove", "bob", "--force"], client) == 0
    assert client.calls == [("nodes.remove_user", {"name": "bob", "force": True})]
    assert capsys.readouterr().err == "bob: removed; released: one, two\none: emptied\n"
    client = Configured(own, remove_user=Conflict("user 'bob' owns nodes (one); they are released with --force"))
    assert run(["user", "remove", "bob"], client) == 4, "nobody is asked without a terminal"


def test_list(own, capsys):
    rows = [{"name": "ada", "administrator": True, "nodes": ["a", "b"], "connected": True}]
    assert run(["user", "list"], Configured(own, get_users=rows)) == 0
    assert capsys.readouterr().out.splitlines()[1].split() == ["ada", "yes", "yes", "a,b"]
    assert run(["user", "list", "-o", "json"], Configured(own, get_users=rows)) == 0
    assert json.loads(capsys.readouterr().out) == rows


def test_file_without_the_line_is_refused():
    with pytest.raises(InvalidRequest, match="amqp_uri is not on a line of its own"):
        with_login("x = 1\n", "bob", "p")


USE = {
    "user": "bob",
    "allowed": {"nodes": 20, "ram_bytes": 2**34, "disk_bytes": None, "images": 20, "image_bytes": 40 * 10**9},
    "used": {"nodes": 3, "ram_bytes": 3 * 2**29, "disk_bytes": 40 * 10**9, "image_bytes": 412_345_678},
}


def test_show_prints_what_is_used_and_allowed(own, capsys):
    client = Configured(own, get_use=USE)
    assert run(["user", "show"], client) == 0
    assert [line.split() for line in capsys.readouterr().out.splitlines()] == [
        ["limit", "used", "allowed"],
        ["nodes", "3", "20"],
        ["ram", "1536M", "16G"],
        ["disk", "40G", "none"],
        ["images", "?", "20"],
        ["image.space", "412MB", "40G"],
    ]
    assert run(["user", "show", "bob", "-o", "json"], client) == 0
    assert json.loads(capsys.readouterr().out)[3] == {"limit": "images", "used": None, "allowed": 20}
    assert client.calls == [("nodes.get_use", {"name": None}), ("nodes.get_use", {"name": "bob"})]


def test_limit_sends_the_words_as_they_are(own, capsys):
    client = Configured(own, set_limits=USE)
    assert run(["user", "limit", "bob", "nodes=20", "disk=none"], client) == 0
    assert client.calls == [("nodes.set_limits", {"name": "bob", "limits": ["nodes=20", "disk=none"]})]
    assert capsys.readouterr().out.splitlines()[3].split() == ["disk", "40G", "none"]
    assert run(["user", "limit", "bob"], client) == 2
