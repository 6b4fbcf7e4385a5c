import json
import tomllib
from ipaddress import IPv4Network
from pathlib import Path

import pytest

from deploy.local import accounts, broker, instance
from deploy.local.instance import Instance, Uplink
from services.contracts.errors import InvalidRequest
from services.contracts.rights import SERVICE_RIGHTS, user_rights

UPLINK = Uplink(IPv4Network("198.18.0.4/30"))


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Instance:
    monkeypatch.setattr(instance, "STATE_ROOT", tmp_path)
    return Instance("unit")


def test_passwords_are_made_once_and_kept_to_their_owner(place: Instance) -> None:
    first = accounts.ensure(place, "alice")
    again = accounts.ensure(place, "bob")
    assert set(again) == {"walt-services", "walt-accounts", "alice", "bob"}
    assert {name: again[name] for name in first} == first
    assert len(set(again.values())) == 4
    assert (place.state / "accounts.json").stat().st_mode & 0o777 == 0o600


def test_the_client_file_is_toml_with_the_address_of_the_uplink(place: Instance) -> None:
    accounts.write_clients(place, UPLINK, {"walt-services": "s", "zz-nobody": "p"})
    (path,) = place.clients.iterdir()
    assert path.name == "zz-nobody.toml"
    assert tomllib.loads(path.read_text()) == {
        "amqp_uri": "amqp://zz-nobody:p@198.18.0.6:5672//",
        "while_exists": "/run/netns/walt-unit",
    }
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("name", ["", "walt-services", "walt-accounts", "Alice", "a b", "1a", "a.b", "a/b", "x" * 33])
def test_names_that_are_no_accounts_are_refused(name: str) -> None:
    with pytest.raises(InvalidRequest, match=f"'{name}' is not a user name; allowed: "):
        accounts.check_user(name)


@pytest.mark.parametrize(
    ("environment", "name"),
    [
        ({"SUDO_USER": "alice", "USER": "root"}, "alice"),
        ({"USER": "bob"}, "bob"),
        ({}, "root"),
        ({"USER": "strange name"}, "root"),
        ({"SUDO_USER": "walt-services"}, "root"),
    ],
)
def test_the_person_who_runs_the_launcher(environment: dict[str, str], name: str) -> None:
    assert accounts.person(environment) == name


def test_definitions_hold_no_password_in_clear_and_every_right() -> None:
    people = [
        broker.Account("walt-services", "secret1", SERVICE_RIGHTS),
        broker.Account("alice", "secret2", user_rights("alice", ["nodes.get_nodes"])),
    ]
    text = broker.definitions(people)
    found = json.loads(text)
    assert "secret1" not in text and "secret2" not in text
    assert [user["name"] for user in found["users"]] == ["walt-services", "alice"]
    assert {(right["user"], right["exchange"]) for right in found["topic_permissions"]} == {
        ("alice", "nameko-rpc"),
        ("alice", "walt-console"),
    }


def test_the_broker_takes_no_address_that_was_not_given(tmp_path: Path) -> None:
    place = broker.BrokerPlace(tmp_path, ("127.0.0.1", "198.18.0.6"))
    listeners = [line for line in broker.configuration(place).splitlines() if line.startswith("listeners.tcp")]
    assert listeners == ["listeners.tcp.1 = 127.0.0.1:5672", "listeners.tcp.2 = 198.18.0.6:5672"]
    assert "inet_dist_use_interface {127,0,0,1}" in broker.environment(place)["RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS"]
