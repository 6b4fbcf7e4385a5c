"""What a user may have at the broker: queues, exchanges, bindings; who has too many loses them."""

import contextlib
import time

import pytest
from amqp import Message
from amqp.exceptions import AMQPError, ConnectionForced, PreconditionFailed, ResourceError

from services.nodes.users import broker_watch
from services.nodes.users.broker_use import ALLOWED, BINDINGS, EXCHANGES, QUEUE_BYTES, QUEUES
from tests.service.nodes.people import do
from tests.support.amqp_user import SERVED
from tests.support.wait import wait_until


@pytest.fixture
def few(monkeypatch):
    """The limits of this test, which leave room for calls."""

    def few(what, count):
        monkeypatch.setitem(ALLOWED, what, count)

    return few


@pytest.fixture
def bea(admin, login, monkeypatch, service):
    monkeypatch.setattr(broker_watch, "WATCH_S", 0.2)
    password = do(admin, "add_user", name="bea")["password"]
    return lambda: login("bea", password)


def make_queues(channel, count):
    for number in range(count):
        channel.queue_declare(f"user.bea.q{number}", durable=True, auto_delete=False)


def make_exchanges(channel, count):
    for number in range(count):
        channel.exchange_declare(f"user.bea.x{number}", "topic", durable=True, auto_delete=False)


def make_bindings(channel, count):
    """Of no queue or exchange of hers."""
    for number in range(count):
        channel.exchange_bind("walt-console", "nameko-rpc", f"user.bea.{number}")


def make_messages(channel, count):
    """In a queue of hers, over an exchange of hers."""
    channel.exchange_declare("user.bea.x", "fanout", durable=False, auto_delete=False)
    for number in range(count):
        name = channel.queue_declare(f"user.bea.q{number}", durable=True, auto_delete=False).queue
        channel.queue_bind(name, "user.bea.x")
    publish(channel, bytes(10_000))


def publish(channel, body):
    channel.basic_publish(Message(body, user_id="bea"), "user.bea.x", "")


@pytest.mark.parametrize(
    "what, allowed, make, count",
    [
        (QUEUES, 20, make_queues, 30),
        (EXCHANGES, 5, make_exchanges, 10),
        (BINDINGS, 50, make_bindings, 60),
        (QUEUE_BYTES, 50_000, make_messages, 10),
    ],
)
def test_what_is_too_much_is_taken_and_its_user_told(bea, admin, api, few, what, allowed, make, count):
    few(what, allowed)
    culprit = bea()
    with pytest.raises((AMQPError, OSError)) as told:
        make(culprit.connection.channel(), count)
        culprit.connection.drain_events(timeout=20)
    assert isinstance(told.value, ConnectionForced)
    assert f"{what} at the broker; allowed: {allowed}" in str(told.value)
    wait_until(lambda: not api.objects().of("bea").queues and not api.objects().of("bea").exchanges)
    wait_until(lambda: not api.objects().of("bea").bindings)
    assert admin.outcome("nodes.get_nodes", {"selection": "all-nodes"}, "ada") == SERVED, "others are not concerned"
    assert bea().outcome("nodes.get_nodes", {"selection": "all-nodes"}, "bea") == SERVED, "nor is she, afterwards"


def test_who_has_what_is_allowed_keeps_it(bea, api, few):
    few(QUEUES, 20)
    channel = bea().connection.channel()
    make_queues(channel, 10)
    time.sleep(1)  # several looks
    assert len(api.objects().of("bea").queues) == 10
    for number in range(10):
        channel.queue_delete(f"user.bea.q{number}")


def test_the_broker_takes_no_message_of_more_than_32_mib(bea):
    culprit = bea()
    channel = culprit.connection.channel()
    channel.exchange_declare("user.bea.x", "fanout", durable=False, auto_delete=True)
    with pytest.raises((PreconditionFailed, ResourceError, OSError)):
        publish(channel, bytes(33 * 2**20))
        channel.queue_declare("user.bea.after", exclusive=True)


@pytest.mark.parametrize("body", [b"", bytes(1000)])
def test_a_queue_takes_so_many_messages_and_no_more(bea, api, body):
    channel = bea().connection.channel()
    channel.exchange_declare("user.bea.x", "fanout", durable=False, auto_delete=True)
    channel.queue_declare("user.bea.full", exclusive=True)
    channel.queue_bind("user.bea.full", "user.bea.x")
    for _ in range(12_000):
        publish(channel, body)
    wait_until(lambda: channel.queue_declare("user.bea.full", passive=True).message_count > 1000)
    found = channel.queue_declare("user.bea.full", passive=True).message_count
    assert found <= 10_000


def test_a_flood_of_messages_without_a_name_ends_the_connections_of_its_sender(bea, admin, service):
    """Of calls that carry no user id; ada works meanwhile."""
    flooder = bea()
    channel = flooder.connection.channel()
    channel.queue_declare("user.bea.mine", exclusive=True)
    usual = {"content_type": "application/json", "reply_to": "user.bea.mine", "delivery_mode": 1}
    end = time.monotonic() + 40
    with pytest.raises((AMQPError, OSError)):
        while time.monotonic() < end:
            for _ in range(500):
                channel.basic_publish(Message("{}", **usual), "nameko-rpc", "nodes.get_nodes")
            with contextlib.suppress(TimeoutError):
                flooder.connection.drain_events(timeout=0.001)
    assert time.monotonic() < end
    assert do(admin, "get_use")["user"] == "ada"
