"""Who may call what: every RPC method of every service, tried by everybody, at a real broker.

The methods are those of the service classes; one that is not in the table fails. The entry points and nodes are real.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import pytest
from amqp.exceptions import AccessRefused
from kombu import Connection

from deploy.broker.public_methods import SERVICES, routing_keys, service_class
from services.bootserver.app import BootserverApp
from services.bootserver.images.image_names import ImageName
from services.bootserver.images.image_records import ImageRecord
from services.console.app import ConsoleApp
from services.kit.bus.app import container
from services.kit.bus.bus import BrokerBus
from services.kit.bus.entrypoints import Caller, InternalRpc
from services.kit.environment import environment
from services.nodes.service import NodesService
from tests.service.conftest import PUBLIC
from tests.support.amqp_user import FORGED, NO_RIGHT, SERVED, AmqpUser
from tests.support.image_tree import make_kernel
from walt.contracts import console
from walt.contracts.agent_names import AGENTS, service_name
from walt.contracts.bootserver import FILES
from walt.contracts.errors import NotFound
from walt.contracts.netemu import OpenCapture
from walt.contracts.vmrunner import Capacity

HOST = "rightshost"
NODE = "vn"
LAB = "hers"
TRACE = "lte"
OWNER, OTHER, ADMINISTRATOR, VICTIM = "olga", "otto", "adam", "vera"

NOT_OWNER, DENIED, CONFLICT, NOT_FOUND = "NotOwner", "Denied", "Conflict", "NotFound"


@dataclass(frozen=True)
class Row:
    """arguments: in which QUEUE is a queue of the caller; then what is answered to each."""

    method: str
    arguments: dict[str, Any] = field(default_factory=dict)
    owner: str = SERVED
    other: str = SERVED
    administrator: str = ""  # as other

    @property
    def answers(self) -> dict[str, str]:
        return {OWNER: self.owner, OTHER: self.other, ADMINISTRATOR: self.administrator or self.other}


QUEUE, TRANSFER, JOB = object(), object(), object()
THE_NODE = {"selection": NODE}

SCHEDULE = {"ports": [{"nodes": NODE, "network": "walt-net", "words": ["at=1s", "lat=9ms"]}]}
VICTIMS_LIMITS = {"name": VICTIM, "limits": ["nodes=9"]}
CAPTURE = {"node": NODE, "network": "walt-net"}
CONTENT = {"text": "keep_us loss_ppm\n9 9\n"}

PUBLIC_TABLE = (
    Row("nodes.create_nodes", {"names": ["new"]}),
    Row("nodes.get_nodes", THE_NODE),
    Row("nodes.wait_nodes", THE_NODE),
    Row("nodes.configure_nodes", {**THE_NODE, "settings": ["ram=1G"]}, other=NOT_OWNER),
    Row("nodes.configure_nodes", {**THE_NODE, "settings": ["ram=1G"], "force": True}, other=NOT_OWNER),
    Row("nodes.link_nodes", {**THE_NODE, "network": "walt-net", "options": ["lat=1ms"]}, other=NOT_OWNER),
    Row("nodes.reboot_nodes", THE_NODE, other=NOT_OWNER),
    Row("nodes.stop_nodes", THE_NODE, other=NOT_OWNER),
    Row("nodes.start_nodes", THE_NODE, other=NOT_OWNER),
    Row("nodes.rename_node", {"name": NODE, "new_name": "vn2"}, other=NOT_OWNER),
    Row("nodes.boot_nodes", {**THE_NODE, "image": "default"}, other=NOT_OWNER),
    Row("nodes.remove_nodes", {**THE_NODE, "force": True}, other=NOT_OWNER),
    Row("nodes.release_nodes", {**THE_NODE, "force": True}, other=NOT_OWNER),
    Row("nodes.acquire_nodes", THE_NODE, owner=CONFLICT, other="OwnerNeedsForce"),
    Row("nodes.acquire_nodes", {**THE_NODE, "force": True}, owner=CONFLICT, other=SERVED),  # and is told to the owner
    Row("nodes.apply_lab", {"document": {"name": "lab", "nodes": [{"name": "new2"}]}}),
    Row("nodes.apply_lab", {"document": {"name": "lab", "nodes": [{"name": NODE}]}, "dry_run": True}),  # told in it
    Row("nodes.get_labs"),
    Row("nodes.get_labs", {"name": LAB}, other=NOT_FOUND),
    Row("nodes.remove_lab", {"name": LAB, "force": True}, other=NOT_FOUND),
    Row("nodes.import_trace", {"name": "fresh", "content": CONTENT}),
    Row("nodes.get_traces"),
    Row("nodes.get_traces", {"name": TRACE}, other=NOT_FOUND),
    Row("nodes.remove_trace", {"name": TRACE}, other=NOT_FOUND),
    Row("nodes.schedule_links", SCHEDULE, other=NOT_OWNER),
    Row("nodes.get_ports", THE_NODE),
    Row("nodes.get_events", THE_NODE),
    Row("nodes.get_notices"),
    Row("nodes.diagnose"),
    Row("nodes.get_users", owner=DENIED, other=DENIED, administrator=SERVED),
    Row("nodes.add_user", {"name": "nina"}, owner=DENIED, other=DENIED, administrator=SERVED),
    Row("nodes.remove_user", {"name": "nina"}, owner=DENIED, other=DENIED, administrator=SERVED),
    Row("nodes.remove_user", {"name": OWNER}, owner=DENIED, other=DENIED, administrator="NeedsForce"),  # nodes are hers
    Row("nodes.accept_registry", owner=DENIED, other=DENIED, administrator=CONFLICT),  # there is nothing to decide
    Row("nodes.get_use"),
    Row("nodes.get_use", {"name": VICTIM}, owner=DENIED, other=DENIED, administrator=SERVED),
    Row("nodes.set_limits", VICTIMS_LIMITS, owner=DENIED, other=DENIED, administrator=SERVED),
    Row("nodes.get_hosts"),
    Row("nodes.drain_host", {"name": HOST, "undo": True}, owner=DENIED, other=DENIED, administrator=SERVED),
    Row("nodes.evacuate_host", {"name": HOST, "dry_run": True}, owner=DENIED, other=DENIED, administrator=SERVED),
    Row("nodes.admit_host", {"name": "lab9"}, owner=DENIED, other=DENIED, administrator=SERVED),
    Row("nodes.remove_host", {"name": HOST}, owner=DENIED, other=DENIED, administrator=CONFLICT),  # the server's
    Row("nodes.get_trash", owner=DENIED, other=DENIED, administrator=SERVED),
    Row("nodes.restore_trash", {"disk": "d", "node": NODE}, owner=DENIED, other=DENIED, administrator=NOT_FOUND),
    Row("nodes.empty_trash", owner=DENIED, other=DENIED, administrator=SERVED),
    Row("nodes.change_password"),
    Row("nodes.change_password", {"name": VICTIM}, owner=DENIED, other=DENIED, administrator=SERVED),
    Row("bootserver.get_images"),
    Row("bootserver.save_image", {"node": NODE, "name": "new"}, owner=CONFLICT, other=NOT_OWNER),  # it does not run
    Row("bootserver.import_image", {"reference": "nothing:here", "name": "mine2"}),
    Row("bootserver.clone_image", {"image": "default", "name": "copy"}),
    Row("bootserver.clone_image", {"image": f"{OWNER}/mine", "name": "copy2"}, other=DENIED),
    Row("bootserver.rename_image", {"image": "mine", "name": "mine3"}, other=NOT_FOUND),
    Row("bootserver.rename_image", {"image": f"{OWNER}/mine", "name": "mine3"}, other=DENIED),
    Row("bootserver.rename_image", {"image": "default", "name": "mine3"}, owner=DENIED, other=DENIED),
    Row("bootserver.remove_image", {"image": f"{OWNER}/mine", "force": True}, other=DENIED),
    Row("bootserver.open_upload", {"purpose": FILES, "image": f"{OWNER}/mine", "path": "/etc/x"}, other=DENIED),
    Row("bootserver.write_upload", {"upload": TRANSFER, "offset": 0, "data": ""}, other=NOT_FOUND),
    Row("bootserver.finish_upload", {"upload": TRANSFER}, other=NOT_FOUND),
    Row("bootserver.open_download", {"image": f"{OWNER}/mine", "path": "/etc"}, other=DENIED),
    Row("bootserver.read_download", {"job": TRANSFER, "offset": 0}, other=NOT_FOUND),
    Row("bootserver.close_transfer", {"transfer": TRANSFER}, other=NOT_FOUND),
    Row("bootserver.follow_job", {"job": JOB}, other=NOT_FOUND),
    Row("console@*.open_line", {"node": NODE, "queue": QUEUE}, other=NOT_OWNER),
    Row("console@*.open_line", {"node": NODE, "queue": QUEUE, "read_only": True}, other=NOT_OWNER),
    Row("console@*.open_line", {"node": NODE, "queue": f"user.{VICTIM}.1"}, owner=DENIED, other=DENIED),
    Row("console@*.open_shell", {"node": NODE, "queue": QUEUE}, owner=CONFLICT, other=NOT_OWNER),  # it does not run
    Row("console@*.open_shell", {"node": NODE, "queue": f"user.{VICTIM}.1"}, owner=DENIED, other=DENIED),
    Row("console@*.open_ping", {"node": NODE, "queue": QUEUE}),
    Row("console@*.open_ping", {"node": NODE, "queue": f"user.{VICTIM}.1"}, owner=DENIED, other=DENIED),
    Row("console@*.open_forward", {"node": NODE, "port": 80, "queue": QUEUE}, other=NOT_OWNER),
    Row("console@*.open_forward", {"node": NODE, "port": 80, "queue": f"user.{VICTIM}.1"}, owner=DENIED, other=DENIED),
    Row("console@*.open_capture", {**CAPTURE, "queue": QUEUE}, other=NOT_OWNER),
    Row("console@*.open_capture", {**CAPTURE, "queue": f"user.{VICTIM}.1"}, owner=DENIED, other=DENIED),
    Row("console@*.keep_session", {"session": "of olga"}, other=NOT_FOUND),
    Row("console@*.close_session", {"session": "of olga"}, other=NOT_FOUND),
)

INTERNAL_OF_NODES = (
    *("get_specs", "get_fabric", "get_trace"),
    "authorize",
    "get_account",
    "get_limits",
    "get_accounts",
    "check_administrator",
    "ensure_user",
    "suspend_user",
    "register_machine",
    "check_history",
)

# For services alone: everybody is refused by the broker.
INTERNAL_TABLE = (
    *(f"nodes.{method}" for method in INTERNAL_OF_NODES),
    *(f"bootserver.{method}" for method in ("check_image", "count_images", "persist_bytes", "drop_persist_folder")),
    *(f"bootserver.{one}" for one in ("publish_boot", "open_access", "list_machines", "get_addresses", "diagnose")),
    *(f"vmrunner@*.{method}" for method in ("list_vms", "list_data", "persist_bytes", "capacity", "diagnose")),
    *(f"vmrunner@*.{method}" for method in ("list_trash", "claim_trash", "empty_trash", "list_moving", "read_moving")),
    *(f"netemu@*.{method}" for method in ("attach_ports", "list_ports", "open_capture", "diagnose")),
    *(f"console@*.{method}" for method in ("prepare_line", "run_command", "diagnose")),
)


def entry_points(cls):
    """{method: function} of all that can be called, public or not."""
    return {
        name: function
        for name, function in inspect.getmembers(cls, inspect.isfunction)
        if any(isinstance(one, InternalRpc) for one in getattr(function, "nameko_entrypoints", ()))
    }


def all_keys():
    return {
        f"{service}{'@*' if service in AGENTS else ''}.{method}"
        for service in SERVICES
        for method in entry_points(service_class(service))
    }


def real(key):
    return key.replace("@*", f"@{HOST}")


class FakeSessions:
    """One session, of the owner."""

    def check_limit(self, user):
        pass

    check_captures = check_limit

    def keep(self, user, session):
        if user != OWNER:
            raise NotFound(f"session '{session}' is not open")

    close = keep


class IdleConsole(ConsoleApp):
    """Asks the real `nodes`, and opens no session."""

    def __init__(self, env, bus):
        super().__init__(env, bus)
        self.sessions = FakeSessions()

    def _open(self, *_):
        return console.OpenedSession("1", 0)


APPS: dict[str, Any] = {}  # real, but not started: no machine is watched, no line is open
DEPENDENCIES: dict[str, dict[str, Any]] = {
    "console": {"app": property(lambda _: APPS["console"])},
    "bootserver": {"app": property(lambda _: APPS["bootserver"])},
    "vmrunner": {
        "app": SimpleNamespace(
            memory=SimpleNamespace(capacity=lambda: Capacity(8, 2**34, 1.5)),
            disks=SimpleNamespace(data=lambda _: []),
            trash=SimpleNamespace(disks=lambda: [], remove=lambda _: None),
            fleet=SimpleNamespace(reports=lambda: []),
            diagnose=lambda: [],
        )
    },
    "netemu": {"app": MagicMock(open_capture=lambda *_: OpenCapture("address", "key"))},
}


def stand_in(service):
    """The entry points of the real class, over dependencies that do nothing."""
    name = service_name(service, HOST)
    body = {**entry_points(service_class(service)), **DEPENDENCIES[service], "name": name, "caller": Caller()}
    return type(service, (), body)


@pytest.fixture(scope="module")
def platform(amqp_uri, broker_api, tmp_path_factory):
    folder = tmp_path_factory.mktemp("rights")
    (folder / "public").write_text("\n".join(PUBLIC))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WALT_STATE_DIR", str(folder))
        patch.setenv("WALT_HOST", HOST)
        patch.setenv("WALT_IMAGES_DIR", str(folder / "images"))
        patch.setenv("WALT_PLATFORM_IMAGES", "default=tiny")
        patch.setenv("WALT_IMAGE_SOURCES", "any,build")  # who may is the question here, not what
        make_kernel(folder / "images/tiny", "6.1-test")
        make_kernel(folder / "images/users/mine-1", "6.1-test")
        patch.setenv("WALT_LINES_DIR", str(folder / "lines"))
        patch.setattr("services.console.app.ChildProcess", MagicMock())
        patch.setattr("services.console.app.CaptureStream", MagicMock())
        APPS["bootserver"] = BootserverApp(environment(), BrokerBus(amqp_uri, "bootserver"))
        APPS["console"] = IdleConsole(environment(), BrokerBus(amqp_uri, "console"))
        patch.setenv("WALT_BROKER_API", broker_api)
        patch.setenv("WALT_PUBLIC_METHODS", str(folder / "public"))
        classes = [*map(stand_in, DEPENDENCIES), NodesService]
        containers = [container(cls, environment()) for cls in classes]
        for one in containers:
            one.start()
        yield containers[-1]
        for one in containers:
            one.stop()


@pytest.fixture(scope="module")
def people(platform, amqp_uri, broker_port, vhost):
    """Everybody, with a connection; their accounts are made by nodes."""
    everybody = {}
    bus = BrokerBus(amqp_uri, "setup")
    for name in (OWNER, OTHER, ADMINISTRATOR, VICTIM):
        password = bus.call("nodes", "ensure_user", name=name, administrator=name == ADMINISTRATOR)["password"]
        everybody[name] = AmqpUser(f"amqp://{name}:{password}@127.0.0.1:{broker_port}/{vhost}")
    bus.close()
    yield everybody
    for person in everybody.values():
        person.close()


@pytest.fixture
def things(platform, people):
    """One node, one image, one transfer and one piece of work of the owner's, as new for every try."""
    app = APPS["bootserver"]
    records, transfers = app.images.records, app.transfers
    for record in records.all():
        records.remove(ImageName(record.owner, record.name))
    records.put(ImageRecord(OWNER, "mine", "users/mine-1", 0.0))
    transfer = transfers.open(OWNER, FILES, "mine", "/etc", "x")
    nodes = next(one for one in platform.dependencies if one.attr_name == "app").app
    with nodes.transaction() as registry:
        for one in registry.nodes():
            registry.delete(one.id)
    assert people[OWNER].outcome("nodes.create_nodes", {"names": [NODE]}, OWNER) == SERVED
    document = {"name": LAB, "nodes": [{"name": "of-lab"}]}
    assert people[OWNER].outcome("nodes.apply_lab", {"document": document}, OWNER) == SERVED
    for name in (TRACE, "fresh"):
        for who in (OWNER, OTHER, ADMINISTRATOR):
            people[who].outcome("nodes.remove_trace", {"name": name}, who)
    assert people[OWNER].outcome("nodes.import_trace", {"name": TRACE, "content": CONTENT}, OWNER) == SERVED
    yield {TRANSFER: transfer.id, JOB: app.jobs.start(OWNER, lambda say: None)}
    transfers.close(OWNER, transfer.id)


def test_every_method_is_in_the_table():
    assert {row.method for row in PUBLIC_TABLE} == set(PUBLIC)
    assert set(INTERNAL_TABLE) | set(PUBLIC) == all_keys()
    assert not set(INTERNAL_TABLE) & set(PUBLIC)


def test_rights_are_derived_from_every_service():
    assert set(PUBLIC) == {key for service in SERVICES for key in routing_keys(service)}


@pytest.mark.parametrize("name", [OWNER, OTHER, ADMINISTRATOR])
@pytest.mark.parametrize("row", PUBLIC_TABLE, ids=lambda row: f"{row.method} {row.arguments}"[:60])
def test_public_method(row, name, things, people):
    things[QUEUE] = f"user.{name}.console"
    arguments = {
        key: things.get(value, value) if type(value) is object else value for key, value in row.arguments.items()
    }
    assert people[name].outcome(real(row.method), arguments, name) == row.answers[name]


@pytest.mark.parametrize("method", INTERNAL_TABLE)
def test_internal_method_is_for_services_alone(method, people):
    for name in (OWNER, OTHER, ADMINISTRATOR):
        assert people[name].outcome(real(method), {}, name) == NO_RIGHT


@pytest.mark.parametrize("method", sorted(all_keys()))
def test_without_a_name_or_with_anothers_nothing_is_done(method, people):
    is_public = method in PUBLIC
    assert people[OTHER].outcome(real(method), {}, None) == (DENIED if is_public else NO_RIGHT)
    for forged in (OWNER, ADMINISTRATOR, "walt-services"):
        assert people[OTHER].outcome(real(method), {}, forged) in ({FORGED} if is_public else {FORGED, NO_RIGHT})


@pytest.mark.parametrize("login", ["guest:guest", "nobody:secret", f"{OWNER}:wrong", "walt-services:"])
def test_nobody_else_gets_in(people, broker_port, vhost, login):
    with pytest.raises(AccessRefused), Connection(f"amqp://{login}@127.0.0.1:{broker_port}/{vhost}") as connection:
        connection.connect()


def own_exchange(channel, arguments=None):
    name = f"user.{OTHER}.x"
    channel.exchange_delete(name)
    channel.exchange_declare(name, "topic", auto_delete=False, arguments=arguments)
    return name


@pytest.mark.parametrize(
    "attempt",
    [
        lambda channel, queue: channel.queue_declare(queue),
        lambda channel, queue: channel.basic_consume(queue),
        lambda channel, queue: channel.basic_get(queue),
        lambda channel, queue: channel.queue_delete(queue),
        lambda channel, queue: channel.queue_bind(f"user.{OTHER}.spy", "nameko-rpc", queue),
        lambda channel, queue: channel.queue_bind(f"user.{OTHER}.spy", "nameko-rpc", "#"),
        lambda channel, queue: channel.queue_bind(f"user.{OTHER}.spy", "walt-console", "#"),
        lambda channel, queue: channel.queue_bind(f"user.{OTHER}.spy", "amq.topic", "#"),
        lambda channel, queue: channel.queue_bind(queue, "nameko-rpc", f"user.{OTHER}.1"),
        lambda channel, queue: channel.exchange_bind(own_exchange(channel), "nameko-rpc", "#"),
        lambda channel, queue: channel.exchange_bind("nodes.events", own_exchange(channel), "#"),
        lambda channel, queue: channel.exchange_bind(own_exchange(channel), "nodes.events", "#"),
        lambda channel, queue: own_exchange(channel, {"alternate-exchange": "nodes.events"}),
        lambda channel, queue: own_exchange(channel, {"alternate-exchange": ""}),
        lambda channel, queue: channel.exchange_declare("nodes.events", "topic"),
        lambda channel, queue: channel.exchange_delete("nameko-rpc"),
        lambda channel, queue: channel.basic_consume("rpc-nodes"),
    ],
)
def test_replies_and_console_streams_are_their_users_alone(people, attempt):
    """They are queues named after their user; nothing of another's can be read, bound or deleted."""
    with people[OWNER].connection.channel() as channel, people[OTHER].connection.channel() as spy:
        queue = channel.queue_declare(f"user.{OWNER}.console.1", auto_delete=True).queue
        channel.basic_consume(queue, no_ack=True, consumer_tag="hers")
        spy.queue_declare(f"user.{OTHER}.spy", exclusive=True)
        with pytest.raises(AccessRefused):
            attempt(spy, queue)


def test_nobody_writes_into_anothers_console_stream(people):
    """Nor into a service's queue, other than by its public methods."""
    with people[OWNER].connection.channel() as channel:
        queue = channel.queue_declare(f"user.{OWNER}.console.2", exclusive=True).queue
        for exchange, key in (("", queue), ("", "rpc-nodes"), ("nameko-rpc", queue), ("nodes.events", "node_wanted")):
            spy = people[OTHER].connection.channel()
            with pytest.raises(AccessRefused):
                people[OTHER].connection.Producer(spy).publish(b"x", exchange=exchange, routing_key=key)
                spy.queue_declare(f"user.{OTHER}.after", exclusive=True)  # the refusal comes before its answer
        assert channel.basic_get(queue) is None
