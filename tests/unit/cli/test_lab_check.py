"""How expectations are measured, from what ping and ip print; what goes into nodes, and when again."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time

import pytest

from cli.lab import measure, node_scripts, work
from cli.lab.measure import Measured, NodeAddresses
from tests.unit.cli.fakes import node_view
from walt.contracts.labs import LabDocument, LabExpectation, LabFile, LabNetwork, LabNode

IPUTILS = """\
PING 192.168.55.2 (192.168.55.2) 56(84) bytes of data.
64 bytes from 192.168.55.2: icmp_seq=1 ttl=64 time=61.7 ms
64 bytes from 192.168.55.2: icmp_seq=2 ttl=64 time=20.1 ms
64 bytes from 192.168.55.2: icmp_seq=3 ttl=64 time=20.3 ms

--- 192.168.55.2 ping statistics ---
4 packets transmitted, 3 received, 25% packet loss, time 402ms
rtt min/avg/max/mdev = 20.100/34.033/61.700/19.561 ms
"""
BUSYBOX = """\
64 bytes from 192.168.55.2: seq=0 ttl=64 time=61.700 ms
64 bytes from 192.168.55.2: seq=1 ttl=64 time=20.200 ms
4 packets transmitted, 2 packets received, 50% packet loss
"""
LOST = "3 packets transmitted, 0 received, 100% packet loss, time 402ms\n"


@pytest.mark.parametrize(
    ("kind", "output", "found"),
    [
        ("rtt", IPUTILS, Measured("20.2ms", 20_200)),
        ("rtt", BUSYBOX, Measured("20.2ms", 20_200)),
        ("rtt", LOST, Measured("no answer")),
        ("loss", IPUTILS, Measured("25% of 4", 250_000)),
        ("loss", LOST, Measured("no answer", 1e6)),
        ("reach", BUSYBOX, Measured("reached", 1.0)),
        ("reach", LOST, Measured("not reached", 0.0)),
        ("rtt", "ping: connect: Network is unreachable\n", Measured("ping: connect: Network is unreachable")),
        ("loss", "", Measured("no answer")),
    ],
)
def test_what_ping_says(kind, output, found):
    assert measure.parse_ping(kind, output) == found


def test_addresses_of_a_node():
    found = measure.parse_addresses(
        "mac lo 00:00:00:00:00:00\nmac ens3 52:54:00:00:00:AA\nmac tun0 \n"
        "1: lo    inet 127.0.0.1/8 scope host lo\n"
        "3: ens3    inet6 fe80::1/64 scope link \\       valid_lft forever\n"
        "3: ens3    inet6 fd00::2/64 scope global \n"
        "3: ens3    inet 192.168.55.2/24 brd 192.168.55.255 scope global ens3\\       valid_lft forever\n"
    )
    other = NodeAddresses({"02": "eth1"}, {})
    assert measure.destination(found, "52:54:00:00:00:aa", other, "02") == "192.168.55.2"
    assert measure.destination(found, "unknown", other, "02") is None
    chosen = measure.destination(found, "52:54:00:00:00:aa", other, "02", ["10.9.9.9", "fd00::2"])
    assert chosen == "fd00::2"  # of the platform, before others of its user
    local = NodeAddresses(found.macs, {"ens3": ["fe80::1"]})
    assert measure.destination(local, "52:54:00:00:00:aa", other, "02") == "fe80::1%eth1"
    assert measure.destination(local, "52:54:00:00:00:aa", other, "") is None


def test_network_that_is_meant():
    nodes = {
        "a": node_view("a", config={"networks": "walt-net,lab/x,lab/y"}),
        "b": node_view("b", config={"networks": "walt-net,lab/y,far"}),
        "c": node_view("c", config={"networks": "walt-net"}),
    }
    document = LabDocument("lab", (), (LabNetwork("far", (), is_external=True),))

    def target(*names, network=""):
        return measure.target_network(document, LabExpectation("reach", names, network=network), nodes)

    assert (target("a", "B"), target("a", "c"), target("a", "b", network="x")) == ("lab/y", "walt-net", "lab/x")
    assert (target("a", "b", network="far"), target("a", "b", network="walt-net")) == ("far", "walt-net")


@pytest.mark.parametrize(
    ("one", "measured", "met"),
    [
        (LabExpectation("reach", ("a", "b")), Measured("", 1.0), True),
        (LabExpectation("reach", ("a", "b"), "no"), Measured("", 1.0), False),
        (LabExpectation("reach", ("a", "b"), "no"), Measured("", 0.0), True),
        (LabExpectation("reach", ("a", "b"), "no"), Measured("ping: bad address"), False),
        (LabExpectation("rtt", ("a", "b"), "20ms ± 2%"), Measured("", 20_400), True),
        (LabExpectation("rtt", ("a", "b"), "20ms ± 2%"), Measured("", 20_401), False),
        (LabExpectation("rtt", ("a", "b"), "below 20ms"), Measured("no answer"), False),
    ],
)
def test_whether_it_is_met(one, measured, met):
    assert measure.is_met(one, measured) == met


def test_rate_is_measured_between_two_processes():
    receiver, sender = (["sh", "-c", script] for script in measure.rate_scripts("127.0.0.1"))
    environment = {**os.environ, "PATH": f"{os.path.dirname(sys.executable)}:{os.environ['PATH']}"}
    running = subprocess.Popen(receiver, stdout=subprocess.PIPE, text=True, env=environment)
    subprocess.run(sender, check=True, env=environment)
    output, _ = running.communicate(timeout=20)
    value = measure.parse_rate(output).value
    assert value and value > 1e6
    assert measure.parse_rate("python3 is not in this node\n") == Measured("python3 is not in this node")
    assert measure.parse_rate("") == Measured("no connection")


def run(script):
    return subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=False)


def test_first_command_that_fails_is_told_and_ends_it(tmp_path, monkeypatch):
    monkeypatch.setattr(work, "MARK", str(tmp_path / "mark"))
    node = LabNode("a", run=(f"echo 'it''s $HOME' > {tmp_path}/one", "sh -c 'exit 3'", f"touch {tmp_path}/never"))
    done = run(work.script(node, "digest"))
    assert (done.returncode, done.stderr) == (1, "exit status 3: sh -c 'exit 3'\n")
    assert (tmp_path / "one").exists() and not (tmp_path / "never").exists() and not (tmp_path / "mark").exists()
    assert run(work._read_mark("digest")).returncode == 1
    assert run(work.script(LabNode("a", run=("true",)), "digest")).returncode == 0
    assert [run(work._read_mark(one)).returncode for one in ("digest", "other")] == [0, 1]
    (tmp_path / "mark").write_text("digest of-another-boot\n")
    assert run(work._read_mark("digest")).returncode == 1


def test_digest_changes_with_the_lab_and_with_the_files(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data/one").write_text("1")
    node = LabNode("a", files=(LabFile("data", "/x"),))
    seen = {work.digest(node, tmp_path)}
    assert work.digest(node, tmp_path) in seen
    (tmp_path / "data/one").write_text("12")
    seen.add(work.digest(node, tmp_path))
    (tmp_path / "data/two").write_text("")
    seen.add(work.digest(node, tmp_path))
    seen.add(work.digest(LabNode("a", files=node.files, run=("x",)), tmp_path))
    assert len(seen) == 4
    assert work.missing_files(LabDocument("d", (node,)), tmp_path) == []
    (fault,) = work.missing_files(LabDocument("d", (node,)), tmp_path / "data")
    assert fault.path == ("nodes", "a", "files", "data") and fault.sentence.startswith("there is no file '")


def test_what_one_node_prints_is_told_from_what_another_does():
    collector = node_scripts._Collector("a")
    for data, stream in ((b"a: a: x\n", "out"), (b"a: oops\n", "err"), (b"a: y\n", "out")):
        collector.write(data, stream)
    assert collector.text == "a: x\ny"
    assert node_scripts.as_argv("echo 'x y'") == ["sh", "-c", "'echo '\"'\"'x y'\"'\"''"]


def test_sender_waits_for_a_receiver_that_starts_late():
    port = measure.PORT
    _, sender = measure.rate_scripts("127.0.0.1")
    with subprocess.Popen(["sh", "-c", sender], stderr=subprocess.PIPE, text=True) as process:
        time.sleep(2)
        with socket.create_server(("127.0.0.1", port)) as listener:
            listener.settimeout(20)
            listener.accept()[0].close()
        assert process.communicate(timeout=20)[1] == ""
