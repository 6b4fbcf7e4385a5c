"""What the environment of netemu says."""

from dataclasses import replace
from pathlib import Path

import pytest

from services.kit.environment import Environment
from services.netemu import variables
from services.netemu.overlay.paths import own_address
from walt.contracts.errors import Failed

ENV = Environment("", "lab1", Path(), Path(), Path(), 0, "192.168.172.0/22")


def env(**values: str) -> Environment:
    return replace(ENV, variables=values)


def test_the_server_has_the_first_address():
    assert variables.server_address(ENV) == "192.168.172.1/22"
    assert variables.on_walt_net(ENV, "192.168.173.7") == "192.168.173.7/22"


def test_which_host_it_is():
    assert variables.is_server(ENV) and variables.is_server(env(WALT_SERVER_HOST="lab1"))
    assert not variables.is_server(env(WALT_SERVER_HOST="lab2"))


def test_the_underlay_is_an_address_and_a_further_host_needs_one():
    assert variables.underlay(ENV) == ""
    assert variables.underlay(env(WALT_UNDERLAY="10.7.0.1")) == "10.7.0.1"
    with pytest.raises(SystemExit, match="WALT_UNDERLAY=lab1: allowed: the IPv4 address of this host, or nothing"):
        variables.underlay(env(WALT_UNDERLAY="lab1"))
    with pytest.raises(SystemExit, match="WALT_UNDERLAY: a host beside the server's needs one"):
        variables.underlay(env(WALT_SERVER_HOST="lab2"))


def test_who_has_its_underlay_address_from_others_sends_from_its_interface():
    assert own_address("192.0.2.2", "") == "192.0.2.2"
    assert own_address("192.0.2.2", "lo") == "127.0.0.1"
    assert own_address("", "lo") == ""
    with pytest.raises(Failed, match="WALT_UNDERLAY_INTERFACE=none9: it has no IPv4 address"):
        own_address("192.0.2.2", "none9")
