"""The nodes service on a real RabbitMQ: users alice and bob, a vmrunner that says what the tests tell it."""

from __future__ import annotations

import itertools
import time

import eventlet
import pytest
from kombu import Connection, Exchange, Queue
from nameko.containers import ServiceContainer
from nameko.events import event_handler
from nameko.standalone.events import event_dispatcher
from nameko.timer import Timer

from services.contracts import nodes as contract
from services.contracts import wire
from services.contracts.bootserver import ImageView
from services.contracts.errors import InvalidRequest, NotFound, WaltError, from_wire
from services.contracts.health import Check
from services.contracts.nodes import NodeWanted
from services.contracts.vmrunner import (
    BOOTED,
    BOOTING,
    DELAYING,
    STOPPED,
    VM_CHANGED,
    VM_REMOVED,
    Capacity,
    DiskData,
    VmRemoved,
    VmReport,
)
from services.kit import peers
from services.kit.entrypoints import internal, public_methods
from services.nodes import catchup, hosts, inspection
from services.nodes.service import NodesService, service_for
from tests.unit.vmrunner.sample import wanted

HOST = "testhost"
RUNNER = f"vmrunner@{HOST}"
FREE = ""


class FakeRunner:
    """vmrunner@HOST at the edge: it reports `vms`, and keeps what it heard and was asked."""

    name = RUNNER
    vms: list[VmReport] = []
    written: dict[int, int] = {}  # disk id: bytes; every other disk was made, and is as it was made
    looked_into: list[str] = []
    wanted: list[NodeWanted] = []
    removed: list[str] = []

    @internal
    def list_vms(self):
        return wire.dump_all(self.vms)

    @internal
    def list_data(self, node_id):
        (wish,) = [one for one in peers.call("nodes", "wanted_everywhere") if one["id"] == node_id]
        self.looked_into.append(wish["name"])
        disks = [one["id"] for one in wish["disks"]]
        return wire.dump_all(DiskData(one, self.written.get(one, 4096), one in self.written) for one in disks)

    @internal
    def capacity(self):
        return wire.dump(Capacity(cpu_cores=8, ram_bytes=16 * 2**30, memory_factor=1.5))

    @internal
    def diagnose(self):
        return wire.dump_all([Check("KVM", "ok", "boots a kernel")])

    @event_handler("nodes", contract.NODE_WANTED)
    def on_node_wanted(self, payload):
        self.wanted.append(wire.load(NodeWanted, payload))

    @event_handler("nodes", contract.NODE_REMOVED)
    def on_node_removed(self, payload):
        self.removed.append(payload["name"])


class FakeBootserver:
    name = "bootserver"
    persisted: dict[tuple[int, str], int] = {}

    @internal
    def check_image(self, name, user):
        if name == "mine":
            return wire.dump(ImageView(f"{user}/mine", user, 0.0, 1, "linux"))
        if name not in ("default", "debian"):
            raise NotFound(f"no image '{name}'")
        return wire.dump(ImageView(name, "", 0.0, 1, "linux"))

    @internal
    def persist_bytes(self, node_id):
        return {owner: size for (node, owner), size in self.persisted.items() if node == node_id}

    @internal
    def diagnose(self):
        return []


class Platform:
    """One nodes service and its fake peers; `restart` is a new process on the same state."""

    def __init__(self, uri, user_uri):
        self.uri, self.user_uri = uri, user_uri
        self.containers = {}

    def start(self, cls):
        if cls.name not in self.containers:
            self.containers[cls.name] = container = ServiceContainer(cls, {"AMQP_URI": self.uri})
            for one in container.entrypoints:
                if isinstance(one, Timer):
                    one.interval = 3600  # once, at start: a later catch-up would come into any test
            container.start()

    def start_all(self):
        for cls in (FakeBootserver, FakeRunner, service_for(HOST)):
            self.start(cls)

    def forget_all(self):
        """No node is there, nothing was heard. What was announced before is heard first: events come in order."""
        with self.store.transaction() as registry:
            for node in registry.nodes():
                registry.delete(node.id)
        tell = event_dispatcher({"AMQP_URI": self.uri})
        tell("nodes", contract.NODE_WANTED, wire.dump(wanted(name="last")))
        tell("nodes", contract.NODE_REMOVED, wire.dump(contract.NodeRemoved(0, "last", HOST)))
        until(lambda: "last" in FakeRunner.removed and any(one.name == "last" for one in FakeRunner.wanted))
        for memory in (FakeRunner.vms, FakeRunner.wanted, FakeRunner.removed, FakeRunner.looked_into):
            memory.clear()
        for data in (FakeRunner.written, FakeBootserver.persisted):
            data.clear()

    @property
    def store(self):
        providers = self.containers["nodes"].dependencies
        return next(one for one in providers if one.attr_name == "store").get_dependency(None)

    def stop(self, name):
        self.containers.pop(name).stop()

    def stop_all(self):
        stopping = [eventlet.spawn(self.stop, name) for name in list(self.containers)]
        for one in stopping:
            one.wait()

    def restart(self):
        self.stop("nodes")
        self.start(service_for(HOST))

    def ask(self, user, method, *args, sign=True, **kwargs):
        """One call as the CLI makes it, by the user's own account."""
        with Connection(self.user_uri(user)) as connection:
            channel = connection.channel()
            name = f"user.{user}.r{next(_serial)}"
            queue = Queue(name, Exchange("nameko-rpc", "topic", no_declare=True), name, exclusive=True)(channel)
            queue.declare()
            replies = []
            with connection.Consumer(queue, channel=channel, callbacks=[lambda b, _: replies.append(b)], no_ack=True):
                connection.Producer(channel).publish(
                    {"args": args, "kwargs": kwargs},
                    exchange="nameko-rpc",
                    routing_key=f"nodes.{method}",
                    reply_to=name,
                    correlation_id="1",
                    **({"user_id": user} if sign else {}),
                )
                connection.drain_events(timeout=15)
        if replies[0]["error"]:
            raise from_wire(replies[0]["error"]["exc_type"], replies[0]["error"]["exc_args"])
        return replies[0]["result"]

    def node(self, name, user="alice"):
        return self.ask(user, "get_nodes", name)[0]

    def wish(self, name):
        wishes = wire.load_all(NodeWanted, peers.call("nodes", "wanted_on_host", host=HOST))
        return next(one for one in wishes if one.name == name)

    def report(self, name, state=BOOTED, sequence=1, **changes):
        wish = self.wish(name)
        values = {"boot": wish.boot, "run": 1, "since": 1000.0, "reason": "", "host": HOST, **changes}
        return VmReport(node_id=wish.id, name=name, sequence=sequence, state=state, **values)

    def say(self, event, value):
        self.tell(RUNNER, event, value)

    def tell(self, service, event, value):
        event_dispatcher({"AMQP_URI": self.uri})(service, event, wire.dump(value))


_serial = itertools.count()


@pytest.fixture(scope="module")
def running(amqp_uri, user_uri, tmp_path_factory):
    """For all tests, since a container takes 2 s to stop; a test that restarts one pays for itself."""
    values = {"WALT_STATE_DIR": str(tmp_path_factory.mktemp("state")), "WALT_HOST": HOST, "WALT_SUBNET": "10.77.0.0/28"}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in values.items():
            patch.setenv(name, value)
        one = Platform(amqp_uri, user_uri)
        one.start_all()
        yield one
        one.stop_all()


@pytest.fixture
def platform(running):
    running.start_all()
    running.forget_all()
    return running


def until(condition, limit_s=8):
    """Waits for it; an answer that does not come fails the test."""
    with eventlet.Timeout(limit_s):
        while not (answer := condition()):
            eventlet.sleep(0.05)
    return answer


def refusal(platform, *args, **kwargs):
    with pytest.raises(WaltError) as refused:
        platform.ask(*args, **kwargs)
    return f"{type(refused.value).__name__}: {refused.value}"


def test_create_answers_with_the_nodes_and_announces_them(platform):
    answer = platform.ask("alice", "create_nodes", ["vnode1", "vnode2"], settings=["ram=1G"])
    first, second = answer["nodes"]
    assert (first["name"], first["owner"], first["state"], first["type"]) == ("vnode1", "alice", DELAYING, "virtual")
    assert (first["ip"], second["ip"]) == ("10.77.0.2", "10.77.0.3")
    assert first["mac"].startswith("52:54:00:") and first["mac"] != second["mac"]
    assert first["config"] == {
        "boot.delay": "random",
        "boot.retries": "9",
        "boot.timeout": "180",
        "cpu.cores": "4",
        "disks": "none",
        "netsetup": "LAN",
        "networks": "walt-net",
        "ram": "1G",
    }
    until(lambda: {one.name for one in FakeRunner.wanted} == {"vnode1", "vnode2"})
    assert [(one.boot, one.version, one.ram_bytes) for one in FakeRunner.wanted] == [(1, 1, 2**30)] * 2


def test_every_fault_of_a_creation_is_told_at_once_and_nothing_is_stored(platform):
    said = refusal(platform, "alice", "create_nodes", ["ok", "1bad", "my-nodes"], settings=["ram=1", "speed=2"])
    assert said.startswith("InvalidRequest") and all(word in said for word in ("1bad", "my-nodes", "'1'", "speed"))
    assert platform.ask("alice", "get_nodes", "all-nodes") == []


def test_faults_of_names_settings_image_and_registry_are_told_together(platform):
    platform.ask("alice", "create_nodes", ["taken"])
    said = refusal(platform, "bob", "create_nodes", ["taken", "1bad"], settings=["speed=2"], image="nix").splitlines()
    assert [one.partition(";")[0] for one in said] == [
        "InvalidRequest: '1bad' is not a node name",
        "'speed' is not a setting",
        "no image 'nix'",
        "the name 'taken' is taken by a node of alice",
    ]
    said = refusal(platform, "bob", "create_nodes", ["taken"], image="nix").splitlines()
    assert said == ["NotFound: no image 'nix'", "the name 'taken' is taken by a node of alice"]
    said = refusal(platform, "bob", "boot_nodes", "taken", "nix").splitlines()
    assert said == ["NotFound: no image 'nix'", "node 'taken' belongs to alice"]


def test_taken_name_is_a_conflict_that_says_by_whom(platform):
    platform.ask("alice", "create_nodes", ["vnode1"])
    said = refusal(platform, "bob", "create_nodes", ["other", "VNODE1"])
    assert said == "Conflict: the name 'vnode1' is taken by a node of alice"
    assert [node["name"] for node in platform.ask("bob", "get_nodes", "all-nodes")] == ["vnode1"]


def test_image_is_checked(platform, monkeypatch):
    assert "NotFound: no image 'nix'" in refusal(platform, "alice", "create_nodes", ["a"], image="nix")
    assert platform.ask("alice", "create_nodes", ["a"], image="debian")["nodes"][0]["image"] == "debian"
    platform.stop("bootserver")
    monkeypatch.setattr(hosts, "ANSWER_S", 1.0)
    assert platform.ask("alice", "create_nodes", ["b"])["nodes"][0]["image"] == "default"
    assert refusal(platform, "alice", "create_nodes", ["c"], image="debian").startswith("Unreachable")


def test_addresses_run_out_without_a_half_done_command(platform):
    names = [f"n{number}" for number in range(10)]  # 16 addresses: the net's, the server's, 4 for machines
    platform.ask("alice", "create_nodes", names[:9])
    assert "10.77.0.0/28" in refusal(platform, "alice", "create_nodes", ["x", "y"])
    assert len(platform.ask("alice", "create_nodes", names[9:])["nodes"]) == 1


def test_two_creations_of_one_name_at_the_same_time_give_one_conflict(platform):
    def attempt(user):
        try:
            return platform.ask(user, "create_nodes", ["same"])["nodes"][0]["owner"]
        except WaltError as error:
            return type(error).__name__

    threads = [eventlet.spawn(attempt, user) for user in ("alice", "bob") * 3]
    answers = [thread.wait() for thread in threads]
    assert sorted(answers)[:5] == ["Conflict"] * 5
    assert len(platform.ask("alice", "get_nodes", "all-nodes")) == 1


COMMANDS = {
    "configure_nodes": ["ram=1G"],
    "reboot_nodes": None,
    "stop_nodes": None,
    "start_nodes": None,
    "rename_node": "other",
    "boot_nodes": "debian",
    "remove_nodes": None,
    "release_nodes": None,
}


def arguments(command):
    return [] if COMMANDS[command] is None else [COMMANDS[command]]


@pytest.mark.parametrize("command", COMMANDS)
def test_command_is_its_owners(platform, command):
    platform.ask("alice", "create_nodes", ["vnode1"])
    before = platform.node("vnode1")
    said = refusal(platform, "bob", command, "vnode1", *arguments(command))
    assert said == "NotOwner: node 'vnode1' belongs to alice"
    assert platform.node("vnode1") == before
    (node,) = platform.ask("alice", command, "vnode1", *arguments(command))["nodes"]
    assert node["name"] == ("other" if command == "rename_node" else "vnode1")


@pytest.mark.parametrize("command", sorted(set(COMMANDS) - {"release_nodes"}))
def test_free_node_must_be_acquired_first(platform, command):
    platform.ask("alice", "create_nodes", ["vnode1"])
    platform.ask("alice", "release_nodes", "vnode1")
    said = refusal(platform, "alice", command, "vnode1", *arguments(command))
    assert said.startswith("NotOwner") and "is free; acquire it first (walt node acquire vnode1)" in said


@pytest.mark.parametrize("method", public_methods(NodesService))
def test_call_without_user_id_is_refused(platform, method):
    with pytest.raises(WaltError, match="no user id") as refused:
        platform.ask("alice", method, sign=False)
    assert type(refused.value).__name__ == "Denied"


def test_acquire_and_release(platform, caplog):
    platform.ask("alice", "create_nodes", ["vnode1"], image="debian")
    assert refusal(platform, "alice", "acquire_nodes", "vnode1") == "Conflict: node 'vnode1' is already yours"
    said = refusal(platform, "bob", "acquire_nodes", "vnode1")
    assert said == "NotOwner: node 'vnode1' belongs to alice; take it over with --force"
    boot = platform.wish("vnode1").boot
    answer = platform.ask("bob", "acquire_nodes", "vnode1", force=True)
    assert answer["notes"] == ["vnode1: it boots image default now (was: debian)"]
    assert "node=vnode1 from=alice by=bob" in caplog.text
    assert (platform.node("vnode1")["owner"], platform.wish("vnode1").boot) == ("bob", boot + 1)
    until(lambda: any(one.owner == "bob" for one in FakeRunner.wanted))
    platform.ask("bob", "release_nodes", "vnode1")
    node = platform.node("vnode1")
    assert (node["owner"], node["image"], node["state"]) == (FREE, "default", DELAYING)
    assert refusal(platform, "bob", "release_nodes", "vnode1") == "Conflict: node 'vnode1' is free already"
    assert platform.ask("bob", "acquire_nodes", "free-nodes")["nodes"][0]["owner"] == "bob"


def test_all_or_nothing_over_several_nodes(platform):
    platform.ask("alice", "create_nodes", ["a1", "a2"])
    platform.ask("bob", "create_nodes", ["b1"])
    boots = {name: platform.wish(name).boot for name in ("a1", "a2", "b1")}
    said = refusal(platform, "alice", "reboot_nodes", "a1,b1,a2")
    assert said == "NotOwner: node 'b1' belongs to bob"
    assert "no node 'zz'" in refusal(platform, "alice", "reboot_nodes", "a1,zz,yy")
    assert {name: platform.wish(name).boot for name in boots} == boots


def test_node_sets(platform):
    platform.ask("alice", "create_nodes", ["a2", "a1"])
    platform.ask("bob", "create_nodes", ["b1"])

    def names(user, text):
        return [node["name"] for node in platform.ask(user, "get_nodes", text)]

    assert names("alice", "my-nodes") == ["a1", "a2"]
    assert names("alice", "b1,my-nodes,B1") == ["b1", "a1", "a2"]
    assert names("bob", "all-nodes") == ["a1", "a2", "b1"]
    assert names("bob", "free-nodes") == []
    assert "NotFound: no node in 'free-nodes'" in refusal(platform, "bob", "acquire_nodes", "free-nodes")
    said = refusal(platform, "bob", "get_nodes", "zzz,a11,a1")
    assert said == "NotFound: no node 'zzz'\nno node 'a11' (did you mean a1?)"


def test_configuration_notes_and_repetition(platform):
    platform.ask("alice", "create_nodes", ["vnode1"])
    answer = platform.ask("alice", "configure_nodes", "vnode1", ["ram=1G", "boot.retries=3"])
    assert answer["notes"] == ["vnode1: ram takes effect at the next boot (walt node reboot vnode1)"]
    version = platform.wish("vnode1").version
    again = platform.ask("alice", "configure_nodes", "vnode1", ["ram=1G", "boot.retries=3"])
    assert again["notes"] == [] and platform.wish("vnode1").version == version
    link = ["networks=walt-net,home-net[lat=10ms]"]
    assert "networks takes effect" in platform.ask("alice", "configure_nodes", "vnode1", link)["notes"][0]
    live = ["networks=walt-net,home-net[lat=20ms,bw=100Mbps]"]
    assert platform.ask("alice", "configure_nodes", "vnode1", live)["notes"] == []
    assert platform.wish("vnode1").interfaces[1].link.up.latency_us == 20_000
    assert platform.node("vnode1")["config"]["networks"] == live[0].removeprefix("networks=")


def test_settings_are_checked_for_all_nodes_before_any_is_stored(platform):
    platform.ask("alice", "create_nodes", ["slow"], settings=["boot.delay=200", "boot.timeout=300"])
    platform.ask("alice", "create_nodes", ["quick"])
    said = refusal(platform, "alice", "configure_nodes", "quick,slow", ["boot.timeout=100"])
    assert said.startswith("InvalidRequest: slow: boot.timeout=100 does not exceed boot.delay=200")
    assert platform.node("quick")["config"]["boot.timeout"] == "180"


def test_network_belongs_to_its_owner_and_macs_are_for_good(platform):
    for user, name in (("alice", "a1"), ("alice", "a2"), ("bob", "b1")):
        platform.ask(user, "create_nodes", [name], settings=["networks=walt-net,home-net"])
    (a1, a2, b1) = (platform.wish(name).interfaces for name in ("a1", "a2", "b1"))
    assert [one.slot for one in a1] == [2, 3] and a1[0].network.id == contract.WALT_NET_ID
    assert a1[1].network == a2[1].network != b1[1].network
    assert (a1[1].network.owner, b1[1].network.owner) == ("alice", "bob")
    platform.ask("alice", "configure_nodes", "a1", ["networks=walt-net"])
    platform.ask("alice", "configure_nodes", "a1", ["networks=home-net,walt-net"])
    back = platform.wish("a1").interfaces
    assert [one.mac for one in back] == [a1[1].mac, a1[0].mac] and [one.slot for one in back] == [2, 3]
    platform.ask("bob", "acquire_nodes", "a1", force=True)
    taken = platform.wish("a1").interfaces
    assert taken[0].network == b1[1].network and taken[0].mac == a1[1].mac


def test_network_number_is_not_used_again(platform):
    platform.ask("alice", "create_nodes", ["a1"], settings=["networks=walt-net,one"])
    first = platform.wish("a1").interfaces[1].network.id
    platform.ask("alice", "configure_nodes", "a1", ["networks=walt-net"])
    platform.ask("alice", "configure_nodes", "a1", ["networks=walt-net,two"])
    assert platform.wish("a1").interfaces[1].network.id > first


def test_reports_become_states_and_late_or_doubled_ones_do_not(platform):
    platform.ask("alice", "create_nodes", ["vnode1"])
    booting, booted = platform.report("vnode1", BOOTING, 1), platform.report("vnode1", BOOTED, 2)
    platform.say(VM_CHANGED, booted)
    until(lambda: platform.node("vnode1")["state"] == BOOTED)
    for late in (booting, booted, booting):
        platform.say(VM_CHANGED, late)
    other = platform.report("vnode1", "failed", 3, host="elsewhere")
    platform.say(VM_CHANGED, other)
    marker = platform.report("vnode1", BOOTED, 4, reason="marker")
    platform.say(VM_CHANGED, marker)
    seen = set()
    until(lambda: seen.add(platform.node("vnode1")["state"]) or platform.node("vnode1")["reason"] == "marker")
    assert seen == {BOOTED}


def test_reboot_then_wait_is_race_free(platform):
    platform.ask("alice", "create_nodes", ["vnode1"])
    old = platform.report("vnode1", BOOTED, 7)
    platform.say(VM_CHANGED, old)
    until(lambda: platform.node("vnode1")["state"] == BOOTED)
    answer = platform.ask("alice", "reboot_nodes", "vnode1")["nodes"][0]
    assert (answer["state"], answer["reason"]) == (DELAYING, "reboot asked by alice")
    platform.say(VM_CHANGED, platform.report("vnode1", BOOTED, 8, boot=old.boot))
    eventlet.sleep(0.5)
    assert platform.node("vnode1")["state"] == DELAYING
    platform.say(VM_CHANGED, platform.report("vnode1", BOOTED, 9))
    until(lambda: platform.node("vnode1")["state"] == BOOTED)


def test_removed_node_frees_its_name_at_once_and_its_row_last(platform):
    platform.ask("alice", "create_nodes", ["vnode1"])
    first = platform.wish("vnode1")
    FakeRunner.vms.append(platform.report("vnode1"))
    platform.ask("alice", "remove_nodes", "vnode1")
    assert "no node 'vnode1'" in refusal(platform, "alice", "get_nodes", "vnode1")
    assert platform.wish("vnode1").power == contract.ABSENT
    platform.ask("bob", "create_nodes", ["vnode1"])
    both = [one for one in peers.call("nodes", "wanted_everywhere") if one["name"] == "vnode1"]
    assert len({one["id"] for one in both}) == len({one["ip"] for one in both}) == 2
    for _ in range(2):  # doubled
        platform.say(VM_REMOVED, VmRemoved(first.id, "vnode1", HOST))
    until(lambda: "vnode1" in FakeRunner.removed)
    until(lambda: [one["id"] for one in peers.call("nodes", "wanted_everywhere")] == [first.id + 1])
    assert platform.node("vnode1", "bob")["owner"] == "bob"
    platform.ask("bob", "create_nodes", ["later"])
    assert platform.wish("later").id not in {one["id"] for one in both}


def test_removal_said_of_a_present_node_is_not_believed(platform):
    platform.ask("alice", "create_nodes", ["vnode1"])
    platform.say(VM_REMOVED, VmRemoved(platform.wish("vnode1").id, "vnode1", HOST))
    eventlet.sleep(0.5)
    assert platform.node("vnode1")["name"] == "vnode1" and FakeRunner.removed == []


def test_restart_keeps_everything_and_announces_it_again(platform):
    platform.ask("alice", "create_nodes", ["vnode1"], settings=["networks=walt-net,x[bw.up=1Mbps]", "ram=2G"])
    FakeRunner.vms.append(platform.report("vnode1", BOOTED))
    before, wish = platform.node("vnode1"), platform.wish("vnode1")
    until(lambda: wish in FakeRunner.wanted)
    FakeRunner.wanted.clear()
    platform.restart()
    until(lambda: FakeRunner.wanted == [wish])
    until(lambda: platform.node("vnode1")["state"] == BOOTED)
    assert {**platform.node("vnode1"), "state": 0, "since": 0, "reason": 0} == {
        **before,
        "state": 0,
        "since": 0,
        "reason": 0,
    }


def test_wish_whose_event_was_lost_is_said_again(platform, monkeypatch):
    """As after a kill between the commit and the event."""
    monkeypatch.setattr(peers.Announcer, "announce", lambda *_: None)
    platform.ask("alice", "create_nodes", ["vnode1"])
    monkeypatch.undo()
    assert FakeRunner.wanted == []
    catchup.catch_up(platform.store, lambda event, value: platform.tell("nodes", event, value), HOST)
    until(lambda: FakeRunner.wanted == [platform.wish("vnode1")])


def test_catch_up_says_again_what_the_host_has_not_heard(platform):
    platform.ask("alice", "create_nodes", ["unheard", "heard", "leaving", "gone"])
    FakeRunner.vms[:] = [platform.report("heard"), platform.report("leaving")]
    platform.ask("alice", "remove_nodes", "leaving,gone")
    said = []
    catchup.catch_up(platform.store, lambda event, value: said.append((event, value.name)), HOST)
    assert said == [
        (contract.NODE_WANTED, "unheard"),
        (contract.NODE_WANTED, "leaving"),
        (contract.NODE_REMOVED, "gone"),
    ]
    assert platform.node("heard")["state"] == BOOTED
    assert {one["name"] for one in peers.call("nodes", "wanted_everywhere")} == {"unheard", "heard", "leaving"}


def test_state_is_kept_while_the_host_is_away(platform):
    platform.ask("alice", "create_nodes", ["vnode1"])
    platform.say(VM_CHANGED, platform.report("vnode1", BOOTED))
    until(lambda: platform.node("vnode1")["state"] == BOOTED)
    platform.stop(RUNNER)
    platform.restart()
    assert platform.node("vnode1")["state"] == BOOTED


AUTHORIZED = [
    (contract.PING, True, True),
    (contract.WATCH_CONSOLE, False, True),
    (contract.USE_CONSOLE, False, False),
    (contract.LOG_IN, False, False),
    (contract.CONNECT, False, False),
    (contract.SAVE, False, False),
]


def test_authorized_is_every_action():
    assert {action for action, _, _ in AUTHORIZED} == set(contract.ACTIONS)


@pytest.mark.parametrize(("action", "of_others", "of_nobody"), AUTHORIZED)
def test_authorize(platform, action, of_others, of_nobody):
    def allowed(user):
        try:
            return peers.call("nodes", "authorize", user=user, name="VNODE1", action=action)
        except WaltError as error:
            return type(error).__name__

    platform.ask("alice", "create_nodes", ["vnode1"])
    target = allowed("alice")
    assert (target["name"], target["owner"], target["host"], target["ip"]) == ("vnode1", "alice", HOST, "10.77.0.2")
    assert (allowed("bob") != "NotOwner") is of_others
    platform.ask("alice", "release_nodes", "vnode1")
    assert (allowed("bob") != "NotOwner") is of_nobody


def test_authorize_refuses_what_it_does_not_know(platform):
    platform.ask("alice", "create_nodes", ["vnode1"])
    with pytest.raises(NotFound, match="no node 'vnode'"):
        peers.call("nodes", "authorize", user="alice", name="vnode", action=contract.LOG_IN)
    with pytest.raises(WaltError, match="'fly' is not an action"):
        peers.call("nodes", "authorize", user="alice", name="vnode1", action="fly")


@pytest.mark.parametrize(
    ("method", "args"),
    [
        ("create_nodes", [None]),
        ("create_nodes", [["a", 1]]),
        ("create_nodes", [[]]),
        ("create_nodes", ["abc"]),
        ("create_nodes", [["a"], "ram=1G"]),
        ("create_nodes", [["a"], [], 5]),
        ("get_nodes", [7]),
        ("get_nodes", [""]),
        ("get_nodes", ["a\udcff"]),
        ("get_nodes", ["a,,b"]),
        ("configure_nodes", ["a", {}]),
        ("configure_nodes", ["a", [], 1]),
        ("acquire_nodes", ["a", "false"]),
        ("reboot_nodes", ["a", "hard"]),
        ("reboot_nodes", [["a"]]),
        ("stop_nodes", ["a", None]),
        ("stop_nodes", [{"a": 1}]),
        ("start_nodes", [None]),
        ("start_nodes", [7.5]),
        ("boot_nodes", ["a", ["default"]]),
        ("remove_nodes", ["a", 0]),
        ("release_nodes", ["a", "yes"]),
        ("rename_node", [None, "b"]),
        ("rename_node", ["a", 5]),
        ("rename_node", ["a", ""]),
        ("rename_node", ["a", "b\x00"]),
        ("rename_node", ["a", "b" * 64]),
        ("rename_node", ["a", "all-nodes"]),
        ("get_nodes", ["a\0"]),
        ("get_nodes", ["\ud800"]),
        ("get_nodes", ["a," * 10**6]),
        ("get_events", ["a\0"]),
        ("configure_nodes", ["a", ["ram=" + "1" * 10**6]]),
        ("create_nodes", [["a"] * 10**5]),
        ("remove_user", ["\ud800"]),
    ],
)
def test_arguments_of_any_kind_are_refused_with_a_sentence(platform, method, args):
    assert refusal(platform, "alice", method, *args).startswith("InvalidRequest")


def test_diagnose_names_those_who_are_away(platform):
    started = time.monotonic()
    checks = platform.ask("bob", "diagnose")
    assert time.monotonic() - started < 8
    assert {"subject": "database", "status": "ok", "found": "sqlite, 0 nodes"}.items() <= checks[0].items()
    assert {"subject": "KVM", "status": "ok"}.items() <= next(c for c in checks if c["subject"] == "KVM").items()
    away = {check["subject"]: check for check in checks if check["status"] == "fail"}
    assert set(away) == {f"netemu@{HOST}", f"console@{HOST}"}
    assert all(check["consequence"] and check["mend"] for check in away.values())


def test_metrics_count_the_nodes(platform):
    from prometheus_client import REGISTRY

    platform.ask("alice", "create_nodes", ["a", "b"])
    platform.ask("alice", "release_nodes", "b")
    assert REGISTRY.get_sample_value("walt_nodes", {"state": DELAYING}) == 2
    assert REGISTRY.get_sample_value("walt_nodes", {"state": BOOTED}) == 0
    assert REGISTRY.get_sample_value("walt_nodes_free") == REGISTRY.get_sample_value("walt_nodes_owned") == 1
    assert REGISTRY.get_sample_value("walt_node_state", {"node": "a", "state": DELAYING}) == 1
    assert REGISTRY.get_sample_value("walt_node_state", {"node": "a", "state": BOOTED}) == 0
    assert (
        REGISTRY.get_sample_value("walt_node_info", {"node": "a", "owner": "alice", "image": "default", "host": HOST})
        == 1
    )
    platform.ask("alice", "rename_node", "a", "c")
    assert REGISTRY.get_sample_value("walt_node_state", {"node": "a", "state": DELAYING}) is None
    assert REGISTRY.get_sample_value("walt_node_state", {"node": "c", "state": DELAYING}) == 1


def stopped(platform, name, sequence=50):
    platform.say(VM_CHANGED, platform.report(name, STOPPED, sequence))
    until(lambda: platform.node(name)["state"] == STOPPED)


def test_fault_02_stop_and_start(platform):
    platform.ask("alice", "create_nodes", ["vnode1"])
    former = platform.report("vnode1", BOOTED, 1)
    platform.say(VM_CHANGED, former)
    until(lambda: platform.node("vnode1")["state"] == BOOTED)
    (node,) = platform.ask("alice", "stop_nodes", "vnode1")["nodes"]
    wish = platform.wish("vnode1")
    assert (node["state"], node["reason"]) == (BOOTED, "stop asked by alice")  # it runs until it is off
    assert (wish.power, wish.hard, wish.boot) == (contract.POWER_OFF, False, former.boot + 1)
    until(lambda: wish in FakeRunner.wanted)
    stopped(platform, "vnode1")
    (node,) = platform.ask("alice", "start_nodes", "vnode1")["nodes"]
    assert (node["state"], node["reason"]) == (DELAYING, "start asked by alice")
    for late in (former, VmReport(**{**vars(former), "boot": wish.boot, "sequence": 51, "state": STOPPED})):
        platform.say(VM_CHANGED, late)
    platform.say(VM_CHANGED, platform.report("vnode1", BOOTING, 60))
    seen = set()
    until(lambda: seen.add(platform.node("vnode1")["state"]) or BOOTING in seen)
    assert seen <= {DELAYING, BOOTING} and platform.wish("vnode1").power == contract.POWER_ON


def test_stop_and_start_of_what_is_so_already_change_nothing(platform):
    platform.ask("alice", "create_nodes", ["vnode1"])
    before = platform.wish("vnode1")
    answer = platform.ask("alice", "start_nodes", "vnode1")
    said = "it is on already (delaying); nothing is changed (walt node reboot vnode1 boots it anew)"
    assert answer["notes"] == [f"vnode1: {said}"]
    assert platform.wish("vnode1") == before
    platform.ask("alice", "stop_nodes", "vnode1")
    before = platform.wish("vnode1")
    answer = platform.ask("alice", "stop_nodes", "vnode1")
    assert answer["notes"] == ["vnode1: its stop was asked already (state: delaying); nothing is changed"]
    assert platform.wish("vnode1") == before
    platform.ask("alice", "stop_nodes", "vnode1", hard=True)  # the guest takes too long
    assert platform.wish("vnode1").hard and platform.wish("vnode1").version > before.version
    stopped(platform, "vnode1")
    assert platform.ask("alice", "stop_nodes", "vnode1", hard=True)["notes"]


def test_guest_that_powered_itself_off_is_started(platform):
    platform.ask("alice", "create_nodes", ["vnode1"])
    boot = platform.wish("vnode1").boot
    stopped(platform, "vnode1")
    (node,) = platform.ask("alice", "start_nodes", "vnode1")["nodes"]
    assert (node["state"], platform.wish("vnode1").boot) == (DELAYING, boot + 1)


def test_hard_is_of_one_boot(platform):
    platform.ask("alice", "create_nodes", ["vnode1"])
    platform.ask("alice", "reboot_nodes", "vnode1", hard=True)
    assert platform.wish("vnode1").hard
    platform.ask("alice", "reboot_nodes", "vnode1")
    assert not platform.wish("vnode1").hard


@pytest.mark.parametrize("command", ["reboot_nodes", "boot_nodes", "release_nodes"])
def test_command_that_boots_starts_a_stopped_node(platform, command):
    platform.ask("alice", "create_nodes", ["vnode1"])
    platform.ask("alice", "stop_nodes", "vnode1")
    stopped(platform, "vnode1")
    platform.ask("alice", command, "vnode1", *arguments(command))
    assert (platform.wish("vnode1").power, platform.node("vnode1")["state"]) == (contract.POWER_ON, DELAYING)


def test_lost_wish_to_stop_is_said_again(platform):
    platform.ask("alice", "create_nodes", ["vnode1"])
    FakeRunner.vms.append(platform.report("vnode1"))
    platform.ask("alice", "stop_nodes", "vnode1")
    said = []
    catchup.catch_up(platform.store, lambda event, value: said.append((event, value.power)), HOST)
    assert said == [(contract.NODE_WANTED, contract.POWER_OFF)]


def test_rename(platform):
    platform.ask("alice", "create_nodes", ["vnode1", "vnode2"])
    platform.ask("bob", "create_nodes", ["b1"])
    before = platform.wish("vnode1")
    answer = platform.ask("alice", "rename_node", "VNODE1", "Web-1")
    assert answer["notes"] == ["web-1: its own host name changes at the next boot (walt node reboot web-1)"]
    after = platform.wish("web-1")
    assert (after.id, after.boot, after.version, after.ip) == (before.id, before.boot, before.version + 1, before.ip)
    until(lambda: after in FakeRunner.wanted)
    assert "no node 'vnode1'" in refusal(platform, "alice", "get_nodes", "vnode1")
    for name, said in (
        ("web-1", "Conflict: node 'web-1' has this name already"),
        ("vnode2", "Conflict: the name 'vnode2' is taken by a node of alice"),
        ("B1", "Conflict: the name 'b1' is taken by a node of bob"),
    ):
        assert refusal(platform, "alice", "rename_node", "web-1", name) == said
    assert refusal(platform, "alice", "rename_node", "nobody", "x").startswith("NotFound")
    assert platform.ask("bob", "create_nodes", ["vnode1"])["nodes"][0]["name"] == "vnode1"


def disks(platform, name):
    return [(disk.id, disk.size_bytes, disk.template) for disk in platform.wish(name).disks]


def test_disks_keep_their_identity(platform):
    platform.ask("alice", "create_nodes", ["vnode1"], settings=["disks=256M,1T"])
    first, second = disks(platform, "vnode1")
    assert (first[1:], second[1:]) == ((256 * 10**6, "none"), (10**12, "none"))
    answer = platform.ask("alice", "configure_nodes", "vnode1", ["disks=32G[template=ext4],256M,2T"])
    assert answer["notes"] == ["vnode1: disks takes effect at the next boot (walt node reboot vnode1)"]
    new, *kept = disks(platform, "vnode1")
    assert kept == [first, (second[0], 2 * 10**12, "none")] and new[0] not in (first[0], second[0])
    assert platform.node("vnode1")["config"]["disks"] == "32G[template=ext4],256M,2T"
    assert FakeRunner.looked_into == []  # nothing went


def test_fault_10_disk_with_data_is_not_dropped_silently(platform):
    platform.ask("alice", "create_nodes", ["vnode1", "vnode2", "vnode3"], settings=["disks=1G,32G[template=ext4]"])
    platform.ask("alice", "configure_nodes", "vnode3", ["disks=none"])
    before = {name: platform.wish(name) for name in ("vnode1", "vnode2", "vnode3")}
    FakeRunner.looked_into.clear()
    FakeRunner.written[before["vnode2"].disks[1].id] = 1_200_000_000
    for command, args in (
        ("configure_nodes", [["disks=1G,31G[template=ext4]"]]),
        ("release_nodes", []),
        ("remove_nodes", []),
    ):
        assert refusal(platform, "alice", command, "vnode1,vnode2,vnode3", *args) == (
            "Conflict: node 'vnode2': vdb (32G[template=ext4]) holds data (1.2 GB); --force destroys it"
        )
        assert set(FakeRunner.looked_into) == {"vnode1", "vnode2"}
        assert {name: platform.wish(name) for name in before} == before
    platform.ask("alice", "configure_nodes", "vnode2", ["disks=32G[template=ext4]"])  # only the empty one goes
    assert platform.wish("vnode2").disks == (before["vnode2"].disks[1],)
    FakeRunner.looked_into.clear()
    platform.ask("alice", "configure_nodes", "vnode2", ["disks=none"], force=True)
    assert platform.wish("vnode2").disks == () and FakeRunner.looked_into == []
    assert platform.ask("alice", "get_events", "vnode2")[-1]["text"] == "disks=none --force"


def test_data_that_cannot_be_asked_for_is_not_destroyed(platform, monkeypatch):
    platform.ask("alice", "create_nodes", ["vnode1", "plain"])
    platform.ask("alice", "configure_nodes", "vnode1", ["disks=1G"])
    platform.stop(RUNNER)
    monkeypatch.setattr(inspection, "ANSWER_S", 1.0)
    said = refusal(platform, "alice", "configure_nodes", "vnode1", ["disks=none"])
    assert said.startswith("Conflict: node 'vnode1': whether vda (1G) holds data could not be asked (vmrunner@")
    assert said.endswith("--force goes ahead, and destroys it")
    platform.ask("alice", "release_nodes", "plain")
    platform.ask("alice", "remove_nodes", "vnode1", force=True)
    assert "no node" in refusal(platform, "alice", "get_nodes", "vnode1")


def test_fault_09_remove_asks_for_persist_too(platform):
    platform.ask("alice", "create_nodes", ["vnode1"])
    FakeBootserver.persisted[platform.wish("vnode1").id, "alice"] = 12_345_678
    said = refusal(platform, "alice", "remove_nodes", "vnode1")
    assert said == "Conflict: node 'vnode1': /persist holds data of alice (12.3 MB); --force destroys it"
    platform.ask("alice", "release_nodes", "vnode1")  # it stays, for its owner
    platform.ask("bob", "acquire_nodes", "vnode1")
    FakeBootserver.persisted[platform.wish("vnode1").id, "bob"] = 1_000
    his = "node 'vnode1': /persist holds data of bob (1 kB); --force destroys it"
    assert refusal(platform, "bob", "remove_nodes", "vnode1").splitlines() == [said, his]
    platform.ask("bob", "remove_nodes", "vnode1", force=True)


def test_disk_made_while_it_was_asked_is_looked_into_too(platform, monkeypatch):
    platform.ask("alice", "create_nodes", ["vnode1"], settings=["disks=1G"])
    look = inspection.check_empty

    def interfere(holdings):
        look(holdings)
        if len(FakeRunner.looked_into) == 1:
            platform.ask("alice", "configure_nodes", "vnode1", ["disks=1G,2G"])
            FakeRunner.written[platform.wish("vnode1").disks[1].id] = 5_000

    monkeypatch.setattr(inspection, "check_empty", interfere)
    said = refusal(platform, "alice", "remove_nodes", "vnode1")
    assert said == "Conflict: node 'vnode1': vdb (2G) holds data (5 kB); --force destroys it"


def test_fault_11_next_owner_gets_other_disks(platform):
    platform.ask("alice", "create_nodes", ["vnode1"], settings=["disks=1G,2G[template=ext4]"])
    owned = [disks(platform, "vnode1")]
    FakeRunner.written[owned[0][0][0]] = 1
    answer = platform.ask("bob", "acquire_nodes", "vnode1", force=True)
    assert answer["notes"] == ["vnode1: its disks were emptied"]
    owned.append(disks(platform, "vnode1"))
    assert platform.ask("bob", "release_nodes", "vnode1")["notes"] == ["vnode1: its disks were emptied"]
    owned.append(disks(platform, "vnode1"))
    assert platform.ask("alice", "acquire_nodes", "vnode1")["notes"] == []
    owned.append(disks(platform, "vnode1"))
    assert len({one[0] for generation in owned for one in generation}) == 8
    assert len({tuple(one[1:] for one in generation) for generation in owned}) == 1


def test_freed_nodes_meet_in_no_network(platform):
    platform.ask("alice", "create_nodes", ["a1"], settings=["networks=walt-net[lat=1ms],home-net"])
    answer = platform.ask("alice", "release_nodes", "a1")
    assert answer["notes"] == ["a1: networks=walt-net now (was: walt-net[lat=1ms],home-net)"]
    (interface,) = platform.wish("a1").interfaces
    assert interface.network.id == contract.WALT_NET_ID and not interface.link.shapes


def test_fault_12_configuration_is_all_or_nothing(platform):
    platform.ask("alice", "create_nodes", ["a", "b"])
    platform.ask("alice", "configure_nodes", "b", ["boot.timeout=200", "boot.delay=190"])
    before = [platform.wish(name) for name in ("a", "b")]
    said = refusal(platform, "alice", "configure_nodes", "a,b", ["ram=99999G", "cpu.cores=0", "boot.delay=250"])
    assert said.startswith("InvalidRequest") and len(said.splitlines()) == 4
    assert all(word in said for word in ("'0' is not a value for cpu.cores", "a: boot.timeout", "b: boot.timeout"))
    assert f"ram=99999G is more than host {HOST} could ever hold; allowed: at most 16G" in said
    assert [platform.wish(name) for name in ("a", "b")] == before
    platform.ask("alice", "remove_nodes", "a")
    platform.ask("alice", "configure_nodes", "b", ["boot.timeout=300"])  # not lost after a removal
    assert platform.wish("b").boot_timeout_s == 300


def test_bad_setting_is_told_before_an_unknown_node(platform):
    assert refusal(platform, "alice", "configure_nodes", "nobody", ["rma=1G"]).startswith("InvalidRequest: 'rma'")
    assert refusal(platform, "alice", "configure_nodes", "nobody", ["ram=1G"]) == "NotFound: no node 'nobody'"


@pytest.mark.parametrize("name", ["my-nodes", "a,b", "ALL-nodes"])
def test_commands_on_one_node_take_no_set(platform, name):
    platform.ask("alice", "create_nodes", ["a"])
    said = f"InvalidRequest: '{name}' is a node set; allowed here: the name of one node, not a set"
    assert refusal(platform, "alice", "rename_node", name, "x") == said
    with pytest.raises(InvalidRequest, match="is a node set; allowed here"):
        peers.call("nodes", "authorize", user="alice", name=name, action=contract.PING)


def test_faults_of_the_node_set_and_of_the_values_are_told_together(platform):
    said = refusal(platform, "alice", "configure_nodes", "nobody,none", ["rma=1G", "ram=0M"]).splitlines()
    assert said[0].startswith("InvalidRequest: 'rma'") and said[1].startswith("'0M' is not a value for ram")
    assert said[2:] == ["no node 'nobody'", "no node 'none'"]
    said = refusal(platform, "alice", "link_nodes", "nobody", "lab", ["zz=3", "lat"]).splitlines()
    assert said[0].startswith("InvalidRequest: 'zz=3'") and said[1].startswith("'lat'")
    assert said[2:] == ["no node 'nobody'"]


def test_fault_13_values_are_checked_against_the_host(platform):
    settings = ["ram=9999G", "disks=0G", "cpu.cores=0"]
    said = refusal(platform, "alice", "create_nodes", ["ok", "1bad"], settings=settings)
    assert said.startswith("InvalidRequest") and len(said.splitlines()) == 4
    assert f"ram=9999G is more than host {HOST} could ever hold; allowed: at most 16G" in said
    assert platform.ask("alice", "get_nodes", "all-nodes") == []
    assert platform.ask("alice", "create_nodes", ["ok"], settings=["ram=16G", "cpu.cores=8"])["notes"] == []
    many = "cpu.cores=9 is more than host testhost has (8); the cores of the node share these"
    answer = platform.ask("alice", "create_nodes", ["a", "b"], settings=["cpu.cores=9"])
    assert answer["notes"] == [f"a, b: {many}"]
    assert f"ok: {many}" in platform.ask("alice", "configure_nodes", "ok,a", ["cpu.cores=9"])["notes"]


def test_fault_14_delay_is_compared_with_timeout(platform):
    said = refusal(platform, "alice", "create_nodes", ["a"], settings=["boot.delay=100", "boot.timeout=100"])
    assert "boot.timeout=100 does not exceed boot.delay=100" in said


def test_capacity_is_remembered_while_the_host_is_away(platform, monkeypatch):
    monkeypatch.setattr(hosts, "ANSWER_S", 1.0)
    monkeypatch.setattr(hosts, "CAPACITY_KEPT_S", 0.0)
    platform.ask("alice", "create_nodes", ["a"])
    platform.stop(RUNNER)
    assert "at most 16G" in refusal(platform, "alice", "create_nodes", ["b"], settings=["ram=17G"])
    monkeypatch.setattr(hosts, "_capacities", {})
    platform.ask("alice", "create_nodes", ["b"], settings=["ram=17G"])  # never known: vmrunner looks at boot
    platform.start(FakeRunner)
    monkeypatch.setattr(hosts, "CAPACITY_RETRY_S", 0.0)
    assert "at most 16G" in refusal(platform, "alice", "create_nodes", ["c"], settings=["ram=17G"])


def test_image_is_stored_by_its_full_name(platform):
    platform.ask("alice", "create_nodes", ["a", "b"], image="mine")
    assert platform.node("a")["image"] == "alice/mine"
    assert platform.ask("alice", "boot_nodes", "a", "default")["nodes"][0]["image"] == "default"
    assert platform.ask("alice", "boot_nodes", "a", "mine")["nodes"][0]["image"] == "alice/mine"
    platform.ask("bob", "acquire_nodes", "a", force=True)
    assert platform.wish("a").image == "default"  # the image of a former owner is his
    assert platform.ask("bob", "boot_nodes", "a", "mine")["nodes"][0]["image"] == "bob/mine"


@pytest.mark.parametrize("name", ["my-nodes", "server", "default", "x" * 64, "a_b", "1a"])
def test_fault_32_reserved_and_odd_names_are_refused(platform, name):
    assert refusal(platform, "alice", "create_nodes", [name]).startswith("InvalidRequest")
    platform.ask("alice", "create_nodes", ["ok"])
    assert refusal(platform, "alice", "rename_node", "ok", name).startswith("InvalidRequest")


def test_fault_38_taken_name_says_by_whom(platform):
    platform.ask("alice", "create_nodes", ["vnode1"])
    said = refusal(platform, "bob", "create_nodes", ["vnode1"])
    assert said == "Conflict: the name 'vnode1' is taken by a node of alice"
    platform.ask("alice", "release_nodes", "vnode1")
    assert refusal(platform, "bob", "create_nodes", ["vnode1"]).endswith("is taken by a free node")
