"""kit.bus.streams on a real broker: one connection, and whom a queue that is full or gone concerns."""

import time
import uuid
from dataclasses import replace

import pytest
from kombu import Connection, Exchange, Producer, Queue

from services.kit import tasks
from services.kit.bus.streams import Bounds, ConnectionLost, QueueFull, QueueGone, StreamPublisher, consume
from tests.support.wait import wait_until

EXCHANGE = "test-streams"


@pytest.fixture
def channel(amqp_uri):
    with Connection(amqp_uri) as connection, connection.channel() as channel:
        yield channel


@pytest.fixture
def publisher(amqp_uri):
    publisher = StreamPublisher(amqp_uri)
    yield publisher
    publisher.close()


def declare(channel, **arguments):
    name = f"streams.{uuid.uuid4().hex}"
    Queue(name, exclusive=True, queue_arguments=arguments)(channel).declare()
    return name


def test_messages_arrive_in_order_with_their_headers(channel, publisher):
    queue = declare(channel)
    for number in range(100):
        publisher.publish(queue, b"%d" % number, {"number": number})
    found = [channel.basic_get(queue, no_ack=True) for _ in range(100)]
    assert [(message.headers["number"], bytes(message.body)) for message in found] == [
        (number, b"%d" % number) for number in range(100)
    ]


def test_a_queue_that_is_full_or_gone_concerns_nobody_else(channel, publisher):
    full, free = declare(channel, **{"x-max-length": 1, "x-overflow": "reject-publish"}), declare(channel)
    publisher.publish(full, b"1", {})
    outcomes = tasks.map_concurrently(lambda queue: _outcome(publisher, queue), [full, "streams.gone", free] * 20)
    assert outcomes == [QueueFull, QueueGone, None] * 20
    assert Queue(free)(channel).queue_declare(passive=True).message_count == 20


def test_a_publisher_that_is_killed_breaks_nothing(channel, publisher):
    queue = declare(channel)
    writing = [tasks.spawn(publisher.publish, queue, bytes(1_000_000), {}) for _ in range(20)]
    tasks.sleep()
    for task in writing:
        task.kill()
    publisher.publish(queue, b"last", {})
    assert Queue(queue)(channel).queue_declare(passive=True).message_count == 21


def test_a_lost_connection_is_told_and_made_again(channel, publisher):
    queue = declare(channel)
    publisher.publish(queue, b"1", {})
    publisher.close()
    assert _outcome(publisher, queue) in (None, ConnectionLost)
    publisher.publish(queue, b"2", {})
    assert _outcome(StreamPublisher("amqp://guest:guest@127.0.0.1:1//"), queue) is ConnectionLost


PLENTY = Bounds(waiting=1000, waiting_bytes=1_000_000, per_s=1000, bytes_per_s=10_000_000)


@pytest.fixture
def receive(amqp_uri):
    """receive(bounds) -> the list that what is published to "input.lab" is put into."""
    consuming = []

    def receive(bounds):
        received, ready = [], tasks.Signal()
        queue = f"input-{uuid.uuid4().hex}"
        arguments = (amqp_uri, queue, EXCHANGE, "input.lab", bounds, received.append, ready.set)
        consuming.append(tasks.spawn(consume, *arguments))
        assert ready.wait(10)
        return received

    yield receive
    for one in consuming:
        one.kill()


@pytest.fixture
def publish(channel):
    producer = Producer(channel, Exchange(EXCHANGE, "topic", durable=True))

    def publish(body, routing_key="input.lab", **options):
        producer.publish(body, routing_key=routing_key, content_type="x", content_encoding="binary", **options)

    return publish


def test_what_is_published_to_the_exchange_is_received(receive, publish):
    received = receive(PLENTY)
    publish(b"", routing_key="input.other")
    publish(b"")
    publish(b"\xff", user_id="walt-services", headers={"a": 1, "compression": "zlib"})
    wait_until(lambda: len(received) == 2)
    assert [(dict(one.headers), one.user, one.body) for one in received] == [
        ({}, "", b""),
        ({"a": 1, "compression": "zlib"}, "walt-services", b"\xff"),
    ]


@pytest.mark.parametrize("bounds", [replace(PLENTY, per_s=100), replace(PLENTY, bytes_per_s=100_000)])
def test_no_more_is_taken_in_a_second_than_is_allowed(receive, publish, bounds):
    received = receive(bounds)
    started = time.monotonic()
    for _ in range(100):
        publish(bytes(1000))
    wait_until(lambda: len(received) == 100)
    assert 0.9 < time.monotonic() - started < 5


def test_of_what_waits_the_oldest_is_dropped_beyond_the_bounds(receive, publish):
    received = receive(replace(PLENTY, waiting=10, per_s=100))
    for number in range(1000):
        publish(b"%d" % number)
    wait_until(lambda: received and received[-1].body == b"999")
    assert len(received) < 500
    assert [one.body for one in received[-10:]] == [b"%d" % number for number in range(990, 1000)]


def _outcome(publisher, queue):
    try:
        publisher.publish(queue, b"x", {})
    except Exception as error:
        return type(error)
    return None
