"""What `setup join` keeps of a token, and that a later start needs none."""

import os

import pytest
from click.testing import CliRunner

from deploy.compose import __main__ as setup
from walt.contracts import host_token
from walt.contracts.errors import InvalidRequest
from walt.contracts.host_token import HostToken

TOKEN = HostToken("lab2", "amqp://walt-host-lab2:x@192.0.2.1:5672/%2F", "lab1", "10.0.0.0/22")


@pytest.fixture
def volume(tmp_path, monkeypatch):
    monkeypatch.setattr(setup, "SERVICES", tmp_path)
    monkeypatch.setattr(setup, "LINES", tmp_path)
    monkeypatch.setattr(setup, "OWNERS", {tmp_path: os.getuid()})
    return tmp_path


def join(token):
    CliRunner().invoke(setup.main, ["join"], env={"WALT_HOST_TOKEN": token}, catch_exceptions=False)


def kept(volume):
    return {path.name: path.read_text() for path in volume.iterdir()}


def test_what_the_token_says_is_kept(volume):
    said = {"host": "lab2", "amqp_uri": TOKEN.amqp_uri, "server_host": "lab1", "subnet": "10.0.0.0/22"}
    join(host_token.encode(TOKEN) + "\n")
    assert kept(volume) == said
    join("")
    assert kept(volume) == said


@pytest.mark.parametrize("token, why", [("", "WALT_HOST_TOKEN is not set"), ("walt-host-1.x", "is not the token")])
def test_without_one_there_is_nothing_to_join(volume, token, why):
    with pytest.raises(InvalidRequest, match=why):
        join(token)
    assert kept(volume) == {}
