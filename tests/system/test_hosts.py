"""Two hosts: nodes on both, a network that spans them, a host that falls silent."""

from __future__ import annotations

import json
import os
import re
import time

import pytest

from deploy.local.instance import Instance
from tests.support.wait import wait_until
from tests.system.platform import Platform
from walt.contracts.hosts import UNREACHABLE_AFTER_S

SETTINGS = ("boot.delay=0", "cpu.cores=1", "ram=256M", "networks=walt-net,home-net[lat=10ms]")
ROUND_TRIP = re.compile(r"min/avg/max(?:/mdev)? = ([\d.]+)/")


@pytest.fixture(scope="module")
def hosts(capable):
    """A platform of its own, with two hosts: nodes of the shared one are to stay on its only host."""
    platform = Platform(Instance(f"hosts{os.getpid() % 100_000}"))
    try:
        platform.bring_up(("default=small",), ("alice",))
        done = platform.local("up", "--hosts", "2")  # of a platform that is up
        assert done.status == 0, done.stderr
        yield platform
    finally:
        done = platform.local("clean")
        assert done.status == 0, done.stderr


@pytest.fixture(scope="module")
def names(hosts):
    """Of the hosts, the server's first."""
    rows = json.loads(hosts.walt("host", "list", "-o", "json").stdout)
    return [row["name"] for row in rows]


@pytest.fixture(scope="module", autouse=True)
def nodes(hosts, names):
    """vnode1 on the first host, vnode2 on the second."""
    settings = [word for one in SETTINGS for word in ("-c", one)]
    for node, host in zip(("vnode1", "vnode2"), names, strict=True):
        hosts.walt("node", "create", node, "--host", host, *settings)
    hosts.walt("node", "wait", "vnode1,vnode2", timeout=300)


def shown(hosts, node):
    (row,) = json.loads(hosts.walt("node", "show", node, "-o", "json").stdout)
    return row


def state(hosts, node):
    return shown(hosts, node)["state"]


def on(hosts, node, command, check=True):
    return hosts.walt("node", "run", node, "--", command, check=check, timeout=240).stdout


def test_each_node_is_where_it_was_to_go(hosts, names):
    assert [shown(hosts, node)["host"] for node in ("vnode1", "vnode2")] == names
    assert all(row["nodes"] == 1 for row in json.loads(hosts.walt("host", "list", "-o", "json").stdout))


def test_a_network_spans_both_with_the_latency_that_was_asked(hosts):
    on(hosts, "vnode1", "ping -c 5 vnode2.home-net")
    for sender, receiver in (("vnode1", "vnode2"), ("vnode2", "vnode1")):
        printed = on(hosts, sender, f"ping -c 20 -i 0.3 {receiver}.home-net")
        least_ms = float(ROUND_TRIP.search(printed)[1])
        assert 19.5 < least_ms < 22, printed


def test_the_node_of_the_second_host_has_all_that_others_have(hosts):
    assert on(hosts, "vnode2", "cat /etc/hostname").strip() == "vnode2"
    assert "1 received" in on(hosts, "vnode1", "ping -c 1 vnode2").replace("packets received", "received")
    assert "vnode2" in hosts.walt("node", "console", "vnode2", "--log").stdout
    assert hosts.walt("node", "ping", "vnode2", "--count", "1").status == 0
    hosts.walt("network", "link", "vnode2", "home-net", "lat=30ms")
    wait_until(lambda: float(ROUND_TRIP.search(on(hosts, "vnode1", "ping -c 3 vnode2.home-net"))[1]) > 39.5, 60)
    hosts.walt("network", "link", "vnode2", "home-net", "lat=10ms")


def test_a_large_frame_passes(hosts):
    for node in ("vnode1", "vnode2"):
        on(hosts, node, "ip link set ens3 mtu 9000")
    assert "0% packet loss" in on(hosts, "vnode1", "ping -c 2 -s 8900 vnode2.home-net")


def test_agents_that_are_killed_interrupt_nothing(hosts):
    before = on(hosts, "vnode2", "cat /proc/sys/kernel/random/boot_id")
    for agent in ("netemu-2", "vmrunner-2", "console-2"):
        hosts.kill(agent)
    assert "0% packet loss" in on(hosts, "vnode1", "ping -c 3 vnode2.home-net")
    wait_until(lambda: on(hosts, "vnode2", "cat /proc/sys/kernel/random/boot_id", check=False) == before, 60)
    assert state(hosts, "vnode2") == "booted"


def test_a_host_that_says_nothing_is_unreachable_and_its_nodes_go_on(hosts, names):
    before = on(hosts, "vnode2", "cat /proc/sys/kernel/random/boot_id")
    hosts.stop("vmrunner-2")
    try:
        stopped_at = time.monotonic()
        wait_until(lambda: state(hosts, "vnode2") == "unreachable", 60)
        assert time.monotonic() - stopped_at > UNREACHABLE_AFTER_S / 2
        assert shown(hosts, "vnode2")["reason"] == f"host {names[1]} does not answer; it was booted before"
        assert state(hosts, "vnode1") == "booted"
        assert "0% packet loss" in on(hosts, "vnode1", "ping -c 3 vnode2.home-net")
        done = hosts.walt("doctor", check=False)
        assert done.status == 1 and f"host {names[1]}" in done.stdout
    finally:
        hosts.resume("vmrunner-2")
    wait_until(lambda: state(hosts, "vnode2") == "booted", 60)
    assert on(hosts, "vnode2", "cat /proc/sys/kernel/random/boot_id") == before


def test_a_drained_host_gets_no_node(hosts, names):
    done = hosts.walt("host", "drain", names[1], user="alice", check=False)
    assert done.status == 5 and "administrator" in done.stderr
    done = hosts.walt("node", "create", "vnode3", "--host", "nowhere", check=False)
    assert done.status != 0 and "no host 'nowhere'" in done.stderr


def test_a_node_moves_with_its_disks_whoever_is_killed(hosts, names):
    """vnode2 has written to its disk and to /persist; the vmrunner that fetches them is killed in the middle."""
    hosts.walt("node", "config", "vnode2", "disks=200M[template=ext4]")
    hosts.walt("node", "reboot", "vnode2")
    hosts.walt("node", "wait", "vnode2", timeout=300)
    on(hosts, "vnode2", "mkdir -p /mnt && mount /dev/vda1 /mnt && head -c 90000000 /dev/urandom > /mnt/data && sync")
    on(hosts, "vnode2", "echo mine > /persist/note && sync")
    before = on(hosts, "vnode2", "sha256sum < /mnt/data")
    hosts.walt("node", "config", "vnode2", f"host={names[0]}")
    assert shown(hosts, "vnode2")["host"] == names[1], "not before its next boot"
    hosts.walt("node", "reboot", "vnode2")
    wait_until(lambda: "its disks come from" in shown(hosts, "vnode2")["reason"], 120, pause_s=0.1)
    hosts.kill("vmrunner")
    hosts.walt("node", "wait", "vnode2", timeout=300)
    assert shown(hosts, "vnode2")["host"] == names[0]
    assert on(hosts, "vnode2", "mount /dev/vda1 /mnt && sha256sum < /mnt/data") == before
    assert on(hosts, "vnode2", "cat /persist/note") == "mine\n"
    assert "0% packet loss" in on(hosts, "vnode1", "ping -c 3 vnode2.home-net")
    wait_until(lambda: json.loads(hosts.walt("host", "show", names[1], "-o", "json").stdout)[0]["nodes"] == 0, 60)


def test_a_host_is_emptied_by_its_administrator(hosts, names):
    assert hosts.local("user", "admin", "--admin").status == 0
    done = hosts.walt("host", "drain", names[0], "--move", user="admin", timeout=300)
    assert f"vnode1: goes to host {names[1]}" in done.stderr and "2 nodes have gone with their disks" in done.stderr
    hosts.walt("node", "wait", "vnode1,vnode2", timeout=300)
    assert {shown(hosts, node)["host"] for node in ("vnode1", "vnode2")} == {names[1]}
    assert on(hosts, "vnode2", "cat /persist/note") == "mine\n"
    hosts.walt("host", "undrain", names[0], user="admin")


def test_removed_nodes_leave_nothing_behind(hosts):
    hosts.walt("node", "remove", "vnode1,vnode2", "--force")
    wait_until(lambda: not hosts.machines(), 60)
    wait_until(lambda: hosts.bridges() == {"walt-net", "underlay"}, 60)
