"""What a person does with nodes that run: names, files, commands on several, ports, power, images of one's own."""

import csv
import io
import json
import re
import select
import signal
import socket
import struct
import time
from collections import defaultdict
from pathlib import Path

import pytest
import yaml

from tests.support import pcapng
from tests.support.wait import wait_until


@pytest.fixture(scope="module", autouse=True)
def nodes(walt):
    settings = ("boot.delay=0", "cpu.cores=1", "ram=256M", "networks=walt-net,lab[lat=5ms]")
    walt("node", "create", "left", "right", *(word for one in settings for word in ("-c", one)), "--wait", timeout=240)
    yield
    for one in json.loads(walt("node", "show", "-o", "json").stdout):
        walt("node", "remove", one["name"], "--force")


def view(walt, name, user="alice"):
    return json.loads(walt("node", "show", name, "-o", "json", user=user).stdout)[0]


def on(walt, node, command, check=True):
    return walt("node", "run", node, "--", command, check=check, timeout=240)


def test_nodes_know_each_other_by_name(walt):
    assert f"({view(walt, 'right')['ip']})" in on(walt, "left", "ping -c 1 right").stdout
    assert on(walt, "left", "ping -c 1 right.walt").status == 0
    assert on(walt, "left", "ping -c 1 nobody", check=False).status != 0


def test_ping_from_the_server(walt):
    done = walt("node", "ping", "left", "--count", "2", user="bob")
    assert "2 received" in done.stdout


def test_fault_06_run_on_a_set_tells_whose_words_and_how_it_ended(walt):
    done = walt("node", "run", "left,right", "--", "hostname; [ $(hostname) = left ] || exit 3", check=False)
    assert done.status == 3
    assert sorted(line.split(":")[0].strip() for line in done.stdout.splitlines()) == ["left", "right"]
    assert "right" in done.stderr
    assert "3" in done.stderr


def test_files_both_ways(walt, tmp_path):
    source = tmp_path / "source"
    (source / "inner").mkdir(parents=True)
    (source / "inner" / "bytes").write_bytes(bytes(range(256)) * 1000)
    (source / "script").write_text("#!/bin/sh\necho it runs\n")
    (source / "script").chmod(0o755)
    walt("node", "cp", str(source), "left:/root")
    assert on(walt, "left", "/root/source/script").stdout == "it runs\n"
    walt("node", "cp", "left:/root/source/inner", str(tmp_path / "back"))
    assert (tmp_path / "back" / "bytes").read_bytes() == (source / "inner" / "bytes").read_bytes()
    assert walt("node", "cp", "left:/nosuch", str(tmp_path), check=False).status == 3


def test_expose_a_port(walt, platform):
    on(walt, "left", "(while true; do echo hello from left | nc -l -p 8000; done) >/dev/null 2>&1 &")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    forward = platform.start("node", "expose", "left", "8000", str(port))
    try:
        wait_until(lambda: answer(port) == b"hello from left\n", 20, "the node answers on the exposed port", 0.5)
        wait_until(lambda: answer(port) == b"hello from left\n", 20, "and again", 0.5)
    finally:
        forward.terminate()
        forward.communicate(timeout=10)


def answer(port):
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
            return connection.recv(100)
    except OSError:
        return b""


def test_network_show_and_link(walt):
    walt("node", "run", "left,right", "--", "true")
    on(walt, "left", "ip addr add 10.9.0.1/24 dev ens3")
    on(walt, "right", "ip addr add 10.9.0.2/24 dev ens3")
    walt("network", "link", "left", "lab", "lat=30ms", "loss=0%")
    done = on(walt, "left", "ping -c 5 10.9.0.2")
    times = [float(word.removeprefix("time=")) for word in done.stdout.split() if word.startswith("time=")]
    assert min(times) > 33.0
    ports = json.loads(walt("network", "show", "left", "-o", "json").stdout)
    (lab,) = [port for port in ports if port["network"] == "lab"]
    assert lab["asked"] == "lat=30ms"
    assert lab["state"] == "up"
    assert lab["up"]["frames"] >= 5
    walt("network", "link", "left", "lab", "--replace", "bw=10Mbps")
    assert "bw=10Mbps" in walt("node", "config", "left").stdout
    assert "lat" not in walt("node", "config", "left").stdout
    assert walt("network", "link", "left", "nosuch", "lat=1ms", check=False).status == 3


def test_capture_of_a_ping(walt, platform, tmp_path):
    """Of the node's end of an emulated link: each request and each reply once, in both captures."""
    walt("network", "link", "left", "lab", "--replace", "lat=30ms")
    files = {node: tmp_path / f"{node}.pcapng" for node in ("left", "right")}
    running = [
        platform.start("network", "capture", node, "lab", "-w", str(path), "--filter", "icmp")
        for node, path in files.items()
    ]
    try:
        for process in running:
            assert b"capturing" in process.stderr.readline()
        on(walt, "left", "ping -4 -c 4 -i 0.3 right.lab")
    finally:
        for process in running:
            process.send_signal(signal.SIGINT)
        ends = [(process.communicate(timeout=20)[1].decode(), process.returncode) for process in running]
    assert ends == [("8 frames captured, 0 not captured\n", 0)] * 2
    sent, received = ([frame for frame in echoes(path)] for path in files.values())
    assert [one[1:] for one in sent] == [(2, 8), (1, 0)] * 4 and [one[1:] for one in received] == [(1, 8), (2, 0)] * 4
    delays_ms = [(there[0] - here[0]) / 1e6 for here, there in zip(sent[::2], received[::2], strict=True)]
    assert all(15 < one < 45 for one in delays_ms), "30, less what the node itself takes"
    assert pcapng.read(files["left"].read_bytes()).comment.startswith("node left, network lab of alice, link lat=30ms")
    assert walt("network", "capture", "left", "lab", "-w", "-", "--filter", "icpm", check=False).status == 2
    assert walt("network", "capture", "left", "lab", "-w", "-", user="bob", check=False).status == 4
    wait_until(lambda: not captures(platform), 20, "nothing stays behind")


def test_both_ends_of_a_link_in_one_capture(walt, platform, tmp_path):
    walt("network", "link", "left", "lab", "--replace", "lat=30ms")
    path = tmp_path / "both.pcapng"
    words = ("network", "capture", "left", "lab", "--with", "right", "-w", str(path), "--filter", "icmp")
    process = platform.start(*words)
    try:
        assert b"capturing left and right on lab" in process.stderr.readline()
        on(walt, "left", "ping -4 -c 4 -i 0.3 right.lab")
    finally:
        process.send_signal(signal.SIGINT)
        said, status = process.communicate(timeout=20)[1].decode(), process.returncode
    assert status == 0 and set(said.splitlines()) == {
        f"{one}: 8 frames captured, 0 not captured" for one in ("left", "right")
    }
    found = defaultdict(list)
    for kind, body in pcapng.blocks(path.read_bytes()):
        if kind == pcapng.PACKET:
            (size,) = struct.unpack_from("<I", body, 12)
            options = pcapng.options_of(body[20 + size + -size % 4 :])
            found[options[5]].append((body[0], options[1].decode()))
    assert [[end for end, _ in pair] for pair in found.values()] == [[0, 1], [1, 0]] * 4
    delays_ms = [float(re.fullmatch(r"delayed ([0-9.]+) ms", pair[1][1])[1]) for pair in found.values()]
    assert all(15 < one < 45 for one in delays_ms[::2]) and all(one < 15 for one in delays_ms[1::2])


def echoes(path):
    """(time in ns, direction, type) of each ICMP echo in the file."""
    frames = pcapng.read(path.read_bytes()).frames
    return [
        (one.time_ns, one.direction, one.data[34]) for one in frames if one.data[23] == 1 and one.data[34] in (0, 8)
    ]


def captures(platform):
    return [one for one in platform.inside("ps", "-eo", "args").stdout.splitlines() if "netemu.capture.process" in one]


def test_every_form_of_output_says_the_same(walt):
    as_json = json.loads(walt("node", "show", "-o", "json").stdout)
    assert yaml.safe_load(walt("node", "show", "-o", "yaml").stdout) == as_json
    rows = list(csv.DictReader(io.StringIO(walt("node", "show", "-o", "csv").stdout)))
    assert [row["name"] for row in rows] == [node["name"] for node in as_json]
    assert as_json[0]["mac"] in walt("node", "show", "-o", "wide").stdout


def test_log_tells_who_did_what_and_what_followed(walt):
    events = json.loads(walt("log", "show", "left", "-o", "json").stdout)
    assert ("create", "alice") in {(event["kind"], event["user"]) for event in events}
    states = [event["text"].partition(":")[0] for event in events if event["kind"] == "state"]
    assert [one for one in ("loading", "booting", "booted") if one not in states] == []


def test_log_follows(walt, platform):
    def line():
        assert select.select([follower.stdout], [], [], 30)[0], "it says nothing"
        return follower.stdout.readline().decode()

    follower = platform.start("log", "show", "right", "--follow", "-n", "1")
    try:
        line()  # the newest before
        walt("node", "config", "right", "boot.retries=3")
        followed = line()
        assert all(word in followed for word in ("right", "boot.retries=3", "alice"))
    finally:
        follower.terminate()
        follower.communicate(timeout=10)


def test_fault_08_takeover_is_logged_and_shown_to_the_former_owner(walt):
    walt("node", "create", "prize", "-c", "boot.delay=60")
    walt("node", "acquire", "prize", "--force", user="bob")
    assert "bob" in walt("node", "show").stderr
    assert "takeover" in {event["kind"] for event in json.loads(walt("log", "show", "prize", "-o", "json").stdout)}
    walt("node", "remove", "prize", user="bob")


def test_save_boots_again_with_what_was_changed(walt):
    on(walt, "left", "echo saved > /root/mine && rm /etc/os-release && mkdir /opt && echo deep > /opt/file")
    walt("node", "save", "left", "mine", timeout=240)
    assert walt("node", "boot", "right", "alice/mine", user="bob", check=False).status == 5
    walt("node", "boot", "right", "mine")
    walt("node", "wait", "right", timeout=240)
    assert view(walt, "right")["image"] == "alice/mine"
    assert on(walt, "right", "cat /root/mine /opt/file; hostname; ls /etc/os-release", check=False).stdout.split() == [
        "saved",
        "deep",
        "right",
    ]
    assert "alice/mine" in walt("image", "show").stdout


def test_fault_20_rename_reaches_everything(walt):
    walt("node", "rename", "right", "moved")
    assert walt("node", "show", "right", check=False).status == 3
    wait_until(lambda: on(walt, "left", "ping -c 1 moved", check=False).status == 0, 10, "the new name is known")
    assert on(walt, "left", "ping -c 1 right", check=False).status != 0
    walt("node", "boot", "moved", "default")
    walt("node", "wait", "moved", timeout=240)
    assert on(walt, "moved", "hostname; cat /root/mine", check=False).stdout == "moved\n", "its saved image is left"
    assert "moved" in walt("node", "console", "moved", "--log").stdout


def test_fault_02_stop_and_start(walt, platform):
    walt("node", "stop", "left")
    walt("node", "wait", "left", "--for", "stopped", timeout=60)
    assert not any(" left " in line for line in platform.machines().values())
    assert walt("node", "wait", "left", "--timeout", "1", check=False).status == 124
    walt("node", "start", "left", "--wait", timeout=240)
    assert view(walt, "left")["state"] == "booted"


def test_fault_02_power_off_from_inside_stays_off(walt):
    on(walt, "left", "poweroff >/dev/null 2>&1 &", check=False)
    walt("node", "wait", "left", "--for", "stopped", timeout=60)
    assert "powered off" in view(walt, "left")["reason"]
    time.sleep(2)
    assert view(walt, "left")["state"] == "stopped"


def test_a_boot_that_memory_does_not_allow_waits(walt, platform):
    total = int(Path("/proc/meminfo").read_text().split()[1]) * 1024
    with platform.changed("vmrunner", WALT_MEMORY_FACTOR=f"{1.1 * 2**30 / total:.4f}"):
        walt("node", "create", "large", "-c", "ram=1G", "-c", "boot.delay=0")
        wait_until(lambda: "memory" in view(walt, "large")["reason"], 30, "it waits for memory")
        assert view(walt, "large")["state"] == "delaying"
        assert view(walt, "moved")["state"] == "booted"
        walt("node", "remove", "large")


def test_more_than_the_host_could_ever_hold_is_refused_at_once(walt):
    refused = walt("node", "create", "huge", "-c", "ram=9999G", "-c", "cpu.cores=0", check=False)
    assert refused.status == 2
    assert "9999G" in refused.stderr
    assert "cpu.cores" in refused.stderr
    said = walt("node", "config", "moved", "cpu.cores=64")
    assert "64" in said.stderr
