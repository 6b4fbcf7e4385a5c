"""`walt host token`: one word with all that a further server needs; nothing is made when it would be of no use."""

from pathlib import Path

import pytest

from cli.tree import run
from tests.unit.cli.fakes import FakeClient
from walt.configuration import parse_configuration
from walt.contracts.errors import Denied
from walt.contracts.host_token import HostToken, decode

ACCESS = {
    "host": "lab2",
    "account": "walt-host-lab2",
    "password": "p/w",
    "server": "lab1",
    "subnet": "192.168.172.0/22",
}


def client_of(text, **answers):
    client = FakeClient(**answers)
    client.configuration = parse_configuration(text, Path("client.toml"))
    return client


def test_the_token_has_all_and_the_way_is_that_of_the_client_toml(capsys):
    client = client_of('amqp_uri = "amqp://ada:x@lab.example.org:5672//"', admit_host=ACCESS)
    assert run(["host", "token", "lab2"], client) == 0
    assert client.calls == [("nodes.admit_host", {"name": "lab2"})]
    printed = capsys.readouterr()
    uri = "amqp://walt-host-lab2:p%2Fw@lab.example.org:5672/%2F"
    assert decode(printed.out) == HostToken("lab2", uri, "lab1", "192.168.172.0/22")
    assert "p%2Fw" not in printed.err and "walt host remove lab2" in printed.err


@pytest.mark.parametrize(
    "way, said",
    [
        ("amqp://ada:x@127.0.0.1:5672//", "WALT_AMQP_BIND"),
        ("amqp://ada:x@localhost:5672//", "WALT_AMQP_BIND"),
        ("amqp://ada:x@[::1]:5672//", "WALT_AMQP_BIND"),
        ("amqps://ada:x@lab.example.org:5671//", "WALT_AMQP_TLS=off"),
    ],
)
def test_a_token_that_leads_nowhere_is_not_made(way, said, capsys):
    client = client_of(f'amqp_uri = "{way}"', admit_host=ACCESS)
    assert run(["host", "token", "lab2"], client) == 2 and client.calls == []
    assert said in capsys.readouterr().err


def test_who_may_not_is_told(capsys):
    client = client_of('amqp_uri = "amqp://bob:x@192.0.2.1//"', admit_host=Denied("bob is no administrator"))
    assert run(["host", "token", "lab2"], client) == 5
    assert capsys.readouterr().out == ""
