"""A service as they all are: its application, typed methods, events, timers, and its calls over one connection."""

from __future__ import annotations

import socket
from dataclasses import dataclass, replace
from typing import Annotated

import pytest
from marshmallow.validate import Length

from services.kit import tasks
from services.kit.bus import app as kit_app
from services.kit.bus.app import AppProvider
from services.kit.bus.arguments import Secret
from services.kit.bus.bus import BrokerBus
from services.kit.bus.call_metrics import Metrics
from services.kit.bus.entrypoints import Caller, at_start, every, internal, on_event, public
from services.kit.environment import environment
from tests.support.wait import wait_until
from walt.contracts.errors import Conflict, Failed, InvalidRequest, Unreachable


@dataclass(frozen=True)
class Greeting:
    text: str
    times: int = 1


class GreeterApp:
    def __init__(self, env, bus):
        self.env, self.bus = env, bus
        self.heard, self.turns, self.started = [], 0, False

    def start(self):
        self.started = True


class Greeter:
    name = "greeter"
    app = AppProvider(GreeterApp)
    caller = Caller()
    metrics = Metrics()

    @internal
    def greet(self, greeting: Greeting, to: list[str], loud: bool = False) -> Greeting:
        text = " ".join([greeting.text, *to])
        return replace(greeting, text=text.upper() if loud else text)

    @public
    def shorten(self, text: Annotated[str, Length(max=5)], by: int | None = None) -> list[Greeting]:
        return [Greeting(text[: by or 1])]

    @internal
    def keep(self, password: Secret | None = None) -> None:
        pass

    @internal
    def refuse(self) -> None:
        raise Conflict("one", "two")

    @internal
    def break_down(self) -> None:
        raise ZeroDivisionError("by zero")

    @internal
    def wait(self, seconds: float) -> None:
        tasks.sleep(seconds)

    @on_event("greeter", "greeted")
    def on_greeted(self, greeting: Greeting) -> None:
        self.app.heard.append(greeting)

    @every(seconds=0.05)
    def turn(self) -> None:
        self.app.turns += 1
        raise ZeroDivisionError("a turn that fails is followed by the next")

    @at_start
    def begin(self) -> None:
        self.app.heard.append("start")


@pytest.fixture(scope="module")
def greeter(amqp_uri):
    container = kit_app.container(Greeter, environment())
    container.start()
    yield next(one for one in container.dependencies if isinstance(one, AppProvider)).app
    container.stop()


@pytest.fixture(scope="module")
def bus(greeter):
    return greeter.bus


def test_the_app_is_built_with_environment_and_bus_and_started(greeter, amqp_uri):
    assert greeter.env.amqp_uri == amqp_uri
    wait_until(lambda: greeter.started)
    wait_until(lambda: greeter.heard.count("start") == 1)


def test_dataclasses_go_both_ways(bus):
    assert bus.call("greeter", "greet", greeting=Greeting("hi"), to=["a", "b"]) == {"text": "hi a b", "times": 1}
    assert bus.call("greeter", "greet", Greeting("hi", 2), ["a"], True) == {"text": "HI A", "times": 2}
    assert bus.call("greeter", "shorten", text="abc", by=None) == [{"text": "a", "times": 1}]


@pytest.mark.parametrize(
    ("arguments", "sentences"),
    [
        ({"greeting": {"text": "x"}}, ["to is missing"]),
        ({"greeting": {"text": 7}, "to": []}, ["greeting.text: 7 is not a string"]),
        ({"greeting": {"text": "x", "times": True}, "to": []}, ["greeting.times: True is not a whole number"]),
        ({"greeting": {"text": "x"}, "to": ["a", 7]}, ["to[1]: 7 is not a string"]),
        ({"greeting": {"text": "x"}, "to": "abc"}, ["to: 'abc' is not a list"]),
        ({"greeting": {"text": "x"}, "to": [], "loud": 1}, ["loud: 1 is not true or false"]),
        (
            {"greeting": {"text": "x"}, "to": [], "quiet": 1},
            ["'quiet' is not an argument of greet; allowed: greeting, to, loud"],
        ),
        ({"greeting": {}, "to": None}, ["greeting.text is missing", "to: None is refused: field may not be null"]),
    ],
)
def test_an_argument_of_a_wrong_type_is_the_callers_fault(bus, arguments, sentences):
    with pytest.raises(InvalidRequest) as refused:
        bus.call("greeter", "greet", **arguments)
    assert list(refused.value.args) == sentences


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        (["abcdefgh"], "text: 'abcdefgh' is refused: longer than maximum length 5"),
        (["a", "b"], "by: 'b' is not a whole number"),
        (["a", 1, 2], "shorten takes 2 arguments; 3 were given"),
        (["x" * 1000], f"text: '{'x' * 59}… is refused: longer than maximum length 5"),
    ],
)
def test_a_bound_is_checked_too(bus, values, sentence):
    with pytest.raises(InvalidRequest) as refused:
        bus.call("greeter", "shorten", *values)
    assert list(refused.value.args) == [sentence]


def test_a_secret_of_a_wrong_type_is_not_shown(bus):
    with pytest.raises(InvalidRequest) as refused:
        bus.call("greeter", "keep", password=["s3cret"])
    assert list(refused.value.args) == ["password: its value is not a string"]


def test_errors_of_the_peer(bus):
    with pytest.raises(Conflict) as refused:
        bus.call("greeter", "refuse")
    assert refused.value.args == ("one", "two")
    with pytest.raises(Failed, match=r"greeter\.break_down: .*by zero"):
        bus.call("greeter", "break_down")
    with pytest.raises(Failed, match="MethodNotFound|not_there"):
        bus.call("greeter", "not_there")


def test_a_peer_without_a_queue_is_unreachable_at_once(bus):
    with tasks.Timeout(10), pytest.raises(Unreachable, match="nobody does not answer"):
        bus.call("nobody", "greet", timeout_s=60)


def test_a_slow_peer_is_unreachable_after_the_time_out(bus):
    with pytest.raises(Unreachable, match=r"greeter does not answer \(wait, 0.2 s\)"):
        bus.call("greeter", "wait", seconds=1.0, timeout_s=0.2)


def test_calls_of_many_green_threads_do_not_wait_for_each_other(bus):
    slow = tasks.spawn(bus.call, "greeter", "wait", seconds=1.0)
    texts = tasks.map_concurrently(lambda text: bus.call("greeter", "shorten", text=text)[0]["text"], "abcdefghij")
    assert texts == list("abcdefghij")
    assert not slow.is_over
    assert slow.wait() is None


def test_one_connection_serves_all_calls_and_a_lost_one_is_made_again(bus, amqp_uri):
    bus.call("greeter", "shorten", text="a")
    first = bus._channel
    bus.call("greeter", "shorten", text="b")
    assert bus._channel is first
    waiting = tasks.spawn(pytest.raises, Unreachable, bus.call, "greeter", "wait", seconds=1.0)
    tasks.sleep(0)
    first._connection.connection.transport.sock.shutdown(socket.SHUT_RDWR)
    assert "broker" in str(waiting.wait().value)
    assert bus.call("greeter", "shorten", text="c") == [{"text": "c", "times": 1}]
    assert bus._channel is not first


def test_a_broker_that_is_away_is_unreachable():
    away = BrokerBus("amqp://walt-services:x@127.0.0.1:1//", "greeter")
    with pytest.raises(Unreachable, match="the broker does not answer"):
        away.call("greeter", "shorten", text="a")
    away.announce("greeted", Greeting("lost"))  # logged


def test_an_event_arrives_as_its_dataclass(greeter):
    greeter.bus.announce("greeted", Greeting("event", 3))
    wait_until(lambda: Greeting("event", 3) in greeter.heard)


def test_an_event_of_an_agent_has_no_host_in_its_source(greeter, amqp_uri):
    BrokerBus(amqp_uri, "greeter@lab1").announce("greeted", Greeting("from an agent"))
    wait_until(lambda: Greeting("from an agent") in greeter.heard)


def test_an_event_that_is_none_ends_nothing(greeter):
    greeter.bus.announce("greeted", {"text": 7})
    greeter.bus.announce("greeted", Greeting("after it"))
    wait_until(lambda: Greeting("after it") in greeter.heard)


def test_a_timer_goes_on_after_a_failure(greeter):
    before = greeter.turns
    wait_until(lambda: greeter.turns > before + 2)


def test_the_brokers_properties(bus):
    assert bus.ping()["product"] == "RabbitMQ"
