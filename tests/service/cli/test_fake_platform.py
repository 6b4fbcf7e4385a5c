"""What the stand-in for `nodes` refuses, it refuses as the real one does."""

import contextlib

import pytest

from tests.service.cli.command import Fake, client_of
from tests.support.fakes.bootserver import FakeBootserver
from tests.support.fakes.fake_service import serving
from tests.support.fakes.vmrunner import FakeVmrunner
from tests.support.service_process import service_process
from walt.contracts.errors import Refused

REFUSED = [
    ("alice", "create_nodes", {"names": ["mine", "new"]}),
    ("bob", "create_nodes", {"names": ["mine"]}),
    ("alice", "create_nodes", {"names": ["my_node"]}),
    ("alice", "create_nodes", {"names": ["twin", "twin"]}),
    ("alice", "create_nodes", {"names": ["new"], "settings": ["rma=1G", "ram=1K"]}),
    ("alice", "get_nodes", {"selection": "nothing,mine,none"}),
    ("alice", "get_nodes", {"selection": "mine,"}),
    ("alice", "configure_nodes", {"selection": "mine", "settings": ["rma=1G"]}),
    ("bob", "configure_nodes", {"selection": "mine", "settings": ["ram=1G"]}),
    ("bob", "stop_nodes", {"selection": "mine"}),
    ("bob", "remove_nodes", {"selection": "mine"}),
    ("bob", "acquire_nodes", {"selection": "mine"}),
    ("alice", "acquire_nodes", {"selection": "mine"}),
    ("bob", "rename_node", {"name": "mine", "new_name": "yours"}),
]


def refusals(user_uri):
    """Of each call, once alice has a node "mine"."""
    with client_of(user_uri("alice")) as alice, client_of(user_uri("bob")) as bob:
        alice.call("nodes", "create_nodes", names=["mine"])
        for user, method, arguments in REFUSED:
            with pytest.raises(Refused) as refused:
                {"alice": alice, "bob": bob}[user].call("nodes", method, **arguments)
            yield method, type(refused.value), refused.value.args


def test_refusals_are_those_of_nodes(amqp_uri, user_uri, tmp_path):
    fake = Fake("nodes", tmp_path, amqp_uri)
    with contextlib.ExitStack() as stack:
        fake.start()
        stack.callback(fake.kill)
        of_fake = list(refusals(user_uri))
    real = tmp_path / "real"
    real.mkdir()
    with serving(amqp_uri, FakeVmrunner("lab"), FakeBootserver()), service_process("nodes", amqp_uri, real, host="lab"):
        assert list(refusals(user_uri)) == of_fake
