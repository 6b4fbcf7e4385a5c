"""What every service shares: identity from the broker, errors over the wire, events, calls between services."""

import contextlib
import logging
import os
import socket
import time
import zlib

import eventlet
import pytest
from amqp import Message
from kombu import Connection, Exchange, Queue, compression
from kombu.exceptions import ContentDisallowed
from nameko.containers import ServiceContainer

from services.kit.bus import healthcheck
from services.kit.bus.bus import BrokerBus
from services.kit.bus.call_metrics import Metrics
from services.kit.bus.entrypoints import Caller, internal, public, public_methods
from services.kit.bus.process import shorten_refusal
from walt.contracts.errors import Conflict, Unreachable


class Toy:
    name = "toy"
    caller = Caller()
    metrics = Metrics()

    @public
    def greet(self, what):
        return f"{what} {self.caller}"

    @internal
    def refuse(self, words=("one", "two")):
        raise Conflict(*words)


@pytest.fixture(scope="module")
def toy(amqp_uri):
    container = ServiceContainer(Toy, {"AMQP_URI": amqp_uri})
    container.start()
    yield container
    container.stop()


@pytest.fixture
def bus(amqp_uri):
    with contextlib.closing(BrokerBus(amqp_uri, "toy")) as bus:
        yield bus


def ask(uri, method, user_id, *args, user="alice", headers=None):
    """One call in nameko's protocol, as the CLI makes it; the reply, or the broker's refusal."""
    with Connection(uri) as connection:
        channel = connection.channel()
        exchange = Exchange("nameko-rpc", "topic", no_declare=True)
        queue = Queue(f"user.{user}.r", exchange, f"user.{user}.r", exclusive=True)(channel)
        queue.declare()
        replies = []
        with connection.Consumer(queue, channel=channel, callbacks=[lambda body, m: replies.append(body)], no_ack=True):
            connection.Producer(channel).publish(
                {"args": args, "kwargs": {}},
                exchange="nameko-rpc",
                routing_key=method,
                reply_to=queue.name,
                correlation_id="1",
                headers=headers or {},
                **({"user_id": user_id} if user_id else {}),
            )
            connection.drain_events(timeout=5)
        return replies[0]


@pytest.mark.parametrize("names", [("nameko.walt_caller",), ("walt_caller",), ("nameko.walt_caller", "walt_caller")])
def test_caller_is_who_the_broker_says(toy, user_uri, names):
    forged = dict.fromkeys(names, "bob")
    assert ask(user_uri("alice"), "toy.greet", "alice", "hello", headers=forged)["result"] == "hello alice"


def test_call_without_user_id_is_refused(toy, user_uri):
    reply = ask(user_uri("alice"), "toy.greet", None, "hello")
    assert reply["error"]["exc_type"] == "Denied"


def test_forged_user_id_is_refused_by_the_broker(toy, user_uri):
    with pytest.raises(Exception, match="406"):
        ask(user_uri("alice"), "toy.greet", "bob", "hello")


def test_internal_method_is_out_of_reach_of_users(toy, user_uri):
    with pytest.raises(Exception, match="403"):
        ask(user_uri("alice"), "toy.refuse", "alice")


CALL = b'{"args": ["x"], "kwargs": {}}'
USUAL = {
    "reply_to": "user.alice.other",  # not the queue of `ask`, which would take the reply for its own
    "content_type": "application/json",
    "content_encoding": "utf-8",
    "user_id": "alice",
}


@pytest.mark.parametrize(
    ("body", "properties"),
    [
        (CALL, {"reply_to": None}),
        (CALL, {"reply_to": "user.bob.r"}),
        (CALL, {"reply_to": "toy.refuse"}),  # a call in the name of the service, which can be answered to nobody
        (CALL, {"reply_to": "toy.refuse", "user_id": None}),
        (CALL, {"reply_to": None, "user_id": None}),
        (CALL, {"content_type": None}),
        (CALL, {"content_type": "application/data"}),
        (CALL, {"content_type": "application/text"}),
        (CALL, {"content_type": "text/plain"}),
        (CALL, {"content_encoding": "none"}),
        (CALL, {"headers": {"compression": "zlib"}}),
        (zlib.compress(bytes(10**8)), {"headers": {"compression": "zlib"}}),
        (CALL, {"headers": {"nameko.call_id_stack": "x"}}),
        (b"{", {}),
        (b"[]", {}),
        (b"{}", {}),
        (b'{"args": 1, "kwargs": 2}', {}),
        (b'{"args": [], "kwargs": {"why": 1}}', {}),
    ],
)
def test_no_message_of_a_user_ends_a_service(toy, user_uri, body, properties):
    used = {name: value for name, value in {**USUAL, **properties}.items() if value is not None}
    headers = {"application_headers": used.pop("headers", {})}
    with Connection(user_uri("alice")) as connection:
        connection.connect()
        connection.connection.channel().basic_publish_confirm(
            Message(body, **headers, **used), "nameko-rpc", "toy.greet"
        )
    assert ask(user_uri("alice"), "toy.greet", "alice", "hello")["result"] == "hello alice"
    assert not toy._died.ready()


def test_what_is_compressed_is_not_made_larger(toy):
    with pytest.raises(ContentDisallowed):
        compression.decompress(zlib.compress(b"x"), "gzip")


def by_alternate_exchange(channel, key, message):
    exchange = channel.exchange_declare
    exchange("user.alice.a", "fanout", auto_delete=False, arguments={"alternate-exchange": "nameko-rpc"})
    channel.basic_publish(message, "user.alice.a", key)


def by_binding(channel, key, message):
    channel.exchange_declare("user.alice.b", "topic", auto_delete=False)
    channel.exchange_bind("nameko-rpc", "user.alice.b", "#")
    channel.basic_publish(message, "user.alice.b", key)


def by_dead_letter(channel, key, message):
    channel.exchange_declare("user.alice.d", "fanout", auto_delete=False)
    onwards = {"x-dead-letter-exchange": "nameko-rpc", "x-dead-letter-routing-key": key, "x-message-ttl": 1}
    channel.queue_declare("user.alice.dead", exclusive=True, arguments=onwards)
    channel.queue_bind("user.alice.dead", "user.alice.d")
    channel.basic_publish(message, "user.alice.d")


@pytest.mark.parametrize("detour", [by_alternate_exchange, by_binding, by_dead_letter])
@pytest.mark.parametrize("user_id", ["alice", None])
def test_internal_method_is_not_reached_by_a_detour_either(toy, user_uri, detour, user_id):
    """The broker looks at the rights of topics where a message comes in, and not where it goes on from there."""
    signed = {"user_id": user_id} if user_id else {}
    with Connection(user_uri("alice")) as connection:
        connection.connect()
        channel, replies = connection.connection.channel(), []
        reply_to = channel.queue_declare(USUAL["reply_to"], exclusive=True).queue
        channel.queue_bind(reply_to, "nameko-rpc", reply_to)
        channel.basic_consume(reply_to, callback=replies.append, no_ack=True)
        usual = {**USUAL, "user_id": None, **signed}
        detour(channel, "toy.refuse", Message(b'{"args": [], "kwargs": {}}', **usual))
        while not replies:
            connection.drain_events(timeout=5)
    assert "Denied" in str(replies[0].body) and "for services only" in str(replies[0].body)


def test_call_of_no_method_that_cannot_be_answered_ends_no_service(toy, user_uri):
    with Connection(user_uri("alice")) as connection:
        connection.connect()
        by_binding(connection.connection.channel(), "toy.nothing", Message(CALL, content_type="application/json"))
        with contextlib.suppress(TimeoutError):
            connection.drain_events(timeout=0.5)
    assert ask(user_uri("alice"), "toy.greet", "alice", "hello")["result"] == "hello alice"
    assert not toy._died.ready()


@pytest.mark.parametrize("key", ["#", "toy.greet", "user.bob.r", "user.alice.#", "user.*.r"])
def test_user_cannot_listen_to_others(toy, user_uri, key):
    with Connection(user_uri("alice")) as connection:
        channel = connection.channel()
        queue = Queue("user.alice.spy", Exchange("nameko-rpc", "topic", no_declare=True), key, exclusive=True)
        with pytest.raises(Exception, match="403"):
            queue(channel).declare()


def test_refused_call_is_one_line_of_the_log(toy, bus, caplog):
    containers = logging.getLogger("nameko.containers")
    containers.addFilter(shorten_refusal)
    try:
        with pytest.raises(Conflict):
            bus.call("toy", "refuse", words=["x" * 5000])
    finally:
        containers.removeFilter(shorten_refusal)
    (record,) = [one for one in caplog.records if one.name == "nameko.containers"]
    assert "refuse" in record.getMessage() and len(record.getMessage()) < 500
    assert record.exc_info is None


def test_request_expires_with_the_time_out_of_its_caller(bus, amqp_uri):
    with Connection(amqp_uri) as connection:
        slow = Queue("rpc-slow", Exchange("nameko-rpc", "topic", durable=True), "slow.*")(connection.channel())
        slow.declare()
        with pytest.raises(Unreachable, match="slow does not answer"):
            bus.call("slow", "obey", timeout_s=0.3)
        time.sleep(0.3)  # The broker counts from when it got the message, which is later than the caller's start.
        assert slow.get() is None
        slow.delete()


def test_public_methods_are_derived():
    assert public_methods(Toy) == ["greet"]


def test_health_check(toy, amqp_uri):
    healthcheck.ping(amqp_uri, "toy")
    with pytest.raises(ConnectionError, match="no queue"):
        healthcheck.ping(amqp_uri, "nobody")
    assert healthcheck.service_name("nodes", "lab1") == "nodes"
    assert healthcheck.service_name("netemu", "lab1") == "netemu@lab1"


def test_a_pipe_takes_the_number_of_a_socket_that_was_closed_while_it_was_read():
    ours, theirs = socket.socketpair()
    reader = eventlet.spawn(ours.recv, 1)
    eventlet.sleep(0)
    number = ours.fileno()
    ours.close()
    output, end = os.pipe()
    assert output == number
    os.write(end, b"x")
    assert os.read(output, 1) == b"x"
    for one in (output, end):
        os.close(one)
    theirs.close()
    reader.kill()
