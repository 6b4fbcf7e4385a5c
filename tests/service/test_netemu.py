"""netemu as its own process, in a network namespace of its own, on a real RabbitMQ; only `nodes` is a fake."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace

import pytest

from services.netemu.cable.control import CableClient
from services.netemu.ports.port import helper_alias
from tests.service.netemu_agent import HOST, METRICS_PORT, Agent
from tests.support.fakes.fake_service import serving
from tests.support.fakes.nodes import FakeNodes
from tests.support.wait import wait_until
from walt.contracts import bootserver, netemu, nodes
from walt.contracts.bootserver import NodeBooted
from walt.contracts.errors import Failed
from walt.contracts.links import Direction, LinkModel
from walt.contracts.netemu import AttachedPort
from walt.contracts.nodes import Interface, Network, NodeRemoved, NodeWanted

pytestmark = pytest.mark.usefixtures("as_root")  # network namespaces

WALT = Interface(2, "52:54:00:00:00:01", Network(0, "walt-net", ""))
HOME = Interface(3, "52:54:00:00:00:02", Network(5, "home-net", "alice"), LinkModel(up=Direction(10_000)))
NODE = NodeWanted(
    1, "vnode1", HOST, "alice", nodes.POWER_ON, 1, 1, "default", "192.168.172.2", 1, 2**29, 0, 180, 9, (WALT, HOME)
)
EVERYTHING = LinkModel(
    up=Direction(20_000, 10_000_000, 5_000, 10_000, 20_000, 30_000, 40_000, 1_000_000, 2**31 - 1),
    down=Direction(20_001, 10_000_001, 5_001, 10_001, 20_001, 30_001, 40_001, 999_999, 2**31 - 2),
)


def until(condition):
    """A call that fails is tried again: the agent may have been started just now."""

    def holds():
        with contextlib.suppress(Failed):
            return condition()

    wait_until(holds)


@pytest.fixture(scope="module")
def served_nodes(amqp_uri):
    """For all tests, since it takes 2 s to stop."""
    fake = FakeNodes()
    with serving(amqp_uri, fake):
        yield fake


@pytest.fixture
def fake_nodes(served_nodes):
    served_nodes.specs = {NODE.id: NODE}
    served_nodes.registry = "r1"
    return served_nodes


@pytest.fixture
def agent(amqp_uri, fake_nodes, tmp_path):
    agent = Agent(amqp_uri, tmp_path)
    try:
        agent.start()
        yield agent
    finally:
        agent.close()


def test_ports_come_live_change_and_go(agent, fake_nodes):
    assert agent.attach(NODE) == [AttachedPort(2, "vn1e2"), AttachedPort(3, "vn1e3")]
    assert agent.attach(NODE) == [AttachedPort(2, "vn1e2"), AttachedPort(3, "vn1e3")]
    assert {one.network: one.backend for one in agent.ports()} == {"walt-net": netemu.DIRECT, "home-net": netemu.CABLE}
    assert agent.ports()[1].applied.up.latency_us == 10_000
    for tap in ("vn1e2", "vn1e3"):
        (shown,) = json.loads(agent.run("ip", "-json", "-details", "link", "show", tap))
        assert shown["linkinfo"]["info_data"]["user"] in (0, "root")

    slower = replace(HOME, link=LinkModel(up=Direction(25_000)))
    added = replace(HOME, slot=4, network=Network(6, "lab-net", "alice"))
    fake_nodes.announce(nodes.NODE_WANTED, replace(NODE, interfaces=(WALT, slower, added)))
    until(lambda: agent.ports()[1].applied.up.latency_us == 25_000)
    assert len(agent.ports()) == 2, "a port comes when vmrunner asks for it"
    assert agent.metric('walt_port_asked_latency_seconds{network="home-net",node="vnode1",slot="3"}') == 0.025
    assert agent.metric('walt_ports{backend="cable"}') == 1

    renamed = replace(NODE, name="n" * 63, owner="o" * 32, interfaces=(WALT, replace(HOME, link=EVERYTHING)))
    fake_nodes.announce(nodes.NODE_WANTED, renamed)
    until(lambda: agent.ports()[1].requested == EVERYTHING)
    assert agent.ports()[1].applied == EVERYTHING
    assert {(one.node, one.owner) for one in agent.ports()} == {(renamed.name, renamed.owner)}
    assert (
        agent.metric(f'walt_port_drops_total{{direction="up",network="home-net",node="{renamed.name}",slot="3"}}') == 0
    )

    fake_nodes.announce(nodes.NODE_REMOVED, NodeRemoved(1, renamed.name, HOST))
    until(lambda: agent.ports() == [])
    assert agent.interfaces() == {"walt-net"}


def of_version(version, latency_us):
    return replace(NODE, version=version, interfaces=(WALT, replace(HOME, link=LinkModel(up=Direction(latency_us)))))


def test_the_newest_spec_holds_in_whatever_order_they_come(agent, fake_nodes):
    """Its links are changed while vmrunner prepares the disks of a node, and one change overtakes another."""
    other = replace(NODE, id=2, name="vnode2")
    fake_nodes.put(of_version(5, 25_000))
    fake_nodes.announce(nodes.NODE_WANTED, of_version(4, 24_000))
    agent.attach(other)
    fake_nodes.put(replace(other, version=2, owner="bob"))
    until(lambda: {one.owner for one in agent.ports()} == {"bob"})  # so that the earlier ones were heard
    agent.attach(of_version(3, 23_000))
    assert agent.ports()[1].applied.up.latency_us == 25_000
    fake_nodes.announce(nodes.NODE_WANTED, of_version(4, 24_000))
    fake_nodes.put(replace(other, version=3, owner="carol"))
    until(lambda: {one.owner for one in agent.ports()} == {"alice", "carol"})
    assert agent.ports()[1].applied.up.latency_us == 25_000
    fake_nodes.specs[1] = of_version(6, 26_000)
    agent.attach(fake_nodes.specs[1])
    assert agent.ports()[1].applied.up.latency_us == 26_000


def test_a_port_that_cannot_follow_keeps_no_other_from_it(agent, fake_nodes):
    second = replace(NODE, id=2, name="vnode2")
    fake_nodes.specs[2] = second
    agent.attach(NODE)
    agent.attach(second)
    agent.kill()
    agent.run("ip", "link", "del", "cn1e3")
    agent.run("ip", "link", "add", "cn1e3", "type", "bridge")  # somebody else's
    fake_nodes.specs[2] = replace(second, interfaces=(WALT, replace(HOME, link=LinkModel(up=Direction(3_000)))))
    agent.start()
    until(lambda: agent.ports()[3].applied.up.latency_us == 3_000)
    until(lambda: "the interface name cn1e3, wanted for vnode1 on home-net" in agent.log())
    agent.run("ip", "link", "del", "cn1e3")
    until(lambda: agent.ports()[1].backend == netemu.CABLE)


def test_a_killed_netemu_adopts_the_ports_of_nodes_and_removes_those_of_others(agent, fake_nodes):
    agent.attach(NODE)
    agent.attach(replace(NODE, id=2, name="vnode2"))
    fake_nodes.specs[2] = replace(NODE, id=2, name="vnode2")
    before, cable = agent.interfaces(), agent.run("cat", "/proc/net/dev").count("cn")
    assert cable == 2
    agent.kill()
    agent.run("ip", "tuntap", "add", "cb9e9", "mode", "tap")
    agent.run("ip", "link", "set", "cb9e9", "alias", helper_alias("vn9e9"))
    agent.start()
    until(lambda: "cb9e9" not in agent.interfaces())  # orphans are removed last
    assert agent.interfaces() == before
    assert [one.backend for one in agent.ports()] == [netemu.DIRECT, netemu.CABLE] * 2

    agent.kill()
    del fake_nodes.specs[2]
    fake_nodes.specs[1] = replace(NODE, interfaces=(WALT, replace(HOME, link=LinkModel(up=Direction(3_000)))))
    agent.start()
    until(lambda: {one.node for one in agent.ports()} == {"vnode1"})
    until(lambda: agent.ports()[1].applied.up.latency_us == 3_000)


def test_another_registry_removes_and_adopts_nothing(agent, fake_nodes):
    """The database of nodes was lost: its ids begin anew, and it knows none of these ports."""

    def logged(text):
        return text in agent.log()

    until((agent.folder / "netemu" / "registry").exists)
    agent.attach(NODE)
    before, interfaces = agent.ports(), agent.interfaces()
    fake_nodes.registry = "r2"
    fake_nodes.put(replace(NODE, name="other", owner="bob", interfaces=(WALT, replace(HOME, link=LinkModel()))))
    until(lambda: logged("the spec of other is ignored: "))
    fake_nodes.remove(NODE.id)
    until(lambda: logged("the removal of other is ignored: "))
    agent.kill()
    agent.start()
    until(lambda: agent.checks()["registry"].status == "fail")  # from its first reconciliation on
    assert (agent.ports(), agent.interfaces()) == (before, interfaces)
    assert logged("not reconciled yet: ")
    assert not logged("Traceback")
    for tap in ("vn1e2", "vn1e3"):  # once no port is left, there is nothing to protect
        agent.run("ip", "link", "del", tap)
    until(lambda: agent.checks()["registry"].status == "ok")


def test_a_killed_cable_is_replaced(agent):
    agent.attach(NODE)
    pid = cable_pid(agent)
    os.kill(pid, signal.SIGKILL)
    until(lambda: cable_pid(agent) not in (pid, None))
    until(lambda: [one.backend for one in agent.ports()] == [netemu.DIRECT, netemu.CABLE])


def test_a_cable_that_somebody_else_starts_is_waited_for_and_its_ports_repaired(amqp_uri, fake_nodes, tmp_path):
    """As in containers, where it has the same pid every time."""
    agent = Agent(amqp_uri, tmp_path, WALT_CABLE="supervised")
    argv = [*agent.inside, "unshare", "--pid", "--fork", "--kill-child", sys.executable, "-m", "services.netemu.cable"]
    with contextlib.ExitStack() as ended:
        cables = []

        def start_cable():
            process = subprocess.Popen([*argv, str(agent.folder)])
            cables.append(process)
            ended.callback(process.wait)
            ended.callback(process.kill)
            return process

        ended.callback(agent.close)
        agent.start()
        late = threading.Timer(2, start_cable)
        late.start()
        agent.attach(NODE)
        late.join()
        first = CableClient(agent.folder).show()
        assert (first.pid, list(first.links)) == (1, ["vn1e3"])
        agent.kill()
        agent.start()
        assert CableClient(agent.folder).show().started_ns == first.started_ns
        cables[0].kill()
        cables[0].wait()
        start_cable()
        until(lambda: (second := CableClient(agent.folder).show()) is not None and second.links == first.links)
        until(lambda: [one.backend for one in agent.ports()] == [netemu.DIRECT, netemu.CABLE])


def cable_pid(agent):
    """A unix socket with a path is the same in every network namespace."""
    state = CableClient(agent.folder).show()
    return state and state.pid


def test_a_foreign_walt_net_is_named_and_left_alone(amqp_uri, fake_nodes, tmp_path):
    agent = Agent(amqp_uri, tmp_path)
    try:
        agent.run("ip", "link", "add", "walt-net", "type", "bridge")
        agent.start()
        with pytest.raises(Failed, match="walt-net"):
            agent.attach(NODE)
        assert agent.checks()["walt-net"].status == "fail"
        agent.run("ip", "link", "del", "walt-net")
        agent.attach(NODE)
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


def test_the_named_interface_joins_walt_net_whenever_it_comes(amqp_uri, fake_nodes, tmp_path, machine):
    inside, pid = machine
    mac = "52:57:41:4C:54:01"
    agent = Agent(amqp_uri, tmp_path, WALT_INTERFACE=mac)
    check = lambda: agent.checks()["interface"].status  # noqa: E731

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
        agent.attach(NODE)  # nodes are bound to their addresses, it is not
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
    found = agent.checks()
    assert "cable" in found["links"].found or "kernel" in found["links"].found
    assert found["platform latency"].found == "no node measured yet"


FLOOD = """
from tests.links.rig import Guest
guest = Guest("vn1e3", 1)
for number in range(40):
    guest.send(number)
"""


def test_the_traffic_of_a_port_is_reported(agent, fake_nodes):
    lossy = replace(HOME, link=LinkModel(up=Direction(loss_ppm=500_000, seed=4)))
    fake_nodes.specs[1] = replace(NODE, interfaces=(WALT, lossy))  # so that a reconciliation changes nothing
    agent.attach(fake_nodes.specs[1])
    agent.run(sys.executable, "-c", FLOOD)
    until(lambda: agent.ports()[1].up.frames + agent.ports()[1].up.dropped == 40)
    port = agent.ports()[1]
    assert port.up.bytes == 100 * port.up.frames and 5 < port.up.dropped < 35, port

    def measured_us():
        """Of these frames: what was measured before a link was set anew counts no more."""
        agent.run(sys.executable, "-c", FLOOD)
        return agent.ports()[1].measured_latency_us

    until(lambda: measured_us() is not None)


GROUP_ADDRESSES = """
import sys
from tests.links.rig import Guest
sender, receiver = Guest(sys.argv[1], 1), Guest(sys.argv[2], 2)
addresses = [bytes.fromhex("0180c20000" + last) for last in ("01", "00", "02", "03", "0d", "0e", "21")]
while not receiver.numbers(0.1, stop_after=1):  # the bridge takes a moment to notice that taps are open
    sender.send(0)
for address in addresses:
    sender.send(0, to=address)
for frame in receiver.frames(10):
    if frame[:6] in addresses:
        print(frame[5:6].hex(), flush=True)
    if frame[:6] == addresses[-1]:
        break
"""
PASSED = ["00", "02", "03", "0d", "0e", "21"]  # not 01: pause frames


def test_frames_for_group_addresses_pass_between_nodes(agent, fake_nodes):
    plain = Interface(4, "52:54:00:00:00:03", Network(6, "lab-net", "alice"))
    for node_id in (1, 2):
        fake_nodes.specs[node_id] = replace(NODE, id=node_id, name=f"vnode{node_id}", interfaces=(WALT, HOME, plain))
        agent.attach(fake_nodes.specs[node_id])
    backends = {(port.slot, port.backend) for port in agent.ports()}
    assert {(3, netemu.CABLE), (4, netemu.DIRECT)} < backends

    def passed(slot):
        return agent.run(sys.executable, "-c", GROUP_ADDRESSES, f"vn1{slot}", f"vn2{slot}").split()

    assert [passed("e3"), passed("e4")] == [PASSED, PASSED]
    agent.kill()
    for name in ("net5", "net6"):  # as an older version left them
        agent.run("ip", "link", "set", name, "type", "bridge", "group_fwd_mask", "0")
    for name in ("cb1e3", "vn1e4"):
        agent.run("ip", "link", "set", name, "type", "bridge_slave", "group_fwd_mask", "0")
    assert passed("e4") == ["00", "21"]
    agent.start()
    until(lambda: [passed("e3"), passed("e4")] == [PASSED, PASSED])


def test_what_a_node_itself_takes_is_measured_and_taken_off(agent, fake_nodes):
    agent.attach(NODE)
    argv = [*agent.inside, sys.executable, "-m", "tests.service.tap_node"]
    node = subprocess.Popen([*argv, "vn1e2", WALT.mac, f"{NODE.ip}/22", "0.003"])
    try:
        fake_nodes.announce(bootserver.NODE_BOOTED, NodeBooted(1, 1, time.time(), NODE.ip), bootserver.SERVICE)
        until(lambda: agent.ports()[1].compensation_us > 2_500)
        port = agent.ports()[1]
        assert port.compensation_us < 6_000
        assert port.applied.up.latency_us == 10_000 - port.compensation_us
    finally:
        node.kill()
        node.wait()
