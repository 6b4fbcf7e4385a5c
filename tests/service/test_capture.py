"""Captures of netemu, in a network namespace of its own: real frames on real taps, of links of every back-end."""

import contextlib
import json
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from tests.service.netemu_agent import Agent
from tests.support import pcapng
from tests.support.fakes.fake_service import serving
from tests.support.fakes.nodes import FakeNodes
from tests.support.specs import spec
from tests.support.wait import wait_until
from walt.contracts import serialization
from walt.contracts.errors import Conflict, InvalidRequest, NotFound
from walt.contracts.links import Direction, LinkModel
from walt.contracts.netemu import CaptureEnd, CaptureTarget, OpenCapture
from walt.contracts.nodes import Interface, Network

pytestmark = pytest.mark.usefixtures("as_root")  # network namespaces

INBOUND, OUTBOUND = 1, 2
LAB, HOME = Network(6, "lab-net", "alice"), Network(5, "home-net", "alice")
SLOW = LinkModel(up=Direction(10_000), down=Direction(1_000))
NODES = [
    spec(
        id=number,
        name=f"vnode{number}",
        host="lab",
        owner="alice",
        interfaces=(
            Interface(3, f"52:54:00:00:00:0{number}", HOME, SLOW if number == 1 else LinkModel()),
            Interface(4, f"52:54:00:00:01:0{number}", LAB),
        ),
    )
    for number in (1, 2)
]

# vnode1 sends COUNT frames to vnode2, and gets each one back; every second one has the VLAN tag 5.
EXCHANGE = """
import sys
from tests.links.rig import Guest
slot, count = sys.argv[1], int(sys.argv[2])
one, two = Guest("vn1" + slot, 1), Guest("vn2" + slot, 2)
while not two.numbers(0.1, stop_after=1):  # the bridge takes a moment to notice that taps are open
    one.send(1_000_000)
for number in range(count):
    tag = bytes.fromhex("81000005") if number % 2 else b""
    one.send(number, tag=tag)
    if not tag:
        assert two.numbers(5, stop_after=1)
    two.send(number, tag=tag)
    if not tag:
        assert one.numbers(5, stop_after=1)
print("done")
"""
FLOOD = """
import os, sys
from tests.links.rig import Guest
one = Guest("vn1e4", 1)
frame = bytes(10) + bytes(6) + one.mac + bytes.fromhex("88b6") + bytes(int(sys.argv[2]))
for _ in range(int(sys.argv[1])):
    os.write(one.descriptor, frame)
"""


@pytest.fixture(scope="module")
def agent(amqp_uri, tmp_path_factory):
    fake = FakeNodes(NODES)
    with serving(amqp_uri, fake):
        agent = Agent(amqp_uri, tmp_path_factory.mktemp("netemu"))
        try:
            agent.start()
            yield agent
        finally:
            agent.close()


@pytest.fixture
def ports(agent):
    for node in NODES:
        agent.attach(node)
    yield agent
    wait_until(lambda: not processes(), what="the processes of captures end with their readers")


def processes():
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if b"services.netemu.capture.process" in path.read_bytes():
                found.append(int(path.parent.name))
    return found


def start(agent, network="lab-net", node=1, owner="alice", **arguments):
    port = CaptureTarget(node, f"vnode{node}", owner, network)
    found = agent.call("open_capture", target=serialization.dump(port), **arguments)
    return serialization.load(OpenCapture, found)


class Reader:
    """One who reads a capture; `begin` makes it read, `end` asks for the end."""

    def __init__(self, agent, opened, path):
        argv = [*agent.inside, sys.executable, "-m", "tests.service.capture_reader", opened.address, opened.key, path]
        pipe = subprocess.PIPE
        self.path = path
        self.process = subprocess.Popen(argv, stdin=pipe, stdout=pipe, text=True)

    def begin(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def end(self):
        self.process.stdin.close()
        return self.result()

    def result(self):
        """(CaptureEnd, the file)"""
        told = self.process.stdout.read()
        assert self.process.wait(10) == 0
        self.process.stdin.close()
        self.process.stdout.close()
        return serialization.load(CaptureEnd, json.loads(told)), pcapng.read(self.path.read_bytes())

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()


@pytest.fixture
def read(agent, tmp_path):
    def read(opened, begin=True):
        reader = Reader(agent, opened, tmp_path / f"{opened.address}.pcapng")
        if begin:
            reader.begin()
        return reader

    return read


def exchange(agent, slot, count=20):
    assert agent.run(sys.executable, "-c", EXCHANGE, slot, str(count)) == "done\n"


def own(frames):
    """Those of EXCHANGE: (direction, number, tag), once it had begun."""
    found = []
    for frame in frames:
        tag = frame.data[12:16] if frame.data[12:14] == b"\x81\x00" else b""
        rest = frame.data[12 + len(tag) :]
        if rest[:2] == b"\x88\xb5" and (number := int.from_bytes(rest[2:6], "big")) < 1_000_000:
            found.append((frame.direction, number, tag.hex()))
    return found


@pytest.mark.parametrize(("slot", "network", "link"), [("e3", "home-net", SLOW), ("e4", "lab-net", LinkModel())])
def test_every_frame_that_the_node_sends_and_receives_is_in_the_file(ports, read, slot, network, link):
    """Through the bridge alone, and through an emulated link: at the node's end of it."""
    before_ns = time.time_ns()
    reader = read(start(ports, network))
    exchange(ports, slot)
    time.sleep(0.1)  # the last one is under way
    end, file = reader.end()
    expected = [(way, number, "81000005" if number % 2 else "") for number in range(20) for way in (OUTBOUND, INBOUND)]
    assert sorted(own(file.frames)) == sorted(expected)
    assert (end.captured, end.missed, end.fault) == (len(file.frames), 0, "")
    assert file.statistics == (end.captured, 0)
    shown = "lat" if link.shapes else "plain"
    assert file.comment.startswith(f"node vnode1, network {network} of alice, link {shown}")
    times = [frame.time_ns for frame in file.frames]
    assert before_ns < times[0] and times[-1] < time.time_ns() and times == sorted(times)
    assert any(time_ns % 1000 for time_ns in times), "nanoseconds"


def test_link_adds_its_delay_between_the_two_files(ports, read):
    readers = [read(start(ports, "home-net", node)) for node in (1, 2)]
    exchange(ports, "e3")
    sent, received = ([one for one in reader.end()[1].frames if one.data[6:12][-1] == 1] for reader in readers)
    delays_ms = [(b.time_ns - a.time_ns) / 1e6 for a in sent for b in received if a.data == b.data]
    assert len(delays_ms) >= 20 and 8 < min(delays_ms) < 14


@pytest.mark.parametrize(
    ("expression", "tags"),
    [
        ("ether src 02:00:00:00:00:01", {"", "81000005"}),
        ("vlan 5", {"81000005"}),
        ("not vlan", {""}),
        ("vlan 6", set()),
    ],
)
def test_filter(ports, read, expression, tags):
    reader = read(start(ports, expression=expression))
    exchange(ports, "e4")
    end, file = reader.end()
    assert {tag for _, _, tag in own(file.frames)} == tags
    assert (OUTBOUND in {way for way, _, _ in own(file.frames)}) == bool(tags)
    assert (INBOUND in {way for way, _, _ in own(file.frames)}) == (bool(tags) and "src" not in expression)
    assert end.captured == len(file.frames)
    assert file.options[pcapng.INTERFACE][11] == b"\0" + expression.encode()


@pytest.mark.parametrize(
    ("expression", "reason"),
    [
        ("tcp prot 80", "filter 'tcp prot 80': can't parse filter expression: syntax error; allowed: a filter"),
        ("port nosuch", "unknown port 'nosuch'"),
        ("host foo.invalid", "unknown host 'foo.invalid'"),
        ("-w /tmp/x", "syntax error"),
        (" or ".join(f"host 10.{i // 250}.{i % 250}.1" for i in range(1500)), "too much time or memory to compile"),
    ],
    ids=lambda text: text[:20],
)
def test_a_filter_that_is_none_is_refused_with_its_reason_before_anything_starts(ports, expression, reason):
    with pytest.raises(InvalidRequest) as refused:
        start(ports, expression=expression)
    assert reason in str(refused.value) and not processes()


def test_other_ports_are_refused(ports):
    with pytest.raises(NotFound, match="vnode1 has no port on 'walt-net' now; allowed: home-net, lab-net"):
        start(ports, "walt-net")
    with pytest.raises(Conflict, match="has no port yet"):
        start(ports, node=3)
    with pytest.raises(Conflict, match="has no port yet"):
        start(ports, owner="bob")


def test_ends_by_itself_after_so_many_frames(ports, read):
    reader = read(start(ports, expression="ether src 02:00:00:00:00:02", count=3))
    exchange(ports, "e4")
    end, file = reader.result()
    assert (end.captured, len(file.frames), end.fault) == (3, 3, "")
    assert [number for _, number, _ in own(file.frames)] == [0, 1, 2]


def test_of_a_flood_nothing_is_lost_uncounted_and_the_link_has_no_loss(ports, read):
    """The reader sleeps: what does not fit is left out of the capture, and told exactly."""
    sent, size = 100_000, 1000
    before = next(one for one in ports.ports() if one.node_id == 1 and one.slot == 4)
    reader = read(start(ports, expression="ether proto 0x88b6"), begin=False)
    ports.run(sys.executable, "-c", FLOOD, str(sent), str(size))
    reader.begin()
    end, file = reader.end()
    assert end.captured + end.missed == sent and 1000 < end.captured < sent / 2
    assert len(file.frames) == end.captured and file.statistics == (sent, end.missed)
    after = next(one for one in ports.ports() if one.node_id == 1 and one.slot == 4)
    assert after.up.frames - before.up.frames == sent and after.up.dropped == before.up.dropped


def test_its_process_has_no_rights(ports, read):
    reader = read(start(ports), begin=False)

    def rights():
        return dict(line.split(":\t", 1) for line in Path(f"/proc/{processes()[0]}/status").read_text().splitlines())

    wait_until(lambda: processes() and rights()["Uid"].split() == ["65534"] * 4)
    assert int(rights()["CapEff"], 16) == int(rights()["CapPrm"], 16) == 0 and rights()["NoNewPrivs"] == "1"
    limits = Path(f"/proc/{processes()[0]}/limits")
    wait_until(lambda: "Max open files            2 " in limits.read_text())
    assert "Max processes             0 " in limits.read_text()
    reader.kill()


def test_nobody_reads_it_without_its_key(ports, read):
    opened = start(ports)
    stranger = read(replace(opened, key="0" * 32))
    assert stranger.process.wait(10) != 0
    stranger.kill()
    end, _ = read(opened).end()
    assert end.fault == ""


def test_says_so_when_the_port_goes(ports, read):
    reader = read(start(ports, "home-net"))
    exchange(ports, "e3", 4)
    ports.attach(replace(NODES[0], interfaces=NODES[0].interfaces[1:]))
    end, file = reader.result()
    assert end.fault.startswith("the port is gone") and end.captured == len(file.frames) >= 8


def test_survives_a_restart_of_netemu(ports, read):
    reader = read(start(ports))
    ports.kill()
    exchange(ports, "e4", 4)
    ports.start()
    end, file = reader.end()
    assert len(own(file.frames)) == 8 == end.captured - 1 or end.captured >= 8


def test_nobody_who_asked_for_it_reads_it(ports):
    start(ports)
    assert processes()
    wait_until(lambda: not processes(), 20)
