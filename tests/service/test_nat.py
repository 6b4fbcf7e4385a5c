"""netsetup=NAT with real packet filters: two nodes on walt-net, the platform's namespace, a host, and an "internet"
behind it. All of them network namespaces, joined by veth pairs.

    lan, nat ── walt-net (platform) ── uplink ── host ── internet
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import IPv4Network

import pytest

from deploy.local import host_nat
from deploy.local.instance import UPLINK_POOL, Instance, Uplink
from services.netemu.filters import connection_shares, nat
from services.netemu.kernel.netlink import SEGMENT_GROUP
from walt.contracts import nodes, serialization
from walt.contracts.errors import InvalidRequest
from walt.contracts.nodes import NodeWanted
from walt.contracts.settings import LAN, NAT
from walt.contracts.walt_net_addresses import RESOLVER_PORT

pytestmark = pytest.mark.usefixtures("as_root")  # network namespaces

SERVER, LAN_NODE, NAT_NODE = "192.168.172.1", "192.168.172.10", "192.168.172.11"
INSTANCE, UPLINK = Instance("tnat"), Uplink(IPv4Network("198.18.0.4/30"))
HOST_OUTSIDE, INTERNET = "203.0.113.1", "203.0.113.2"
BROKER = 5672
METRICS = (9101, 15692)
OPEN = (53, 80)

NODE = NodeWanted(7, "vnode1", "lab", "alice", nodes.POWER_ON, 1, 1, "default", NAT_NODE, 4, 2**29, 0, 180, 9, ())
WITH_NAT = replace(NODE, netsetup=NAT)

INSTALL = """
from services.netemu.filters import connection_shares, input_filter
input_filter.install("192.168.172.0/22")
connection_shares.install()
"""
LISTEN = """
import socket, sys, threading
def serve(listener):
    while True:
        connection, peer = listener.accept()
        threading.Thread(target=answer, args=(connection, peer), daemon=True).start()
def answer(connection, peer):
    while connection.recv(100):
        connection.sendall(peer[0].encode())
for port in map(int, sys.argv[1:]):
    threading.Thread(target=serve, args=(socket.create_server(("0.0.0.0", port)),), daemon=True).start()
print("ready", flush=True)
sys.stdin.read()
"""
# The name server of walt-net, and the one that knows the outside, over UDP: each answers with the port that was asked.
NAME_SERVERS = """
import socket, sys, threading
def serve(port):
    with socket.socket(type=socket.SOCK_DGRAM) as listener:
        listener.bind(("0.0.0.0", port))
        while True:
            listener.sendto(str(port).encode(), listener.recvfrom(100)[1])
for port in (53, 54):
    threading.Thread(target=serve, args=(port,), daemon=True).start()
print("ready", flush=True)
sys.stdin.read()
"""
LOOK_UP = """
import socket, sys
with socket.socket(type=socket.SOCK_DGRAM) as asking:
    asking.settimeout(0.7)
    asking.bind(("0.0.0.0", int(sys.argv[3])))
    asking.connect((sys.argv[1], int(sys.argv[2])))
    try:
        asking.send(b"who?")
        print(asking.recv(100).decode())
    except OSError:
        print("unreachable")
"""
ASK = """
import socket, sys
try:
    with socket.create_connection((sys.argv[1], int(sys.argv[2])), 0.7) as connection:
        for _ in range(int(sys.argv[3])):
            connection.sendall(b"who am I?")
            print(connection.recv(100).decode(), flush=True)
            sys.stdin.readline()
except OSError:
    print("unreachable", flush=True)
"""


class Space:
    """A network namespace, and what runs in it."""

    def __init__(self) -> None:
        self._processes: list[subprocess.Popen[str]] = []
        holder = self._keep(["unshare", "--net", "sh", "-c", "ip link set lo up; echo $$; exec cat"])
        assert holder.stdout is not None
        self.pid = holder.stdout.readline().strip()
        self.inside = ["nsenter", "--net", "--target", self.pid]

    def ip(self, *commands: str) -> None:
        for command in commands:
            subprocess.run([*self.inside, "ip", *command.split()], check=True)

    def run(self, *words: str, stdin: str = "") -> str:
        done = subprocess.run([*self.inside, *words], input=stdin, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def listen(self, *ports: int) -> None:
        process = self._keep([*self.inside, sys.executable, "-c", LISTEN, *map(str, ports)])
        assert process.stdout is not None and process.stdout.readline() == "ready\n"

    def ask(self, address: str, port: int) -> str:
        """Under which address the other one saw us, or 'unreachable'."""
        return self.run(sys.executable, "-S", "-c", ASK, address, str(port), "1").strip()

    def look_up(self, port: int, own_port: int = 0) -> str:
        """Which of the platform's name servers answers at this port."""
        return self.run(sys.executable, "-S", "-c", LOOK_UP, SERVER, str(port), str(own_port)).strip()

    def talk(self, address: str, port: int) -> subprocess.Popen[str]:
        """A connection that asks once more for each line it is given."""
        return self._keep([*self.inside, sys.executable, "-S", "-c", ASK, address, str(port), "9"])

    def serve_names(self) -> None:
        process = self._keep([*self.inside, sys.executable, "-c", NAME_SERVERS])
        assert process.stdout is not None and process.stdout.readline() == "ready\n"

    def close(self) -> None:
        for process in reversed(self._processes):
            process.kill()
            process.communicate()

    def _keep(self, argv: list[str]) -> subprocess.Popen[str]:
        process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._processes.append(process)
        return process


class NatLab:
    def __init__(self) -> None:
        self.lan, self.nat, self.platform, self.host, self.internet = self.spaces = [Space() for _ in range(5)]
        self.platform.ip("link add walt-net type bridge", f"addr add {SERVER}/22 dev walt-net", "link set walt-net up")
        for number, (space, address) in enumerate(((self.lan, LAN_NODE), (self.nat, NAT_NODE))):
            tap = f"tap{number}"
            space.ip(f"link add eth0 type veth peer name {tap} netns {self.platform.pid}", "link set eth0 up")
            space.ip(f"addr add {address}/22 dev eth0", f"route add default via {SERVER}")
            self.platform.ip(f"link set {tap} master walt-net up")
            space.ip(f"link add eth1 type veth peer name seg{number} netns {self.platform.pid}", "link set eth1 up")
            space.ip(f"addr add 198.18.200.{number + 1}/24 dev eth1")
        self.platform.ip("link add home type bridge", f"link set home group {SEGMENT_GROUP} up")
        for number in (0, 1):
            self.platform.ip(f"link set seg{number} master home group {SEGMENT_GROUP} up")
        self.host.ip(f"link add {INSTANCE.host_link} type veth peer name uplink netns {self.platform.pid}")
        self.host.ip(f"addr add {UPLINK.host}/30 dev {INSTANCE.host_link}", f"link set {INSTANCE.host_link} up")
        self.platform.ip(f"addr add {UPLINK.inside}/30 dev uplink", "link set uplink up")
        self.host.ip(f"link add outside type veth peer name eth0 netns {self.internet.pid}", "link set outside up")
        self.host.ip(f"addr add {HOST_OUTSIDE}/24 dev outside")
        self.internet.ip(f"addr add {INTERNET}/24 dev eth0", "link set eth0 up")
        self.host.run("sysctl", "-qw", "net.ipv4.ip_forward=1")
        self.platform.listen(*OPEN, RESOLVER_PORT, BROKER, *METRICS)
        self.platform.serve_names()
        self.host.listen(22)
        self.internet.listen(80)
        self.platform.run(sys.executable, "-c", INSTALL)
        self.netemu("install()")

    def netemu(self, call: str) -> None:
        """What netemu does, where it does it."""
        code = (
            "from walt.contracts import serialization; from walt.contracts.nodes import NodeWanted\n"
            "from services.netemu.filters.nat import Nat\n"
            f"node = lambda text: serialization.load(NodeWanted, text)\nNat(['{UPLINK_POOL}']).{call}"
        )
        self.platform.run(sys.executable, "-c", code)

    def want(self, *wanted: NodeWanted) -> None:
        for node in wanted:
            self.netemu(f"update(node({serialization.dump(node)}))")

    def open_internet(self) -> None:
        """`up --internet`."""
        self.host.run("nft", "-f", "-", stdin=host_nat.ruleset(INSTANCE, UPLINK))
        self.platform.ip(f"route replace default via {UPLINK.host}")

    def close_internet(self) -> None:
        """As before it, whatever test came first."""
        self.host.run("nft", "flush", "ruleset")
        self.platform.ip("route flush exact 0.0.0.0/0")


@pytest.fixture(scope="module")
def lab() -> Iterator[NatLab]:
    lab = NatLab()
    yield lab
    for space in lab.spaces:
        space.close()


def test_networks_never_reached_are_checked():
    assert nat.parse_networks("198.18.0.0/15,10.0.0.0/8") == ["198.18.0.0/15", "10.0.0.0/8"]
    assert nat.parse_networks("") == []
    with pytest.raises(InvalidRequest, match="WALT_NAT_EXCEPT: 'host' is not a network"):
        nat.parse_networks("host")


def test_only_those_who_are_there_and_may():
    others = [replace(NODE, netsetup=LAN), replace(WITH_NAT, power=nodes.ABSENT)]
    assert [node for node in [*others, WITH_NAT] if nat.has_nat(node)] == [WITH_NAT]


def test_without_the_operators_word_a_node_reaches_walt_net_only(lab):
    lab.close_internet()
    lab.want(WITH_NAT)
    assert lab.nat.ask(INTERNET, 80) == "unreachable"
    assert lab.nat.ask(str(UPLINK.host), 22) == "unreachable"
    assert [lab.nat.ask(SERVER, port) for port in OPEN] == [NAT_NODE] * len(OPEN)


def test_nodes_reach_each_other_whatever_may(lab):
    """Also where the host's packet filter sees frames on bridges (bridge-nf-call-iptables)."""
    lab.lan.listen(9000)
    for wanted in (NODE, WITH_NAT):
        lab.want(wanted)
        assert lab.nat.ask(LAN_NODE, 9000) == NAT_NODE
        assert lab.nat.ask("198.18.200.1", 9000) == "198.18.200.2"


def test_nat_node_gets_out_and_back_and_others_do_not(lab):
    lab.open_internet()
    lab.want(WITH_NAT, replace(NODE, id=8, ip=LAN_NODE))
    assert lab.nat.ask(INTERNET, 80) == HOST_OUTSIDE
    assert lab.lan.ask(INTERNET, 80) == "unreachable"
    assert [lab.lan.ask(SERVER, port) for port in OPEN] == [LAN_NODE] * len(OPEN)


def test_what_stays_out_of_reach(lab):
    """The broker, the host, and other instances, which the host could route to."""
    lab.open_internet()
    lab.want(WITH_NAT)
    for address in (SERVER, str(UPLINK.inside)):
        assert lab.nat.ask(address, BROKER) == "unreachable"
    assert [lab.nat.ask(SERVER, port) for port in METRICS] == ["unreachable"] * len(METRICS)
    for address in (str(UPLINK.host), HOST_OUTSIDE):
        assert lab.nat.ask(address, 22) == "unreachable"
    lab.host.ip("link add other type bridge", "link set other up", "addr add 198.18.9.1/30 dev other")
    assert lab.nat.ask("198.18.9.1", 22) == "unreachable"
    assert lab.host.ask(str(UPLINK.inside), BROKER) == str(UPLINK.host)
    lab.internet.ip(f"route add 192.168.172.0/22 via {HOST_OUTSIDE}")
    lab.host.ip(f"route add 192.168.172.0/22 via {UPLINK.inside}")
    lab.nat.listen(8080)
    assert lab.internet.ask(NAT_NODE, 8080) == "unreachable"


def test_fault_s30_who_may_not_reach_the_outside_cannot_ask_it_for_names(lab):
    """Through no port, and not by a flow from before the change."""
    lab.want(WITH_NAT, replace(NODE, id=8, ip=LAN_NODE))
    assert (lab.nat.look_up(53, 4000), lab.nat.ask(SERVER, RESOLVER_PORT)) == ("54", NAT_NODE)
    assert (lab.lan.look_up(53), lab.lan.look_up(RESOLVER_PORT)) == ("53", "unreachable")
    assert lab.lan.ask(SERVER, RESOLVER_PORT) == "unreachable"
    lab.want(NODE)
    assert (lab.nat.look_up(53), lab.nat.look_up(53, 4000)) == ("53", "unreachable")


HEAR = """
import socket
with socket.socket(type=socket.SOCK_DGRAM) as listener:
    listener.bind(("0.0.0.0", 5555))
    print("ready", flush=True)
    listener.settimeout(1.5)
    try:
        print(listener.recv(100).decode())
    except OSError:
        print("nothing")
"""
FORGE = """
import socket, sys
with socket.socket(type=socket.SOCK_DGRAM) as asking:
    asking.bind((sys.argv[1], 5555))
    for _ in range(3):
        asking.sendto(b"tell them", (sys.argv[2], 53))
"""
FLOOD = """
import socket, sys
for port in range(10_000, 13_000):
    with socket.socket(type=socket.SOCK_DGRAM) as asking:
        asking.bind(("0.0.0.0", port))
        asking.sendto(b"?", (sys.argv[1], 53))
"""


def test_the_platform_answers_nobody_in_the_name_of_an_outsider(lab):
    """It would carry to the outside what a node without NAT says."""
    lab.open_internet()
    lab.lan.ip(f"addr add {INTERNET}/32 dev lo")
    hearing = lab.internet._keep([*lab.internet.inside, sys.executable, "-c", HEAR])
    assert hearing.stdout.readline() == "ready\n"
    lab.lan.run(sys.executable, "-c", FORGE, INTERNET, SERVER)
    assert hearing.stdout.readline() == "nothing\n"
    lab.lan.ip(f"addr del {INTERNET}/32 dev lo")


def test_a_node_has_its_share_of_the_table_of_connections(lab):
    lab.lan.run(sys.executable, "-c", FLOOD, SERVER)
    found = int(lab.platform.run("cat", "/proc/sys/net/netfilter/nf_conntrack_count"))
    assert found <= connection_shares.TO_PLATFORM + 100
    assert [lab.nat.ask(SERVER, port) for port in OPEN] == [NAT_NODE] * len(OPEN)


def test_switching_is_live_and_survives_netemu(lab):
    lab.open_internet()
    lab.want(WITH_NAT)
    talk = lab.nat.talk(INTERNET, 80)
    assert talk.stdout.readline().strip() == HOST_OUTSIDE
    lab.netemu("install()")  # netemu starts anew
    again(talk)
    assert talk.stdout.readline().strip() == HOST_OUTSIDE
    lab.want(NODE)
    again(talk)
    assert talk.stdout.readline().strip() == "unreachable"
    lab.netemu(f"replace([node({serialization.dump(WITH_NAT)})])")
    assert lab.nat.ask(INTERNET, 80) == HOST_OUTSIDE
    lab.netemu("replace([])")
    assert lab.nat.ask(INTERNET, 80) == "unreachable"


def again(talk):
    talk.stdin.write("\n")
    talk.stdin.flush()
