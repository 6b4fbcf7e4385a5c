"""What the account of the agents of a further host may do at a real broker, and that it may do nothing else."""

from __future__ import annotations

import contextlib
import json
import uuid
from typing import Any

import pytest
from amqp import Message
from amqp.exceptions import AccessRefused, PreconditionFailed, ResourceLocked
from kombu import Connection
from nameko.containers import ServiceContainer

from services.kit import tasks
from services.kit.bus import streams
from services.kit.bus.app import configuration, named
from services.kit.bus.bus import BrokerBus
from services.kit.bus.entrypoints import Caller, InternalRpc, PublicRpc, for_agents, internal, on_event, public
from services.kit.bus.healthcheck import ping
from services.kit.bus.name_lock import NameLock
from services.kit.bus.streams import Bounds, StreamPublisher
from services.kit.environment import environment
from tests.service.conftest import PASSWORD, SECOND
from tests.support.amqp_user import AmqpUser
from tests.support.wait import wait_until
from walt.contracts import console, nodes
from walt.contracts.agent_rights import CALLS_OF_AGENTS, account_of_host
from walt.contracts.errors import Unreachable
from walt.contracts.hosts import AGENT_PRESENT
from walt.contracts.vmrunner import VM_CHANGED, VM_REMOVED

ACCOUNT = account_of_host(SECOND)
OWN = f"console@{SECOND}"
HEARD: list[tuple[str, Any]] = []


def callable_as(method):
    def answer(self) -> str:
        return f"{method} for {self.caller}"

    answer.__name__ = method
    return for_agents(answer)


def central(name):
    """The methods that agents may call, one more, and the events that nodes hears."""
    methods = [key.split(".")[1] for key in CALLS_OF_AGENTS if key.startswith(f"{name}.")]
    return type(name, (Central,), {"name": name, **{method: callable_as(method) for method in methods}})


class Central:
    caller = Caller()

    @internal
    def suspend_user(self) -> str:
        return "suspended"

    @public
    def get_nodes(self) -> str:
        return f"nodes of {self.caller}"

    @on_event("vmrunner", VM_CHANGED)
    def on_vm_changed(self, said: dict[str, Any]) -> None:
        HEARD.append((VM_CHANGED, said))

    @on_event("vmrunner", AGENT_PRESENT)
    @on_event("netemu", AGENT_PRESENT)
    def on_agent_present(self, said: dict[str, Any]) -> None:
        HEARD.append((AGENT_PRESENT, said))


class Agent:
    name = "console"
    caller = Caller()

    @public
    def open_line(self) -> str:
        return f"a line for {self.caller}"

    @internal
    def prepare_line(self) -> str:
        return "prepared"

    @on_event("nodes", nodes.NODE_WANTED)
    def on_node_wanted(self, said: dict[str, Any]) -> None:
        HEARD.append((nodes.NODE_WANTED, said))


@pytest.fixture(scope="module")
def agent_uri(broker_port, vhost):
    return f"amqp://{ACCOUNT}:{PASSWORD}@127.0.0.1:{broker_port}/{vhost}"


@pytest.fixture(scope="module")
def platform(amqp_uri, agent_uri):
    """nodes and bootserver with the services' account, console of two hosts: of the second with that of its agents."""
    settings = configuration(environment())
    containers = [ServiceContainer(central(name), settings) for name in ("nodes", "bootserver")]
    containers.append(ServiceContainer(named(Agent, "lab1"), settings))
    containers.append(ServiceContainer(named(Agent, SECOND), {**settings, "AMQP_URI": agent_uri}))
    for one in containers:
        one.start()
    yield
    for one in containers:
        one.stop()


@pytest.fixture
def services(platform, amqp_uri):
    with contextlib.closing(BrokerBus(amqp_uri, "nodes")) as bus:
        yield bus


@pytest.fixture
def agent(platform, agent_uri):
    HEARD.clear()
    with contextlib.closing(BrokerBus(agent_uri, OWN)) as bus:
        yield bus


@pytest.fixture
def spy(platform, agent_uri):
    """A channel with the account of the agents."""
    with Connection(agent_uri) as connection:
        yield connection.channel()


def heard(event, **said):
    wait_until(lambda: (event, said) in HEARD, 10, lambda: str(HEARD))


def test_an_agent_serves_services_and_users(services, agent, user_uri):
    assert services.call(OWN, "prepare_line") == "prepared"
    alice = AmqpUser(user_uri("alice"))
    assert alice.call(f"{OWN}.open_line") == "a line for alice"
    alice.close()


def test_an_agent_calls_those_of_its_host_and_what_is_for_agents(agent):
    assert agent.call(OWN, "prepare_line") == "prepared"
    for key in CALLS_OF_AGENTS:
        service, method = key.split(".")
        assert agent.call(service, method) == f"{method} for {SECOND}"


def test_a_call_of_a_service_is_of_no_host(services):
    assert services.call("nodes", "get_specs") == "get_specs for "


def test_an_agent_hears_and_announces(services, agent, agent_uri):
    services.announce(nodes.NODE_WANTED, {"id": 1})
    heard(nodes.NODE_WANTED, id=1)
    for service in ("vmrunner", "netemu"):
        with contextlib.closing(BrokerBus(agent_uri, f"{service}@{SECOND}")) as bus:
            bus.announce(AGENT_PRESENT, {"host": SECOND, "agent": service})
            heard(AGENT_PRESENT, host=SECOND, agent=service)
    with contextlib.closing(BrokerBus(agent_uri, f"vmrunner@{SECOND}")) as bus:
        bus.announce(VM_CHANGED, {"host": SECOND})
        heard(VM_CHANGED, host=SECOND)


def test_an_agent_has_its_name_and_is_well(platform, agent_uri):
    NameLock(agent_uri, f"netemu@{SECOND}").acquire()
    ping(agent_uri, OWN)


def test_an_agent_hears_its_users_and_writes_to_them(platform, agent_uri, user_uri):
    key, received = console.input_key(SECOND, uuid.uuid4().hex), []
    ready = tasks.Signal()
    arguments = (console.INPUT_EXCHANGE, key, Bounds(10, 1000, 100, 1000), received.append, ready.set)
    consumer = tasks.spawn(streams.consume, agent_uri, f"input-{OWN}-{uuid.uuid4().hex}", *arguments)
    assert ready.wait(10) is not False
    publisher = StreamPublisher(agent_uri)
    with Connection(user_uri("alice")) as connection:
        channel = connection.channel()
        queue = channel.queue_declare("user.alice.session", exclusive=True).queue
        connection.Producer(channel).publish(b"ls", exchange=console.INPUT_EXCHANGE, routing_key=key, user_id="alice")
        wait_until(lambda: [(one.user, one.body) for one in received] == [("alice", b"ls")])
        publisher.publish(queue, b"files", {})
        wait_until(lambda: channel.basic_get(queue, no_ack=True))
    publisher.close()
    consumer.kill()


@pytest.mark.parametrize("event", [VM_CHANGED, VM_REMOVED, AGENT_PRESENT])
def test_it_announces_nothing_of_another_host(services, agent, agent_uri, event):
    with contextlib.closing(BrokerBus(agent_uri, f"vmrunner@{SECOND}")) as bus:
        bus.announce(event, {"host": "lab1"})
        bus.announce(AGENT_PRESENT, {"host": SECOND, "number": 2})  # behind it
    heard(AGENT_PRESENT, host=SECOND, number=2)
    assert {said["host"] for _, said in HEARD} == {SECOND}


REPLY = f"rpc.reply-{OWN}-{uuid.uuid4()}"


@pytest.mark.parametrize(
    "attempt",
    [
        lambda spy: spy.basic_consume("rpc-nodes"),
        lambda spy: spy.basic_get("internal-nodes"),
        lambda spy: spy.basic_get("internal-console@lab1"),
        lambda spy: spy.basic_get("evt-vmrunner-vm_changed--nodes.on_vm_changed"),
        lambda spy: spy.basic_get("evt-nodes-node_wanted--console@lab1.on_node_wanted"),
        lambda spy: spy.queue_delete("internal-nodes"),
        lambda spy: spy.queue_purge("internal-console@lab1"),
        lambda spy: spy.queue_declare("internal-vmrunner@lab3"),
        lambda spy: spy.queue_declare("rpc-nodes"),
        lambda spy: spy.queue_declare("name.vmrunner@lab1", exclusive=True),
        lambda spy: spy.queue_declare(f"internal-nodes@{SECOND}"),
        lambda spy: spy.queue_declare("user.alice.1"),
        lambda spy: spy.queue_declare(""),
        lambda spy: spy.queue_declare(REPLY.replace(SECOND, "lab1")),
        lambda spy: spy.exchange_declare("nameko-rpc", "topic", durable=True, auto_delete=False),
        lambda spy: spy.exchange_delete("walt-internal"),
        lambda spy: spy.exchange_declare("mine", "topic"),
        lambda spy: spy.exchange_bind("nodes.events", "vmrunner.events", "#"),
        lambda spy: bind(spy, "nameko-rpc", "#"),
        lambda spy: bind(spy, "nameko-rpc", "nodes.*"),
        lambda spy: bind(spy, "nameko-rpc", "console@lab1.*"),
        lambda spy: bind(spy, "nameko-rpc", "user.alice.1"),
        lambda spy: bind(spy, "nameko-rpc", REPLY.replace(SECOND, "lab1")),
        lambda spy: bind(spy, "walt-internal", "#"),
        lambda spy: bind(spy, "walt-internal", "nodes.*"),
        lambda spy: bind(spy, "walt-internal", "vmrunner@lab1.*"),
        lambda spy: bind(spy, "walt-console", "#"),
        lambda spy: bind(spy, "walt-console", f"input.lab1.{uuid.uuid4().hex}"),
        lambda spy: bind(spy, "walt-console", f"input.{SECOND}.*"),
        lambda spy: bind(spy, "vmrunner.events", "vm_changed"),
        lambda spy: bind(spy, "nodes.events", "#"),
        lambda spy: bind(spy, "amq.topic", "#"),
        lambda spy: send(spy, "nameko-rpc", "nodes.get_nodes"),
        lambda spy: send(spy, "nameko-rpc", f"{OWN}.open_line"),
        lambda spy: send(spy, "nameko-rpc", "user.alice.1"),
        lambda spy: send(spy, "walt-internal", "nodes.suspend_user"),
        lambda spy: send(spy, "walt-internal", "nodes.get_account"),
        lambda spy: send(spy, "walt-internal", "nodes.get_nodes"),
        lambda spy: send(spy, "walt-internal", "bootserver.list_machines"),
        lambda spy: send(spy, "walt-internal", "console@lab1.prepare_line"),
        lambda spy: send(spy, "walt-internal", "vmrunner@lab1.list_vms"),
        lambda spy: send(spy, "walt-internal", "netemu@lab1.list_moving"),
        lambda spy: send(spy, "walt-internal", "vmrunner@lab1.list_moving.x"),
        lambda spy: send(spy, "walt-internal", "netemu@lab1.attach_ports"),
        lambda spy: send(spy, "walt-console", f"input.{SECOND}.{uuid.uuid4().hex}"),
        lambda spy: send(spy, "nodes.events", nodes.NODE_WANTED),
        lambda spy: send(spy, "bootserver.events", "node_booted"),
        lambda spy: send(spy, "vmrunner.events", "node_wanted"),
        lambda spy: send(spy, "netemu.events", VM_CHANGED),
        lambda spy: send(spy, "amq.topic", "x"),
    ],
)
def test_the_broker_refuses_all_else(spy, attempt):
    with pytest.raises(AccessRefused):
        attempt(spy)


def bind(spy, exchange, key):
    spy.queue_declare(REPLY, exclusive=True)
    spy.queue_bind(REPLY, exchange, key)


def send(spy, exchange, key, body="{}", **properties):
    spy.basic_publish(Message(body, content_type="application/json", **properties), exchange, key)
    spy.queue_declare(REPLY, exclusive=True)  # a refusal comes before its answer


def test_a_name_that_is_taken_stays_taken(spy, agent_uri):
    NameLock(agent_uri, f"vmrunner@{SECOND}").acquire()
    with pytest.raises(ResourceLocked):
        spy.queue_declare(f"name.vmrunner@{SECOND}", exclusive=True)


EVENT_QUEUES = {
    "evt-vmrunner-vm_changed--nodes.on_vm_changed": {"host": "lab1"},
    "evt-vmrunner-agent_present--nodes.on_agent_present": {"host": "lab1"},
    "evt-nodes-node_wanted--console@lab1.on_node_wanted": {"id": 666, "host": SECOND},
}


@pytest.mark.parametrize("queue", EVENT_QUEUES)
@pytest.mark.parametrize("user_id", [None, ACCOUNT])
def test_what_it_puts_into_the_queue_of_an_event_is_not_believed(services, agent, spy, queue, user_id):
    body = json.dumps(EVENT_QUEUES[queue])
    send(spy, "", queue, body, content_encoding="utf-8", **({"user_id": user_id} if user_id else {}))
    tasks.sleep(1)
    assert HEARD == []
    with contextlib.suppress(Unreachable):
        services.announce(nodes.NODE_WANTED, {"id": 2})
    heard(nodes.NODE_WANTED, id=2)


def test_nobody_takes_the_name_of_another_account(spy):
    with pytest.raises(PreconditionFailed):
        send(spy, "", "evt-vmrunner-vm_changed--nodes.on_vm_changed", user_id="walt-services")


@pytest.mark.parametrize("queue", ["rpc-nodes", "internal-nodes", "internal-console@lab1"])
@pytest.mark.parametrize("user_id", [None, ACCOUNT])
def test_no_method_is_called_by_the_name_of_a_queue(agent, spy, queue, user_id):
    """The method is in the routing key, which is the name of the queue then."""
    replies = []
    spy.queue_declare(REPLY, exclusive=True)
    spy.basic_consume(REPLY, no_ack=True, callback=replies.append)
    body = json.dumps({"args": [], "kwargs": {}})
    properties = {"reply_to": REPLY, "correlation_id": "1", "content_encoding": "utf-8"}
    send(spy, "", queue, body, **properties, **({"user_id": user_id} if user_id else {}))
    if user_id is None:
        return  # nobody is answered who does not say who he is
    wait_until(lambda: _drained(spy, replies))
    assert json.loads(replies[0].body)["error"] is not None


def _drained(channel, replies):
    with contextlib.suppress(TimeoutError):
        channel.connection.drain_events(timeout=0.5)
    return replies


def test_a_reply_goes_to_no_queue_of_another(agent, spy, amqp_uri):
    """It would have a service write into the queue of a third."""
    with Connection(amqp_uri) as connection:
        channel = connection.channel()
        queue = channel.queue_declare(f"rpc.reply-console@lab1-{uuid.uuid4()}", exclusive=True).queue
        body = json.dumps({"args": [], "kwargs": {}})
        properties = {"reply_to": queue, "content_encoding": "utf-8", "user_id": ACCOUNT}
        send(spy, "walt-internal", "nodes.get_specs", body, **properties)
        tasks.sleep(1)
        assert channel.basic_get(queue) is None


def test_a_service_refuses_what_the_broker_would_let_through(amqp_uri):
    """A method that is for services or users only, should it be reached."""
    for entry_point in (InternalRpc(), PublicRpc()):
        entry_point.container = type("Container", (), {"config": {"AMQP_URI": amqp_uri}})
        assert entry_point.fault_of(ACCOUNT)
