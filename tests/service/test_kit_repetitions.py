"""A request that comes again is obeyed once and answered each time, whether the broker or its caller sends it again."""

import contextlib
import json
import socket
from pathlib import Path

import pytest
from amqp import Message
from kombu import Connection

from services.kit import tasks
from services.kit.bus.app import MAX_WORKERS
from services.kit.bus.entrypoints import Caller, IdOfCall, public
from tests.support.wait import wait_until
from walt.client import Client
from walt.configuration import parse_configuration
from walt.contracts.errors import Conflict, Unreachable

BRIEF_S = 0.3


class Ledger:
    """`greet` is the one public method of these tests' rights."""

    name = "toy"
    caller = Caller()
    call = IdOfCall()
    entries: list[str] = []  # noqa: RUF012
    keys: list[str] = []  # noqa: RUF012

    @public
    def greet(self, what: str, seconds: float = 0.0) -> int:
        self.entries.append(what)
        self.keys.append(self.call.key)
        tasks.sleep(seconds)
        if what == "refuse":
            raise Conflict("no")
        return len(self.entries)


@pytest.fixture
def service(amqp_uri):
    from nameko.containers import ServiceContainer

    container = ServiceContainer(Ledger, {"AMQP_URI": amqp_uri, "max_workers": MAX_WORKERS})
    container.start()
    Ledger.entries.clear()
    Ledger.keys.clear()
    yield container
    container.stop()
    with Connection(amqp_uri) as connection:
        connection.channel().queue_delete("rpc-toy")


class Sender:
    """Calls of greet by hand, and the replies in the order in which they come."""

    def __init__(self, uri, user):
        self.connection = Connection(uri)
        self.channel = self.connection.channel()
        self.user, self.queue = user, f"user.{user}.replies"
        self.channel.queue_declare(self.queue, exclusive=True)

    def send(self, what, seconds=0.0, message_id="m1"):
        body = json.dumps({"args": [what, seconds], "kwargs": {}})
        properties = {"message_id": message_id} if message_id else {}
        usual = {"content_type": "application/json", "content_encoding": "utf-8", "user_id": self.user}
        message = Message(body, reply_to=self.queue, correlation_id="c", **usual, **properties)
        self.channel.basic_publish(message, "nameko-rpc", "toy.greet")

    def replies(self, count):
        found = []

        def has_all():
            while (message := self.channel.basic_get(self.queue, no_ack=True)) is not None:
                found.append(json.loads(message.body))
            return len(found) >= count

        wait_until(has_all)
        return [one["result"] if one["error"] is None else one["error"]["exc_type"] for one in found]


@pytest.fixture
def senders(user_uri):
    with contextlib.ExitStack() as stack:

        def sender(user):
            made = Sender(user_uri(user), user)
            stack.enter_context(made.connection)
            return made

        yield sender


def test_fault_a_copy_that_comes_later_gets_the_first_reply(service, senders):
    alice = senders("alice")
    alice.send("a")
    assert alice.replies(1) == [1]
    alice.send("a")
    assert alice.replies(1) == [1] and Ledger.entries == ["a"]


def test_fault_copies_that_come_meanwhile_get_the_same_reply(service, senders):
    alice = senders("alice")
    for _ in range(6):  # more than run at a time
        alice.send("a", BRIEF_S)
    assert alice.replies(6) == [1] * 6 and Ledger.entries == ["a"]
    alice.send("b", message_id="m2")
    assert alice.replies(1) == [2], "the shares of alice are free again"


def test_a_refusal_is_repeated(service, senders):
    alice = senders("alice")
    alice.send("refuse")
    alice.send("refuse")
    assert alice.replies(2) == ["Conflict"] * 2 and Ledger.entries == ["refuse"]


def test_what_is_not_a_copy_is_obeyed(service, senders):
    alice, bob = senders("alice"), senders("bob")
    alice.send("a")
    bob.send("a")
    alice.send("b")
    alice.send("a", message_id="m2")
    alice.send("a", message_id="")
    alice.send("a", message_id="")
    assert len(alice.replies(5)) == 5 and len(bob.replies(1)) == 1
    assert sorted(Ledger.entries) == ["a"] * 5 + ["b"]
    assert Ledger.keys.count("") == 2


def test_fault_what_the_broker_delivers_again_after_a_lost_connection_is_obeyed_once(service, senders):
    """It takes back what was not acknowledged; the process is the same and goes on with it."""
    alice = senders("alice")
    alice.send("a", 2 * BRIEF_S)
    wait_until(lambda: Ledger.entries == ["a"])
    consumer = next(one for one in service.extensions if type(one).__name__ == "_UserQueue")
    next(iter(consumer._consumers.values())).channel.connection.transport.sock.shutdown(socket.SHUT_RDWR)
    alice.send("after", message_id="m2")
    alice.replies(2)
    assert Ledger.entries == ["a", "after"]


def cut(client):
    tasks.sleep(BRIEF_S)
    client._connection.sock.shutdown(socket.SHUT_RDWR)


def test_fault_the_client_repeats_what_was_under_way_when_its_connection_broke(amqp_uri, user_uri, monkeypatch):
    from nameko.containers import ServiceContainer

    monkeypatch.setattr("walt.client.REMEMBERING", "toy")
    container = ServiceContainer(Ledger, {"AMQP_URI": amqp_uri, "max_workers": MAX_WORKERS})
    container.start()
    Ledger.entries.clear()
    client = Client(lambda: parse_configuration(f'amqp_uri = "{user_uri("alice")}"', Path("mine")))
    try:
        client.call("toy", "greet", what="first")
        tasks.spawn(cut, client)
        assert client.call("toy", "greet", what="second", seconds=3 * BRIEF_S) == 2
        assert Ledger.entries == ["first", "second"]
        monkeypatch.setattr("walt.client.REMEMBERING", "nodes")
        tasks.spawn(cut, client)
        with pytest.raises(Unreachable):
            client.call("toy", "greet", what="third", seconds=3 * BRIEF_S)
    finally:
        client.close()
        container.stop()
