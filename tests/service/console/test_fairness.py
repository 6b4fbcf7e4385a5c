"""One user floods the console with input; another types."""

import subprocess
import sys
import time
from dataclasses import replace

import pytest

from tests.service.console.world import HOST
from walt.contracts import console

FLOOD_S = 5
ECHO_LIMIT_S = 1.5  # also on a busy machine; with one queue for all it was 3 to 11 s
FLOOD = """
import sys, time
from amqp import Message
from walt.client import Client
from walt.configuration import parse_configuration
from walt.contracts.console import INPUT_EXCHANGE
uri, key, session, size, seconds = sys.argv[1:]
client = Client(lambda: parse_configuration(f'amqp_uri = "{uri}"', "flood"))
headers = {"session": session, "kind": "data"}
client.open_mailbox()
message = Message(bytes(int(size)), user_id=client.configuration.user, application_headers=headers)
print("begins", flush=True)
end, count = time.monotonic() + float(seconds), 0
while time.monotonic() < end:
    client._channel.basic_publish(message, INPUT_EXCHANGE, key)
    count += 1
print(count)
"""


@pytest.fixture
def flood(user_uri):
    floods = []

    def flood(key, session, size=1):
        argv = [sys.executable, "-c", FLOOD, user_uri("bob"), key, session, str(size), str(FLOOD_S)]
        floods.append(subprocess.Popen(argv, stdout=subprocess.PIPE, text=True))
        assert floods[-1].stdout.readline() == "begins\n"

    yield flood
    for one in floods:
        assert int(one.communicate(timeout=60)[0]) > 200


@pytest.fixture
def typist(service, ssh, user):
    one = user("alice")
    one.open("open_shell", node="vnode1", command=["cat"])
    return one


def echo_s(typist, number):
    """How long one key takes to come back."""
    key, started = b"%d." % number, time.monotonic()
    typist.send(console.DATA, key)
    typist.wait(lambda: typist.data("out").endswith(key))
    return time.monotonic() - started


def echoes(typist):
    """All while the flood lasts."""
    started, found = time.monotonic(), []
    while time.monotonic() < started + FLOOD_S - 0.5:
        found.append(echo_s(typist, len(found)))
        time.sleep(0.1)
    return found


@pytest.fixture
def flooder(service, ssh, user, nodes, bootserver):
    """bob, with a session on a node of his own."""
    bootserver.nodes.add(5)
    nodes.specs[5] = replace(nodes.specs[5], owner="bob")
    one = user("bob")
    one.open("open_shell", node="vnode5", command=["cat >/dev/null"])
    return one


@pytest.mark.parametrize("size", [1, 100_000])
def test_a_flood_for_no_session_delays_nobody_elses_keys(typist, flooder, flood, size):
    flood(flooder.input_key, "none", size)
    assert max(echoes(typist)) < ECHO_LIMIT_S


def test_a_flood_into_a_session_delays_nobody_elses_keys(typist, flooder, flood):
    flood(flooder.input_key, flooder.session)
    assert max(echoes(typist)) < ECHO_LIMIT_S


def test_a_user_without_sessions_reaches_nobody(typist, flood):
    flood(console.input_key(HOST), "none")
    assert max(echoes(typist)) < ECHO_LIMIT_S


def test_the_key_of_a_user_is_his_for_all_sessions(typist, user):
    second, other = user("alice"), user("bob")
    second.open("open_ping", node="vnode1", count=1)
    other.open("open_ping", node="vnode1", count=1)
    assert second.input_key == typist.input_key
    assert other.input_key != typist.input_key
