import json
import tomllib
from ipaddress import IPv4Network
from pathlib import Path

import pytest

from deploy.broker import rabbitmq
from deploy.local import accounts, instance
from deploy.local.instance import Instance, Uplink
from walt.contracts.broker_permissions import SERVICE_RIGHTS, user_rights

UPLINK = Uplink(IPv4Network("198.18.0.4/30"))


@pytest.fixture
def unit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Instance:
    monkeypatch.setattr(instance, "STATE_ROOT", tmp_path)
    return Instance("unit")


def test_passwords_are_made_once_and_kept_to_their_owner(unit: Instance) -> None:
    first = accounts.ensure(unit)
    assert set(first) == {"walt-services", "walt-accounts"}
    assert accounts.ensure(unit) == first
    assert len(set(first.values())) == 2
    assert (unit.state / "accounts.json").stat().st_mode & 0o777 == 0o600


def test_the_client_file_is_toml_with_the_address_of_the_uplink(unit: Instance) -> None:
    text = accounts.client_config(unit, "zz-nobody", "p/@", UPLINK)
    assert tomllib.loads(text) == {
        "amqp_uri": "amqp://zz-nobody:p%2F%40@198.18.0.6:5672//",
        "while_exists": "/run/netns/walt-unit",
    }


def test_a_client_file_follows_the_address_and_keeps_its_password(unit: Instance) -> None:
    path = unit.clients / "zz-nobody.toml"
    path.parent.mkdir(parents=True)
    path.write_text(accounts.client_config(unit, "zz-nobody", "p/@", Uplink(IPv4Network("198.18.0.8/30"))))
    accounts.readdress(unit, UPLINK)
    assert path.read_text() == accounts.client_config(unit, "zz-nobody", "p/@", UPLINK)
    assert path.stat().st_mode & 0o777 == 0o600


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
        rabbitmq.RabbitmqUser("walt-services", "secret1", SERVICE_RIGHTS),
        rabbitmq.RabbitmqUser("alice", "secret2", user_rights("alice", ["nodes.get_nodes"])),
    ]
    text = rabbitmq.definitions(people)
    found = json.loads(text)
    assert "secret1" not in text and "secret2" not in text
    assert [user["name"] for user in found["users"]] == ["walt-services", "alice"]
    assert {(right["user"], right["exchange"]) for right in found["topic_permissions"]} == {
        ("alice", "nameko-rpc"),
        ("alice", "walt-console"),
    }


def test_the_broker_takes_no_address_that_was_not_given(tmp_path: Path) -> None:
    settings = rabbitmq.BrokerSettings(tmp_path, ("127.0.0.1", "198.18.0.6"))
    listeners = [
        line for line in rabbitmq.private_configuration(settings).splitlines() if line.startswith("listeners.tcp")
    ]
    assert listeners == ["listeners.tcp.1 = 127.0.0.1:5672", "listeners.tcp.2 = 198.18.0.6:5672"]
    assert (
        "inet_dist_use_interface {127,0,0,1}" in rabbitmq.environment(settings)["RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS"]
    )
