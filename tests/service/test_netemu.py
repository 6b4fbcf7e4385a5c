"""netemu as its own process, in a network namespace of its own, on a real RabbitMQ; only `nodes` is a fake."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from urllib.parse import urlsplit

import pytest
from nameko.containers import ServiceContainer
from nameko.events import event_handler
from nameko.standalone.events import event_dispatcher

from services.contracts import bootserver, netemu, nodes, wire
from services.contracts.bootserver import NodeBooted
from services.contracts.errors import Failed
from services.contracts.links import Direction, LinkModel
from services.contracts.netemu import AttachedPort, PortReport
from services.contracts.nodes import Interface, Network, NodeRemoved, NodeWanted
from services.kit import peers
from services.kit.entrypoints import internal
from services.netemu.cable.control import Cable

pytestmark = pytest.mark.usefixtures("as_root")  # network namespaces

HOST = "lab"
SERVICE = netemu.service_on(HOST)
METRICS_PORT = 9177
VM_UID = 64901
WALT = Interface(2, "52:54:00:00:00:01", Network(0, "walt-net", ""))
HOME = Interface(3, "52:54:00:00:00:02", Network(5, "home-net", "alice"), LinkModel(up=Direction(10_000)))
NODE = NodeWanted(
    1, "vnode1", HOST, "alice", nodes.POWER_ON, 1, 1, "default", "192.168.172.2", 1, 2**29, 0, 180, 9, (WALT, HOME)
)
EVERYTHING = LinkModel(
    up=Direction(20_000, 10_000_000, 5_000, 10_000, 20_000, 30_000, 40_000, 1_000_000, 2**31 - 1),
    down=Direction(20_001, 10_000_001, 5_001, 10_001, 20_001, 30_001, 40_001, 999_999, 2**31 - 2),
)
wanted: list[NodeWanted] = []
heard: list[tuple[str, dict]] = []


class FakeNodes:
    name = nodes.SERVICE

    registry = "r1"

    @internal
    def registry_id(self):
        return FakeNodes.registry

    @internal
    def wanted_on_host(self, host):
        return wire.dump_all(node for node in wanted if node.host == host)


class Listener:
    name = "listener"

    @event_handler(SERVICE, netemu.PORT_ATTACHED)
    def on_attached(self, payload):
        heard.append((netemu.PORT_ATTACHED, payload))

    @event_handler(SERVICE, netemu.PORT_SHAPED)
    def on_shaped(self, payload):
        heard.append((netemu.PORT_SHAPED, payload))

    @event_handler(SERVICE, netemu.PORT_DETACHED)
    def on_detached(self, payload):
        heard.append((netemu.PORT_DETACHED, payload))


class Agent:
    """The process, and the namespace it lives in."""

    def __init__(self, uri, folder, **environment):
        port = str(urlsplit(uri).port)
        argv = [sys.executable, "-m", "tests.service.in_namespace", port]
        self._space = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.inside = ["nsenter", "-n", "-t", self._space.stdout.readline().strip()]
        self.folder = folder
        self._env = {
            **os.environ,
            "WALT_AMQP_URI": uri,
            "WALT_HOST": HOST,
            "WALT_RUN_DIR": str(folder),
            "WALT_METRICS_PORT": str(METRICS_PORT),
            "WALT_VM_UID": str(VM_UID),
            **environment,
        }
        self._process = None

    def start(self):
        argv = [*self.inside, sys.executable, "-m", "services.netemu"]
        with open(self.folder / "netemu.log", "ab") as log:
            self._process = subprocess.Popen(argv, env=self._env, stdout=log, stderr=log)
        until(lambda: peers.call(SERVICE, "list_ports", timeout_s=2) is not None)

    def kill(self):
        self._process.kill()
        self._process.wait()

    def run(self, *argv):
        return subprocess.run([*self.inside, *argv], check=True, capture_output=True, text=True).stdout

    def interfaces(self):
        return set(re.findall(r"^\d+: ([^:@]+)", self.run("ip", "-o", "link"), re.MULTILINE)) - {"lo"}

    def metric(self, line):
        fetch = f"import urllib.request as u; print(u.urlopen('http://127.0.0.1:{METRICS_PORT}').read().decode())"
        text = self.run(sys.executable, "-c", fetch)
        return next((float(one.rsplit(" ", 1)[1]) for one in text.splitlines() if one.startswith(line)), None)

    def close(self):
        if self._process is not None:
            self.kill()
        Cable(self.folder).stop()
        self._space.stdin.close()
        self._space.wait(10)


def until(condition, seconds=30):
    deadline = time.monotonic() + seconds
    while True:
        with contextlib.suppress(Failed):
            if condition():
                return
        assert time.monotonic() < deadline, f"not within {seconds} s; heard: {heard}"
        time.sleep(0.1)


def ports():
    return wire.load_all(PortReport, peers.call(SERVICE, "list_ports"))


def attach(node=NODE):
    reply = peers.call(
        SERVICE, "attach_ports", node_id=node.id, name=node.name, owner=node.owner,
        interfaces=wire.dump_all(node.interfaces), version=node.version,
    )  # fmt: skip
    return wire.load_all(AttachedPort, reply)


def announce(uri, service, event, value):
    event_dispatcher({"AMQP_URI": uri})(service, event, wire.dump(value))


@pytest.fixture(scope="module")
def containers(amqp_uri):
    """For all tests, since each takes 2 s to stop."""
    with contextlib.ExitStack() as undo:
        for fake in (FakeNodes, Listener):
            container = ServiceContainer(fake, {"AMQP_URI": amqp_uri})
            container.start()
            undo.callback(container.stop)
        yield


@pytest.fixture
def fake_peers(amqp_uri, containers):
    """What earlier agents had announced is heard first: events of one kind come in order."""
    wanted[:] = [NODE]
    for event in (netemu.PORT_ATTACHED, netemu.PORT_SHAPED, netemu.PORT_DETACHED):
        event_dispatcher({"AMQP_URI": amqp_uri})(SERVICE, event, "last")
        until(lambda event=event: (event, "last") in heard)
    heard.clear()


@pytest.fixture
def agent(amqp_uri, fake_peers, tmp_path):
    agent = Agent(amqp_uri, tmp_path)
    try:
        agent.start()
        yield agent
    finally:
        agent.close()


def test_ports_come_live_change_and_go(agent, amqp_uri):
    assert attach() == [AttachedPort(2, "vn1e2"), AttachedPort(3, "vn1e3")]
    assert attach() == [AttachedPort(2, "vn1e2"), AttachedPort(3, "vn1e3")]
    assert {one.network: one.backend for one in ports()} == {"walt-net": netemu.DIRECT, "home-net": netemu.CABLE}
    assert ports()[1].applied.up.latency_us == 10_000
    for tap in ("vn1e2", "vn1e3"):
        (shown,) = json.loads(agent.run("ip", "-json", "-details", "link", "show", tap))
        assert shown["linkinfo"]["info_data"]["user"] == VM_UID
    until(lambda: [event for event, _ in heard] == [netemu.PORT_ATTACHED] * 2)

    slower = replace(HOME, link=LinkModel(up=Direction(25_000)))
    added = replace(HOME, slot=4, network=Network(6, "lab-net", "alice"))
    announce(amqp_uri, nodes.SERVICE, nodes.NODE_WANTED, replace(NODE, interfaces=(WALT, slower, added)))
    until(lambda: ports()[1].applied.up.latency_us == 25_000)
    assert len(ports()) == 2, "an interface comes at boot only"
    until(lambda: heard[-1][0] == netemu.PORT_SHAPED and heard[-1][1]["asked"]["up"]["latency_us"] == 25_000)
    assert agent.metric('walt_port_asked_latency_seconds{network="home-net",node="vnode1",slot="3"}') == 0.025
    assert agent.metric('walt_ports{backend="cable"}') == 1

    renamed = replace(NODE, name="n" * 63, owner="o" * 32, interfaces=(WALT, replace(HOME, link=EVERYTHING)))
    announce(amqp_uri, nodes.SERVICE, nodes.NODE_WANTED, renamed)
    until(lambda: ports()[1].asked == EVERYTHING)
    assert ports()[1].applied == EVERYTHING
    assert {(one.node, one.owner) for one in ports()} == {(renamed.name, renamed.owner)}
    assert (
        agent.metric(f'walt_port_drops_total{{direction="up",network="home-net",node="{renamed.name}",slot="3"}}') == 0
    )

    announce(amqp_uri, nodes.SERVICE, nodes.NODE_REMOVED, NodeRemoved(1, renamed.name, HOST))
    until(lambda: ports() == [])
    assert agent.interfaces() == {"walt-net"}
    until(lambda: [event for event, _ in heard].count(netemu.PORT_DETACHED) == 2)


def of_version(version, latency_us):
    return replace(NODE, version=version, interfaces=(WALT, replace(HOME, link=LinkModel(up=Direction(latency_us)))))


def test_the_newest_wish_holds_in_whatever_order_they_come(agent, amqp_uri):
    """Its links are changed while vmrunner prepares the disks of a node, and one change overtakes another."""
    other = replace(NODE, id=2, name="vnode2")
    wanted[:] = [of_version(5, 25_000), replace(other, version=2, owner="bob")]
    announce(amqp_uri, nodes.SERVICE, nodes.NODE_WANTED, wanted[0])
    announce(amqp_uri, nodes.SERVICE, nodes.NODE_WANTED, of_version(4, 24_000))
    attach(other)
    announce(amqp_uri, nodes.SERVICE, nodes.NODE_WANTED, wanted[1])
    until(lambda: {one.owner for one in ports()} == {"bob"})  # so that the earlier ones were heard
    attach(of_version(3, 23_000))
    assert ports()[1].applied.up.latency_us == 25_000
    announce(amqp_uri, nodes.SERVICE, nodes.NODE_WANTED, of_version(4, 24_000))
    wanted[1] = replace(other, version=3, owner="carol")
    announce(amqp_uri, nodes.SERVICE, nodes.NODE_WANTED, wanted[1])
    until(lambda: {one.owner for one in ports()} == {"alice", "carol"})
    assert ports()[1].applied.up.latency_us == 25_000
    wanted[0] = of_version(6, 26_000)
    attach(wanted[0])
    assert ports()[1].applied.up.latency_us == 26_000


def test_a_port_that_cannot_follow_keeps_no_other_from_it(agent):
    second = replace(NODE, id=2, name="vnode2")
    wanted.append(second)
    attach()
    attach(second)
    agent.kill()
    agent.run("ip", "link", "del", "cn1e3")
    agent.run("ip", "link", "add", "cn1e3", "type", "bridge")  # somebody else's
    wanted[1] = replace(second, interfaces=(WALT, replace(HOME, link=LinkModel(up=Direction(3_000)))))
    agent.start()
    until(lambda: ports()[3].applied.up.latency_us == 3_000)
    until(
        lambda: "the interface name cn1e3, wanted for vnode1 on home-net" in (agent.folder / "netemu.log").read_text()
    )
    agent.run("ip", "link", "del", "cn1e3")
    until(lambda: ports()[1].backend == netemu.CABLE)


def test_a_killed_netemu_adopts_what_is_there_and_removes_what_is_nobodys(agent):
    attach()
    attach(replace(NODE, id=2, name="vnode2"))
    wanted.append(replace(NODE, id=2, name="vnode2"))
    before, cable = agent.interfaces(), agent.run("cat", "/proc/net/dev").count("cn")
    assert cable == 2
    agent.kill()
    agent.start()
    time.sleep(1)
    assert agent.interfaces() == before
    assert [one.backend for one in ports()] == [netemu.DIRECT, netemu.CABLE] * 2

    agent.kill()
    del wanted[1]
    wanted[0] = replace(NODE, interfaces=(WALT, replace(HOME, link=LinkModel(up=Direction(3_000)))))
    agent.start()
    until(lambda: {one.node for one in ports()} == {"vnode1"})
    until(lambda: ports()[1].applied.up.latency_us == 3_000)


def test_another_registry_removes_and_adopts_nothing(agent, amqp_uri, monkeypatch):
    """The database of nodes was lost: its ids begin anew, and it knows none of these ports."""
    said = lambda words: words in (agent.folder / "netemu.log").read_text()  # noqa: E731
    registry = lambda: [one["status"] for one in peers.call(SERVICE, "diagnose") if one["subject"] == "registry"]  # noqa: E731
    until((agent.folder / "netemu" / "registry").exists)
    attach()
    before, interfaces = ports(), agent.interfaces()
    monkeypatch.setattr(FakeNodes, "registry", "r2")
    other = replace(NODE, name="other", owner="bob", interfaces=(WALT, replace(HOME, link=LinkModel())))
    announce(amqp_uri, nodes.SERVICE, nodes.NODE_WANTED, other)
    until(lambda: said("the wish for other is let be: "))
    announce(amqp_uri, nodes.SERVICE, nodes.NODE_REMOVED, NodeRemoved(1, "other", HOST))
    until(lambda: said("the removal of other is let be: "))
    wanted.clear()
    agent.kill()
    agent.start()
    until(lambda: said("not reconciled yet: "))
    assert (ports(), agent.interfaces(), registry()) == (before, interfaces, ["fail"])
    assert not said("Traceback")
    peers.call(SERVICE, "detach_ports", node_id=1)  # by vmrunner, when the machine ends: nothing is left to be kept
    until(lambda: registry() == ["ok"])


def test_a_killed_cable_is_replaced(agent):
    attach()
    pid = cable_pid(agent)
    os.kill(pid, signal.SIGKILL)
    until(lambda: cable_pid(agent) not in (pid, None))
    until(lambda: [one.backend for one in ports()] == [netemu.DIRECT, netemu.CABLE])


def test_a_cable_that_somebody_else_starts_is_waited_for_and_mended(amqp_uri, fake_peers, tmp_path):
    """As in containers, where it has the same pid every time."""
    agent = Agent(amqp_uri, tmp_path, WALT_CABLE="supervised")
    argv = [*agent.inside, "unshare", "--pid", "--fork", "--kill-child", sys.executable, "-m", "services.netemu.cable"]
    with contextlib.ExitStack() as ended:

        def start_cable():
            process = subprocess.Popen([*argv, str(agent.folder)])
            ended.callback(process.wait)
            ended.callback(process.kill)
            return process

        ended.callback(agent.close)
        agent.start()
        late = threading.Timer(2, start_cable)
        late.start()
        attach()
        late.join()
        first = Cable(agent.folder).show()
        assert (first.pid, list(first.links)) == (1, ["vn1e3"])
        agent.kill()
        agent.start()
        assert Cable(agent.folder).show().started_ns == first.started_ns
        Cable(agent.folder)._ask({"do": "stop"})
        start_cable()
        until(lambda: (second := Cable(agent.folder).show()) is not None and second.links == first.links)
        until(lambda: [one.backend for one in ports()] == [netemu.DIRECT, netemu.CABLE])


def cable_pid(agent):
    """A unix socket with a path is the same in every network namespace."""
    state = Cable(agent.folder).show()
    return state and state.pid


def test_a_foreign_walt_net_is_named_and_left_alone(amqp_uri, fake_peers, tmp_path):
    agent = Agent(amqp_uri, tmp_path)
    try:
        agent.run("ip", "link", "add", "walt-net", "type", "bridge")
        agent.start()
        with pytest.raises(Failed, match="walt-net"):
            attach()
        found = {one["subject"]: one["status"] for one in peers.call(SERVICE, "diagnose")}
        assert found["walt-net"] == "fail"
        agent.run("ip", "link", "del", "walt-net")
        attach()
        assert "192.168.172.1/22" in agent.run("ip", "addr", "show", "walt-net")
    finally:
        agent.close()


@pytest.fixture
def machine():
    """Argv of what is run in the namespace of a physical machine, and the pid that holds it."""
    argv = ["unshare", "-n", "sh", "-c", "echo $$; exec cat"]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        pid = holder.stdout.readline().strip()
        yield ["nsenter", "-n", "-t", pid], pid
        holder.stdin.close()


def test_the_named_interface_joins_walt_net_whenever_it_comes(amqp_uri, fake_peers, tmp_path, machine):
    inside, pid = machine
    mac = "52:57:41:4C:54:01"
    agent = Agent(amqp_uri, tmp_path, WALT_INTERFACE=mac)
    check = lambda: {one["subject"]: one["status"] for one in peers.call(SERVICE, "diagnose")}["interface"]  # noqa: E731

    def plug_in():
        ends = f"phys0 address {mac} type veth peer name eth0 netns {pid}"
        agent.run("ip", "link", "add", *ends.split())
        agent.run("ip", "addr", "add", "10.9.9.9/24", "dev", "phys0")
        for argv in ("addr add 192.168.175.9/22 dev eth0", "link set eth0 up"):
            subprocess.run([*inside, "ip", *argv.split()], check=True)
        until(lambda: check() == "ok")

    def reached(*argv):
        return subprocess.run([*inside, *argv], capture_output=True).returncode == 0

    try:
        agent.run("ip", "link", "add", "other0", "type", "veth", "peer", "name", "other1")
        agent.run("ip", "addr", "add", "10.9.8.9/24", "dev", "other0")
        agent.start()
        assert check() == "warn"
        plug_in()
        assert "10.9.9.9" not in agent.run("ip", "addr")
        attach()  # nodes are bound to their addresses, it is not
        assert reached("ping", "-c", "1", "-W", "5", "192.168.172.1")
        knock = f"import socket; socket.create_connection(('192.168.172.1', {METRICS_PORT}), 1)"
        assert not reached(sys.executable, "-c", knock), "the firewall of walt-net is for it too"
        agent.run("ip", "link", "del", "phys0")
        until(lambda: check() == "warn")
        plug_in()
        assert reached("ping", "-c", "1", "-W", "5", "192.168.172.1")
        assert "10.9.8.9" in agent.run("ip", "addr", "show", "other0")
        assert "master" not in agent.run("ip", "link", "show", "other0")
        assert (tmp_path / "netemu.log").read_text().count("WALT_INTERFACE: ") == 2, "once each time it is not there"
    finally:
        agent.close()


def test_diagnose_names_the_backend_and_why(agent):
    found = {one["subject"]: one["found"] for one in peers.call(SERVICE, "diagnose")}
    assert "cable" in found["links"] or "kernel" in found["links"]
    assert found["platform latency"] == "no node measured yet"


FLOOD = """
import os, sys
from services.netemu.taps import open_tap
tap = open_tap("vn1e3")
for _ in range(40):
    os.write(tap, bytes(10) + b"\\xff" * 6 + bytes((2, 0, 0, 0, 0, 1)) + b"\\x88\\xb5" + bytes(86))
"""


def test_the_traffic_of_a_port_is_reported(agent):
    lossy = replace(HOME, link=LinkModel(up=Direction(loss_ppm=500_000, seed=4)))
    wanted[0] = replace(NODE, interfaces=(WALT, lossy))  # so that the agent finds what it has when it reconciles
    attach(wanted[0])
    agent.run(sys.executable, "-c", FLOOD)
    until(lambda: ports()[1].up.frames + ports()[1].up.dropped == 40)
    port = ports()[1]
    assert port.up.bytes == 100 * port.up.frames and 5 < port.up.dropped < 35, port

    def measured_us():
        """Of these frames: what was measured before a link was set anew counts no more."""
        agent.run(sys.executable, "-c", FLOOD)
        return ports()[1].measured_latency_us

    until(lambda: measured_us() is not None)


ECHO = """
import os, struct, sys, time
from services.netemu.taps import open_tap
tap = open_tap("vn1e2")
mac = bytes.fromhex("525400000001")  # its own: in the name of another it is not heard
while True:
    frame = os.read(tap, 70000) if __import__("select").select([tap], [], []) else b""
    header, frame = frame[:10], frame[10:]
    if frame[12:14] == b"\\x08\\x06" and frame[38:42] == bytes((192, 168, 172, 2)):
        reply = frame[6:12] + mac + frame[12:20] + b"\\0\\2" + mac + frame[38:42] + frame[22:32]
        os.write(tap, bytes(10) + reply)
    elif frame[12:14] == b"\\x08\\0" and frame[23] == 1 and frame[34] == 8:
        time.sleep(0.003)
        body = b"\\0\\0\\0\\0" + frame[38:]
        body += bytes(len(body) % 2)
        total = sum(struct.unpack(f"!{len(body) // 2}H", body))
        total = (total >> 16) + (total & 0xFFFF)
        check = struct.pack("!H", ~(total + (total >> 16)) & 0xFFFF)
        ip = frame[14:26] + frame[30:34] + frame[26:30]
        os.write(tap, bytes(10) + frame[6:12] + mac + frame[12:14] + ip + body[:2] + check + body[4:])
"""


def test_what_a_node_itself_takes_is_measured_and_taken_off(agent, amqp_uri):
    attach()
    node = subprocess.Popen([*agent.inside, sys.executable, "-c", ECHO])
    try:
        announce(amqp_uri, bootserver.SERVICE, bootserver.NODE_BOOTED, NodeBooted(1, 1, time.time()))
        until(lambda: ports()[1].compensation_us > 2_500, 30)
        port = ports()[1]
        assert port.compensation_us < 6_000
        assert port.applied.up.latency_us == 10_000 - port.compensation_us
    finally:
        node.kill()
        node.wait()
