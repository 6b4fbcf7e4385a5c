"""Accounts of people: made, changed and ended by the nodes service at a real RabbitMQ."""

from __future__ import annotations

import contextlib
import logging

import pytest
from amqp.exceptions import AccessRefused, ConnectionForced, NotAllowed

from cli.tree import run
from services.nodes import operator_settings
from services.nodes.users import accounts
from services.nodes.users.rabbitmq_api import ManagementApi
from services.nodes.users.rules import BrokerAccount
from tests.service.conftest import PUBLIC
from tests.service.nodes.people import ADMIN, do, users
from tests.support.amqp_user import NO_RIGHT, SERVED
from tests.support.wait import wait_until
from walt.client import Client
from walt.configuration import parse_configuration
from walt.contracts.broker_permissions import ADMINISTRATOR, USER, user_rights
from walt.contracts.errors import (
    Conflict,
    Denied,
    Failed,
    InvalidRequest,
    NeedsForce,
    NotFound,
    NotOwner,
    Unreachable,
)
from walt.contracts.nodes import USE_CONSOLE, WATCH_CONSOLE

PASSWORD = "correct horse battery"


def test_a_user_who_is_added_can_do_the_public_methods_and_no_more(admin, login):
    made = do(admin, "add_user", name="bea")
    bea = login("bea", made["password"])
    assert len(made["password"]) >= 32
    assert do(bea, "get_nodes", selection="all-nodes") == []
    assert bea.outcome("nodes.get_specs", {}, "bea") == NO_RIGHT
    with pytest.raises(Denied, match="bea is not an administrator of this platform"):
        do(bea, "add_user", name="eve")
    assert users(admin)["bea"] == {"name": "bea", "administrator": False, "nodes": [], "connected": True}


def test_an_administrator_can_make_another(admin, login):
    zoe = login("zoe", do(admin, "add_user", name="zoe", administrator=True)["password"])
    assert do(zoe, "add_user", name="bea")["name"] == "bea"
    assert [(one["name"], one["administrator"]) for one in do(zoe, "get_users")] == [
        (ADMIN, True), ("bea", False), ("zoe", True)
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["walt-services", "walt-x", "guest", "Eve", "a.b", "#", "x" * 33])
def test_names_that_are_none_are_refused(admin, api, name):
    before = api.accounts()
    with pytest.raises(InvalidRequest, match="is not a user name; allowed: "):
        do(admin, "add_user", name=name)
    assert api.accounts() == before


def test_a_name_is_taken_once_and_accounts_of_the_broker_are_not_touched(admin, api):
    do(admin, "add_user", name="bea")
    with pytest.raises(Conflict, match="the name 'bea' is taken by a user"):
        do(admin, "add_user", name="bea")
    with pytest.raises(Conflict, match="the name 'alice' is taken by an account of the broker"):
        do(admin, "add_user", name="alice")
    for method in ("remove_user", "change_password"):
        with pytest.raises(NotFound, match="no user 'alice'"):
            do(admin, method, name="alice")
    assert api.account("alice").tags == frozenset()


def test_removed_user_is_out_at_once(admin, login):
    bea = login("bea", do(admin, "add_user", name="bea")["password"])
    assert do(admin, "remove_user", name="bea") == {"nodes": [], "notes": []}
    assert "bea" not in users(admin)
    with pytest.raises((ConnectionForced, AccessRefused, OSError)):
        do(bea, "get_nodes", selection="all-nodes")
    with pytest.raises(NotFound, match="no user 'bea'"):
        do(admin, "remove_user", name="bea")


def test_nobody_removes_himself_so_that_one_administrator_stays(admin):
    with pytest.raises(Conflict, match=f"'{ADMIN}' is you"):
        do(admin, "remove_user", name=ADMIN, force=True)


def test_user_with_nodes_is_removed_by_force_only_and_the_nodes_are_free(admin, login, service, caplog):
    bea = login("bea", do(admin, "add_user", name="bea")["password"])
    do(bea, "create_nodes", names=["one", "two"], settings=["networks=walt-net,home"])
    with pytest.raises(NeedsForce, match=r"user 'bea' owns nodes \(one, two\); .* with --force"):
        do(admin, "remove_user", name="bea")
    assert users(admin)["bea"]["nodes"] == ["one", "two"]
    caplog.set_level(logging.INFO)
    done = do(admin, "remove_user", name="bea", force=True)
    assert [(one["name"], one["owner"]) for one in done["nodes"]] == [("one", ""), ("two", "")]
    assert any(f"user removed: user=bea by={ADMIN}" in record.getMessage() for record in caplog.records)
    logged = do(admin, "get_events", selection="one")[-1]
    assert (logged["kind"], logged["user"], logged["text"]) == ("release", ADMIN, "bea leaves --force")


def test_removal_that_was_cut_off_can_be_done_again(admin, login, api):
    bea = login("bea", do(admin, "add_user", name="bea")["password"])
    do(bea, "create_nodes", names=["three"])
    api.delete("bea")  # as far as a crash let it come
    with pytest.raises(NotFound):
        do(admin, "remove_user", name="bea")
    with pytest.raises(Conflict, match=r"nodes of a former user 'bea' are still there \(three\)"):
        do(admin, "add_user", name="bea")
    assert [one["name"] for one in do(admin, "remove_user", name="bea", force=True)["nodes"]] == ["three"]
    assert do(admin, "add_user", name="bea")["name"] == "bea"


def test_own_password(admin, login):
    old = do(admin, "add_user", name="bea")["password"]
    bea = login("bea", old)
    assert do(bea, "change_password", password=PASSWORD) == {"name": "bea", "password": PASSWORD}
    assert bea.outcome("nodes.get_notices", {}, "bea") == SERVED, "who changes his own stays connected"
    assert login("bea", PASSWORD).outcome("nodes.get_notices", {}, "bea") == SERVED
    with pytest.raises(AccessRefused):
        login("bea", old)
    new = do(bea, "change_password")["password"]
    assert new not in (old, PASSWORD) and login("bea", new)


def test_password_of_another_is_an_administrators_and_ends_his_connections(admin, login):
    bea, eve = (login(name, do(admin, "add_user", name=name)["password"]) for name in ("bea", "eve"))
    with pytest.raises(Denied):
        do(eve, "change_password", name="bea", password=PASSWORD)
    do(admin, "change_password", name="bea", password=PASSWORD)
    with pytest.raises((ConnectionForced, AccessRefused, OSError)):
        do(bea, "get_nodes", selection="all-nodes")
    assert login("bea", PASSWORD).outcome("nodes.get_notices", {}, "bea") == SERVED
    do(admin, "change_password", name=ADMIN, password=PASSWORD)  # his own, by name
    assert users(admin)[ADMIN]["administrator"], "what he may is kept"


@pytest.mark.parametrize("password", ["", "short", "x" * 129, "line\nend here 123", "bell\a and whistle"])
def test_bad_passwords_are_refused_and_never_repeated(admin, caplog, password):
    with pytest.raises(InvalidRequest, match="this password is not accepted; allowed: 12 to 128") as refused:
        do(admin, "change_password", password=password)
    assert not password or password not in str(refused.value) + caplog.text


def test_passwords_are_not_logged(admin, login, caplog):
    caplog.set_level(logging.DEBUG, logger="services")
    made = do(admin, "add_user", name="bea")
    do(login("bea", made["password"]), "change_password", password=PASSWORD)
    assert "user added: user=bea" in caplog.text
    assert made["password"] not in caplog.text and PASSWORD not in caplog.text


def test_ensured_user_keeps_what_he_may_and_gets_a_password(admin, login, api, ensured):
    api.put(BrokerAccount("bea", frozenset()), "somebody-elses")  # of the time before users had tags
    first = ensured("bea", administrator=True)
    second = ensured("bea")
    assert first != second
    assert api.account("bea").tags == {USER, ADMINISTRATOR}
    assert login("bea", second).outcome("nodes.get_users", {}, "bea") == SERVED


def test_rights_follow_the_public_methods_at_the_next_start(admin, login, api, service):
    bea = login("bea", do(admin, "add_user", name="bea")["password"])
    api.put_rights("bea", user_rights("bea", ["nodes.get_nodes", "nodes.authorize"]))  # as of an older release
    others = {name: one for name, one in api.rights().items() if name not in ("bea", ADMIN)}
    assert bea.outcome("nodes.get_notices", {}, "bea") == NO_RIGHT
    service.stop()
    service.start()
    wait_until(lambda: api.rights()["bea"] == user_rights("bea", PUBLIC))
    assert bea.outcome("nodes.get_notices", {}, "bea") == SERVED
    assert bea.outcome("nodes.authorize", {}, "bea") == NO_RIGHT
    assert {name: one for name, one in api.rights().items() if name not in ("bea", ADMIN)} == others


def test_account_that_gets_no_rights_is_not_left_behind(admin, api, service):
    service.public_file.write_text("")
    try:
        with pytest.raises(Failed, match="the list of public methods is empty"):
            do(admin, "add_user", name="bea")
    finally:
        service.public_file.write_text("\n".join(PUBLIC))
    assert api.account("bea") is None


def test_broker_that_does_not_answer_is_told(admin, service, monkeypatch):
    accounts = service.app.accounts
    port = accounts._api._address[1]
    monkeypatch.setattr(accounts, "_api", ManagementApi("http://x:y@127.0.0.1:1", "/"))
    reply = admin.reply("nodes.get_users", user_id=ADMIN)
    assert reply["error"]["exc_type"] == "Unreachable"
    assert "the management API of the broker does not answer" in reply["error"]["value"]
    monkeypatch.setattr(accounts, "_api", ManagementApi(f"http://walt-accounts:wrong@127.0.0.1:{port}", "/"))
    assert admin.reply("nodes.get_users", user_id=ADMIN)["error"]["exc_type"] == "Failed"


def test_platform_without_the_management_api_says_so(admin, service, monkeypatch):
    monkeypatch.setattr(service.app.accounts, "_api", None)
    with pytest.raises(Failed, match="WALT_BROKER_API is not set"):
        do(admin, "add_user", name="bea")


@pytest.mark.parametrize("setting", ["owner", "all"])
def test_who_may_watch_anothers_console(admin, login, service, ensured, monkeypatch, setting):
    owner = login("bea", ensured("bea"))
    do(owner, "create_nodes", names=[f"watched-{setting}"])
    monkeypatch.setenv("WALT_WATCH_CONSOLES", setting)
    service.stop()
    service.start()
    ask = {"user": ADMIN, "name": f"watched-{setting}"}
    if setting == "all":
        assert service.bus.call("nodes", "authorize", **ask, action=WATCH_CONSOLE)["owner"] == "bea"
    else:
        with pytest.raises(NotOwner):
            service.bus.call("nodes", "authorize", **ask, action=WATCH_CONSOLE)
    with pytest.raises(NotOwner):
        service.bus.call("nodes", "authorize", **ask, action=USE_CONSOLE)


class Walt:
    """`walt` with this client.toml: a new client for each command line, as each is a process of its own."""

    def __init__(self, path, capsys):
        self.path, self.capsys = path, capsys

    def client(self):
        return Client(lambda: parse_configuration(self.path.read_text(), self.path))

    def __call__(self, *words):
        """(exit code, what it printed on stdout, and on stderr)"""
        client = self.client()
        try:
            status = run(list(words), client)
        finally:
            client.close()
        return (status, *self.capsys.readouterr())


def test_an_account_by_the_walt_command_from_its_making_to_its_end(
    service, login, ensured, broker_port, vhost, tmp_path, capsys, monkeypatch
):
    """Each account is used as it is handed over; what it had open ends with its password or with itself."""
    ada, cleo, former = (Walt(tmp_path / f"{name}.toml", capsys) for name in (ADMIN, "cleo", "former"))
    password = ensured(ADMIN, administrator=True)
    ada.path.write_text(f'amqp_uri = "amqp://{ADMIN}:{password}@127.0.0.1:{broker_port}/{vhost}"\n')

    def is_out(walt, opened):
        with pytest.raises((Denied, Unreachable), match="CONNECTION_FORCED|refuses the login"):
            opened.call("nodes", "get_notices")
        status, _, stderr = walt("node", "show")
        assert (status, "refuses the login of cleo" in stderr) == (5, True)

    def row(name):
        rows = [" ".join(line.split()) for line in ada("user", "list")[1].splitlines()]
        return next((one for one in rows if one.split()[0] == name), None)

    assert ada("user", "add", "cleo", "--config", str(cleo.path)) == (0, "", "cleo: added\n")
    assert cleo("node", "create", "hers")[0] == 0
    assert cleo("user", "list")[0] == 5

    former.path.write_text(cleo.path.read_text())
    assert cleo("user", "passwd")[0] == 0
    assert [walt("node", "show", "hers")[0] for walt in (cleo, former)] == [0, 5]

    opened = cleo.client()
    assert opened.call("nodes", "get_notices") == []
    assert row("cleo") == "cleo no yes hers"
    monkeypatch.setattr("sys.stdin.readline", lambda: PASSWORD + "\n", raising=False)
    status, given, _ = ada("user", "passwd", "cleo", "--choose")
    assert status == 0
    is_out(cleo, opened)
    cleo.path.write_text(given)
    opened = cleo.client()
    assert [one["name"] for one in opened.call("nodes", "get_nodes", selection="my-nodes")] == ["hers"]

    status, _, stderr = ada("user", "remove", "cleo")
    assert (status, "owns nodes (hers)" in stderr) == (4, True)
    assert ada("user", "remove", "cleo", "--force") == (0, "", "cleo: removed; released: hers\n")
    is_out(cleo, opened)
    assert row("cleo") is None and row(ADMIN) == f"{ADMIN} yes yes"
    assert ada("node", "acquire", "hers")[0] == 0


def test_bad_setting_of_watchers_ends_the_start():
    with pytest.raises(SystemExit, match="WALT_WATCH_CONSOLES=everyone is not accepted; allowed: owner or all"):
        operator_settings.watchers("everyone")


def test_a_user_who_is_suspended_is_out_at_once_and_in_again_after_a_while(admin, login, service, monkeypatch):
    monkeypatch.setattr(accounts, "SUSPENDED_S", 1.5)
    password = do(admin, "add_user", name="bea")["password"]
    bea = login("bea", password)
    service.bus.call("nodes", "suspend_user", name="bea", reason="nodes refused 300 requests of bea within 5 s")
    with pytest.raises(ConnectionForced, match="refused 300 requests of bea within 5 s; allowed again in 1.5 s"):
        bea.connection.drain_events(timeout=10)
    with pytest.raises((NotAllowed, ConnectionForced, OSError)):
        login("bea", password)
    assert do(admin, "get_use")["user"] == ADMIN

    def is_in():
        with contextlib.suppress(NotAllowed, ConnectionForced, OSError):
            return do(login("bea", password), "get_use")["user"] == "bea"

    wait_until(is_in)


def test_a_restart_ends_a_suspension(admin, login, service, api):
    password = do(admin, "add_user", name="bea")["password"]
    service.bus.call("nodes", "suspend_user", name="bea", reason="flood")
    service.app.accounts.renew()
    assert do(login("bea", password), "get_use")["user"] == "bea"


def test_connections_and_channels_of_a_user_have_a_limit(admin, login, api, service, monkeypatch):
    monkeypatch.setattr(accounts, "CONNECTION_LIMITS", {"max-connections": 2, "max-channels": 3})
    password = do(admin, "add_user", name="bea")["password"]
    first, second = login("bea", password), login("bea", password)
    with pytest.raises((NotAllowed, ConnectionForced, OSError)):
        login("bea", password)
    assert do(first, "get_use")["user"] == do(second, "get_use")["user"] == "bea"
    monkeypatch.undo()
    service.app.accounts.renew()
    assert api.limits()["bea"] == accounts.CONNECTION_LIMITS
    assert do(login("bea", password), "get_use")["user"] == "bea"
