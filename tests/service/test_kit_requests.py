"""Users and services do not delay one another: each has a queue of his own and a share of the workers."""

import contextlib
import json
import time

import pytest
from amqp import Message
from kombu import Connection

from services.kit import tasks
from services.kit.bus import requests
from services.kit.bus.app import MAX_WORKERS
from services.kit.bus.bus import BrokerBus
from services.kit.bus.entrypoints import Caller, internal, public
from services.kit.bus.requests import CALLS_OF_ONE_USER, WAITING_OF_ONE_USER
from tests.service.test_kit import ask
from tests.support.amqp_user import AmqpUser
from tests.support.fakes.fake_service import serving
from tests.support.fakes.nodes import FakeNodes
from tests.support.wait import wait_until
from walt.contracts.broker_permissions import MAX_REQUEST_BYTES

PROMPTLY_S = 1.0
MANY = 60
TIMED_OUT_MS = 300


class Slow:
    """`greet` is the one public method of these tests' rights. It takes what its argument says."""

    name = "toy"
    caller = Caller()
    done: list[str] = []  # noqa: RUF012

    @public
    def greet(self, what: str) -> str:
        tasks.sleep(float(what))
        self.done.append(f"{self.caller} {what}")
        return self.caller

    @internal
    def boot(self) -> str:
        return "booted"

    @internal
    def drag(self) -> None:
        tasks.sleep(2)


@pytest.fixture
def service(amqp_uri):
    from nameko.containers import ServiceContainer

    container = ServiceContainer(Slow, {"AMQP_URI": amqp_uri, "max_workers": MAX_WORKERS})
    container.start()
    Slow.done.clear()
    yield container
    container.stop()
    with Connection(amqp_uri) as connection:
        connection.channel().queue_delete("rpc-toy")  # with what it has not begun


@pytest.fixture
def bus(amqp_uri):
    with contextlib.closing(BrokerBus(amqp_uri, "other")) as bus:
        yield bus


def send(uri, user, *bodies, queue="mine", arguments=None, **properties):
    """Calls of greet whose replies go to a queue of the user's, which nobody reads; the open connection."""
    connection = Connection(uri)
    channel = connection.channel()
    name = f"user.{user}.{queue}"
    channel.queue_declare(name, exclusive=True, arguments=arguments)
    usual = {"content_type": "application/json", "content_encoding": "utf-8", "user_id": user, "reply_to": name}
    for body in bodies:
        channel.basic_publish(Message(body, **{**usual, **properties}), "nameko-rpc", "toy.greet")
    return connection


def call(seconds):
    return json.dumps({"args": [str(seconds)], "kwargs": {}})


def greet(user_uri, user, what="0"):
    """The reply, and after how many seconds it came."""
    begin = time.monotonic()
    reply = ask(user_uri(user), "toy.greet", user, what, user=user)
    return reply, time.monotonic() - begin


def test_fault_s12_slow_calls_of_one_user_delay_neither_another_nor_a_service(service, bus, user_uri):
    with send(user_uri("alice"), "alice", *[call(2)] * MANY):
        wait_until(lambda: len(service._worker_threads) == CALLS_OF_ONE_USER)
        reply, took_s = greet(user_uri, "bob")
        assert reply["result"] == "bob" and took_s < PROMPTLY_S
        assert bus.call("toy", "boot", timeout_s=PROMPTLY_S) == "booted"


def test_fault_s12_slow_calls_of_services_do_not_delay_users(service, bus, user_uri):
    dragging = [tasks.spawn(bus.call, "toy", "drag") for _ in range(MANY)]
    wait_until(lambda: len(service._worker_threads) == requests.SERVICE_CALLS)
    reply, took_s = greet(user_uri, "bob")
    assert reply["result"] == "bob" and took_s < PROMPTLY_S
    for task in dragging:
        task.wait()


def test_who_has_too_many_calls_waiting_is_told_at_once(service, user_uri):
    with send(user_uri("alice"), "alice", *[call(2)] * (CALLS_OF_ONE_USER + WAITING_OF_ONE_USER), queue="other"):
        wait_until(lambda: len(service._worker_threads) == CALLS_OF_ONE_USER)
        reply, took_s = greet(user_uri, "alice")
    assert "busy with other calls of alice" in reply["error"]["exc_args"][0] and took_s < PROMPTLY_S


def test_what_expired_while_it_waited_here_is_not_obeyed(service, user_uri):
    with (
        send(user_uri("alice"), "alice", *[call(1)] * CALLS_OF_ONE_USER, queue="other"),
        send(user_uri("alice"), "alice", call("0.1"), expiration=str(TIMED_OUT_MS)),
    ):
        assert greet(user_uri, "alice")[0]["result"] == "alice"
    assert "alice 0.1" not in Slow.done and Slow.done.count("alice 1") == CALLS_OF_ONE_USER


def test_fault_s6_a_large_request_is_refused_unread(service, user_uri):
    reply, _ = greet(user_uri, "alice", "0" * MAX_REQUEST_BYTES)
    assert reply["error"]["exc_type"] == "InvalidRequest" and str(MAX_REQUEST_BYTES) in reply["error"]["exc_args"][0]


def test_fault_s6_a_caller_who_does_not_take_his_replies_ends_no_service(service, user_uri):
    """The broker refuses a reply to a queue that is full."""
    bounded = {"x-max-length": 1, "x-overflow": "reject-publish"}
    with send(user_uri("alice"), "alice", *[call(0)] * 5, arguments=bounded):
        wait_until(lambda: len(Slow.done) == 5)
        assert greet(user_uri, "bob")[0]["result"] == "bob"
    assert not service._died.ready()


def test_services_of_the_version_before_call_by_the_users_exchange(service, amqp_uri):
    user = AmqpUser(amqp_uri)
    with contextlib.closing(user):
        assert user.call("toy.boot") == "booted"


FLOOD = 3000
CALLS = {
    "too many": {"bodies": [call(2)] * FLOOD},
    "too large": {"bodies": ["x" * (MAX_REQUEST_BYTES + 1)] * 25},
    "unanswerable": {"bodies": [call(0)] * FLOOD, "reply_to": "nowhere"},
}


@pytest.mark.parametrize("what", CALLS)
def test_a_flood_of_one_user_ends_his_connections_and_delays_nobody(service, user_uri, amqp_uri, monkeypatch, what):
    nodes = FakeNodes()
    monkeypatch.setattr(requests, "FLOOD", 20 if what == "too large" else requests.FLOOD)
    with serving(amqp_uri, nodes):
        bodies = CALLS[what]["bodies"]
        properties = {name: value for name, value in CALLS[what].items() if name != "bodies"}
        with send(user_uri("alice"), "alice", *bodies, **properties):
            reply, took_s = greet(user_uri, "bob")
            assert reply["result"] == "bob" and took_s < 2 * PROMPTLY_S
            wait_until(lambda: nodes.suspended == ["alice"])


def test_who_is_refused_now_and_then_is_not_suspended(service, user_uri, amqp_uri):
    nodes = FakeNodes()
    with serving(amqp_uri, nodes), send(user_uri("alice"), "alice", *[call(1)] * 200):
        reply, _ = greet(user_uri, "alice")
        assert "busy with other calls of alice" in reply["error"]["exc_args"][0]
        assert greet(user_uri, "bob")[0]["result"] == "bob"
        assert nodes.suspended == []
