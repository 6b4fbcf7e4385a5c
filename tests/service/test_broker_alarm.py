"""A broker in an alarm (its disk is full): commands end at once and say so, nothing given up is done later, and all of
it works again when the alarm is over."""

import contextlib
import json
import os
import subprocess
import time
from pathlib import Path

import pytest
from amqp import Message
from kombu import Connection
from nameko.containers import ServiceContainer

from deploy.broker import rabbitmq
from services.kit.bus import requests
from services.kit.bus.bus import BrokerBus
from services.kit.bus.entrypoints import Caller, internal, public
from tests.support.broker import PrivateBroker
from tests.support.wait import wait_until
from walt.client import Client
from walt.configuration import parse_configuration
from walt.contracts.broker_permissions import SERVICE_RIGHTS, user_rights
from walt.contracts.errors import Unreachable

PROMPTLY_S = 3.0
MORE_THAN_THERE_IS = "100000000000000"


class Lamp:
    name = "lamp"
    caller = Caller()
    switched: list[str] = []  # noqa: RUF012

    @public
    def switch(self, to: str) -> str:
        self.switched.append(to)
        return to

    @internal
    def switch_by_service(self, to: str) -> None:
        self.switched.append(to)


@pytest.fixture(scope="module")
def broker(tmp_path_factory):
    accounts = [
        rabbitmq.RabbitmqUser("walt-services", "secret", SERVICE_RIGHTS),
        rabbitmq.RabbitmqUser("alice", "secret", user_rights("alice", ["lamp.switch"])),
    ]
    one = PrivateBroker(tmp_path_factory.mktemp("broker"), accounts)
    one.start()
    yield one
    one.kill()


def uri(broker, user):
    return f"amqp://{user}:secret@127.0.0.1:{broker.port}/test0"


@pytest.fixture(scope="module")
def lamp(broker):
    container = ServiceContainer(Lamp, {"AMQP_URI": uri(broker, "walt-services"), "max_workers": 100})
    container.start()
    yield container
    container.stop()


@pytest.fixture
def client(broker, lamp):
    configuration = parse_configuration(f'amqp_uri = "{uri(broker, "alice")}"', Path("test"))
    with Client(lambda: configuration) as client:
        yield client


def service_bus(container):
    return next(one for one in container.subextensions if isinstance(one, requests.ServiceBus)).bus


def control(broker, *words):
    env = {**os.environ, **rabbitmq.environment(broker.settings)}
    subprocess.run([rabbitmq.CONTROL, "-q", *words], env=env, check=True, capture_output=True)


@contextlib.contextmanager
def alarm(broker, lamp):
    control(broker, "set_disk_free_limit", MORE_THAN_THERE_IS)
    try:
        wait_until(lambda: service_bus(lamp).is_blocked)
        yield
    finally:
        control(broker, "set_disk_free_limit", "50MB")
    wait_until(lambda: not service_bus(lamp).is_blocked)


def until_it_works(client):
    assert client.call("lamp", "switch", to="works", timeout_s=10) == "works"


def test_fault_b3_a_command_in_an_alarm_ends_at_once_and_is_never_done(broker, lamp, client):
    until_it_works(client)
    with alarm(broker, lamp):
        begin = time.monotonic()
        with pytest.raises(Unreachable, match="its broker is low on disk") as met:
            client.call("lamp", "switch", to="known")  # over the connection of before
        with pytest.raises(Unreachable, match="its broker is low on disk; nothing was done"):
            client.call("lamp", "switch", to="new")
        assert time.monotonic() - begin < PROMPTLY_S and met.value.exit_code == 6
    until_it_works(client)
    assert not {"known", "new"} & set(Lamp.switched)


def test_fault_b3_what_lay_unread_at_the_broker_is_not_done_after_the_alarm(broker, lamp, client):
    """By a client that knows nothing of alarms, gives up and goes."""
    connection = Connection(uri(broker, "alice"))
    channel = connection.channel()
    channel.queue_declare("user.alice.old", exclusive=True)
    usual = {"content_type": "application/json", "content_encoding": "utf-8", "user_id": "alice"}

    def send(to):
        request = json.dumps({"args": [], "kwargs": {"to": to}})
        channel.basic_publish(
            Message(request, reply_to="user.alice.old", expiration="20000", **usual), "nameko-rpc", "lamp.switch"
        )

    send("before")
    wait_until(lambda: "before" in Lamp.switched)
    with alarm(broker, lamp):
        send("late")
        send("later")
        connection.collect()
    until_it_works(client)
    time.sleep(2 * requests.SETTLE_S)  # in which they would be done
    assert not {"late", "later"} & set(Lamp.switched)


def test_fault_b3_first_message_of_a_client_in_an_alarm_is_not_done(broker, lamp, client):
    """The broker takes the first message of a connection before it blocks it; nobody could reply."""
    with alarm(broker, lamp), contextlib.closing(BrokerBus(uri(broker, "walt-services"), "other")) as bus:
        with pytest.raises(Unreachable):
            bus.call("lamp", "switch_by_service", to="first", timeout_s=1)
        with pytest.raises(Unreachable, match="takes no messages"):
            bus.call("lamp", "switch_by_service", to="second", timeout_s=1)
    until_it_works(client)
    assert not {"first", "second"} & set(Lamp.switched)


def test_who_waited_through_the_alarm_is_served(broker, lamp, client):
    with contextlib.closing(BrokerBus(uri(broker, "walt-services"), "other")) as bus:
        bus.call("lamp", "switch_by_service", to="ready")
        with alarm(broker, lamp), pytest.raises(Unreachable):
            bus.call("lamp", "switch_by_service", to="not now", timeout_s=1)
        bus.call("lamp", "switch_by_service", to="again", timeout_s=10)
    assert "again" in Lamp.switched and "not now" not in Lamp.switched
