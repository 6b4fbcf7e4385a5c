"""Things break: services are killed, the broker goes away, the host lacks something. VMs never notice, and what
failed recovers by itself once it is mended."""

import json
import threading

import pytest

from tests.system.platform import wait_for

SERVICES = ("nodes", "vmrunner", "netemu", "bootserver", "console")


@pytest.fixture(scope="module")
def pair(walt):
    """Two nodes with a link of 5 ms each way between them."""
    settings = ("-c", "boot.delay=0", "-c", "networks=walt-net,wire[lat=5ms]", "-c", "cpu.cores=1", "-c", "ram=256M")
    walt("node", "create", "left", "right", *settings, "--wait", timeout=240)
    for node, address in (("left", "10.9.0.1"), ("right", "10.9.0.2")):
        walt("node", "run", node, "--", "ip", "addr", "add", f"{address}/24", "dev", "ens3")
    yield
    walt("node", "remove", "left,right")


def state_of(walt, name):
    (node,) = json.loads(walt("node", "show", name, "-o", "json").stdout)
    return node["state"], node["reason"]


def boot_id(walt, name):
    return walt("node", "run", name, "--", "cat", "/proc/sys/kernel/random/boot_id").stdout


def loss(printed):
    """Packets that ping sent and did not get back."""
    line = next(line for line in printed.splitlines() if "transmitted" in line)
    sent, received = [int(part.split()[0]) for part in line.split(",")[:2]]
    return sent - received


@pytest.mark.parametrize("service", SERVICES)
def test_fault_04_killing_a_service_interrupts_nothing(pair, walt, platform, service):
    machines = set(platform.machines())
    before = boot_id(walt, "left")
    ping = platform.start("node", "run", "right", "--", "ping", "-c", "60", "-i", "0.2", "10.9.0.1")
    try:
        wait_for(lambda: b"seq=" in ping.stdout.readline(), 30, "ping answers")
        platform.kill(service)
        if service != "console":  # the shell session itself goes through console
            printed, _ = ping.communicate(timeout=60)
            assert ping.returncode == 0
            assert loss(printed.decode()) == 0
    finally:
        ping.kill()
        ping.wait()
    wait_for(lambda: walt("node", "show", check=False).status == 0, 30, "nodes answers")
    assert set(platform.machines()) == machines
    assert state_of(walt, "left")[0] == "booted"
    assert boot_id(walt, "left") == before
    # The platform works: a node is booted anew, and the link is as before.
    walt("node", "reboot", "left", "--wait", timeout=240)
    walt("node", "run", "left", "--", "ip", "addr", "add", "10.9.0.1/24", "dev", "ens3")
    again = walt("node", "run", "right", "--", "ping", "-c", "5", "10.9.0.1").stdout
    assert loss(again) == 0


def test_broker_restart(pair, walt, platform):
    machines = set(platform.machines())
    platform.kill("rabbitmq")
    wait_for(lambda: walt("node", "show", check=False).status == 0, 60, "nodes answers again", 1)
    wait_for(lambda: walt("node", "run", "left", "--", "true", check=False).status == 0, 60, "console answers again", 1)
    assert set(platform.machines()) == machines


def test_broker_down_is_said_in_one_line(walt, platform):
    platform.stop("rabbitmq")
    try:
        done = walt("node", "show", check=False)
        assert done.status == 6
        assert "broker" in done.stderr
        assert len(done.stderr.splitlines()) == 1
    finally:
        platform.resume("rabbitmq")
        wait_for(lambda: walt("node", "show", check=False).status == 0, 60, "nodes answers again", 1)


def test_service_down_is_said(walt, platform):
    platform.stop("nodes")
    try:
        done = walt("node", "show", check=False, timeout=60)
        assert done.status == 6
        assert "nodes" in done.stderr
    finally:
        platform.resume("nodes")
        wait_for(lambda: walt("node", "show", check=False).status == 0, 60, "nodes answers again", 1)


def test_nfs_server_dead(walt, platform):
    walt("node", "create", "rootless", "-c", "boot.delay=0")
    walt("node", "wait", "rootless", timeout=240)
    platform.stop("nfs")
    try:
        walt("node", "reboot", "rootless")
        wait_for(lambda: state_of(walt, "rootless")[0] == "failed", 60, "failed")
        assert "NFS" in state_of(walt, "rootless")[1]
    finally:
        platform.resume("nfs")
    walt("node", "wait", "rootless", timeout=240)  # by itself
    walt("node", "remove", "rootless")


def test_qemu_missing(walt, platform):
    walt("node", "create", "machineless", "-c", "boot.delay=0")
    walt("node", "wait", "machineless", timeout=240)
    with platform.changed("vmrunner", WALT_QEMU="/nonexistent/qemu"):
        walt("node", "reboot", "machineless")
        wait_for(lambda: state_of(walt, "machineless")[0] == "failed", 60, "failed")
        assert "/nonexistent/qemu" in state_of(walt, "machineless")[1]
    walt("node", "wait", "machineless", timeout=240)  # by itself
    walt("node", "remove", "machineless")


def test_bridge_name_taken(walt, platform):
    """An interface that is not ours has the name of the next bridge: it stays as it is, and the node says so."""
    known = platform.bridges()
    taken = [f"net{number}" for number in range(1, 200) if f"net{number}" not in known]
    for name in taken:
        platform.inside("ip", "link", "add", name, "type", "bridge")
    try:
        walt("node", "create", "bridgeless", "-c", "boot.delay=0", "-c", "networks=walt-net,clash")
        wait_for(lambda: state_of(walt, "bridgeless")[0] == "failed", 60, "failed")
        assert any(name in state_of(walt, "bridgeless")[1] for name in taken)
    finally:
        for name in taken:
            platform.inside("ip", "link", "del", name)
    walt("node", "wait", "bridgeless", timeout=240)
    walt("node", "remove", "bridgeless")


def test_doctor_tells_what_there_is(walt):
    done = walt("doctor", check=False)
    for subject in ("accelerator", "link", "KSM", "broker", "space"):
        assert subject.lower() in done.stdout.lower(), done.stdout
    checks = json.loads(walt("doctor", "-o", "json", check=False).stdout)
    assert all({"subject", "status", "found", "consequence", "mend"} <= set(check) for check in checks)


def test_metrics_are_served_by_each_service(platform):
    for service in SERVICES:
        page = platform.metrics(service)
        assert "walt_entrypoint_calls_total" in page, service
    assert "walt_" in page


def test_concurrent_commands(walt):
    """Two people type at once: nothing is lost, nothing doubled."""
    names = [f"many{number}" for number in range(4)]
    threads = [threading.Thread(target=lambda n=name: walt("node", "create", n, check=False)) for name in names * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    shown = [node["name"] for node in json.loads(walt("node", "show", "-o", "json").stdout)]
    assert sorted(name for name in shown if name.startswith("many")) == names
    walt("node", "remove", ",".join(names))
