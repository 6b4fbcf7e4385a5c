"""Things break: services are killed, the broker goes away, the host lacks something. VMs never notice, and what
failed recovers by itself once it is mended."""

import contextlib
import json
import re
import sqlite3
import threading

import pytest

from tests.support.wait import wait_until

SERVICES = ("nodes", "vmrunner", "netemu", "bootserver", "console")
NETWORKS = "walt-net,wire[lat=5ms]"


@pytest.fixture(scope="module")
def pair(walt):
    """Two nodes with a link of 5 ms each way between them."""
    settings = ("-c", "boot.delay=0", "-c", f"networks={NETWORKS}", "-c", "cpu.cores=1", "-c", "ram=256M")
    walt("node", "create", "left", "right", *settings, "--wait", timeout=240)
    for node, address in (("left", "10.9.0.1"), ("right", "10.9.0.2")):
        on(walt, node, f"ip addr add {address}/24 dev ens3")
    yield
    walt("node", "remove", "left,right")


def on(walt, node, command, check=True):
    return walt("node", "run", node, "--", command, check=check)


def state_of(walt, name):
    (node,) = json.loads(walt("node", "show", name, "-o", "json").stdout)
    return node["state"], node["reason"]


def loss(printed):
    """Packets that ping sent and did not get back."""
    line = next(line for line in printed.splitlines() if "transmitted" in line)
    sent, received = [int(part.split()[0]) for part in line.split(",")[:2]]
    assert sent
    return sent - received


def is_well(walt, service):
    """The service answers, says doctor."""
    done = walt("doctor", "-o", "json", check=False)
    checks = json.loads(done.stdout or "[]")
    return bool(checks) and not any(one["status"] == "fail" and one["subject"].startswith(service) for one in checks)


@pytest.mark.parametrize("service", SERVICES)
def test_fault_04_killing_a_service_interrupts_nothing(pair, walt, platform, service):
    machines = set(platform.machines())
    on(walt, "right", "ping -i 0.1 10.9.0.1 > /tmp/ping 2>&1 &")  # no session of console need last as long
    platform.kill(service)
    wait_until(lambda: is_well(walt, service), 30, f"{service} answers")
    on(walt, "right", "killall -INT ping")
    answered = [int(seq) for seq in re.findall(r"seq=(\d+)", on(walt, "right", "cat /tmp/ping").stdout)]
    assert len(answered) > 5
    assert answered == list(range(len(answered)))  # the last one may have been under way when ping was ended
    assert set(platform.machines()) == machines
    assert state_of(walt, "left")[0] == "booted"


def test_after_all_were_killed_a_node_boots_and_its_link_is_as_before(pair, walt):
    walt("node", "reboot", "left", "--wait", timeout=240)
    on(walt, "left", "ip addr add 10.9.0.1/24 dev ens3")
    assert loss(on(walt, "right", "ping -c 5 -i 0.2 10.9.0.1").stdout) == 0


def test_broker_restart(pair, walt, platform):
    machines = set(platform.machines())
    platform.kill("rabbitmq")
    wait_until(lambda: walt("node", "show", check=False).status == 0, 60, "nodes answers again")
    wait_until(lambda: on(walt, "left", "true", check=False).status == 0, 60, "console answers again")
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
        wait_until(lambda: walt("node", "show", check=False).status == 0, 60, "nodes answers again")


def test_qemu_missing(pair, walt, platform):
    with platform.changed("vmrunner", WALT_QEMU="/nonexistent/qemu"):
        walt("node", "reboot", "left")
        wait_until(lambda: state_of(walt, "left")[0] == "failed", 60, "failed")
        assert "/nonexistent/qemu" in state_of(walt, "left")[1]
    walt("node", "wait", "left", timeout=240)  # by itself


def test_bridge_name_taken(pair, walt, platform):
    """An interface that is not ours has the name of the next bridge: it stays as it is, and the node says so."""
    last = _last_id(platform)
    taken = [f"net{number}" for number in range(last + 1, last + 100)]
    batch = "".join(f"link add {name} type bridge\n" for name in taken)
    platform.inside("sh", "-c", f"echo '{batch}' | ip -batch -")
    try:
        walt("node", "config", "left", f"networks={NETWORKS},clash")
        walt("node", "reboot", "left")
        wait_until(lambda: state_of(walt, "left")[0] == "failed", 60, "failed")
        assert any(name in state_of(walt, "left")[1] for name in taken)
    finally:
        platform.inside("sh", "-c", f"echo '{batch.replace('add', 'del')}' | ip -batch -")
    walt("node", "wait", "left", timeout=240)


def _last_id(platform):
    """The newest id of the registry, which leaps ahead whenever `nodes` starts."""
    database = platform.instance.state / "nodes" / "registry.db"
    with contextlib.closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        return connection.execute("select last_id from registry").fetchone()[0]


def test_doctor_tells_what_there_is(walt):
    done = walt("doctor", check=False)
    for subject in ("accelerator", "link", "KSM", "broker", "space"):
        assert subject.lower() in done.stdout.lower(), done.stdout
    checks = json.loads(walt("doctor", "-o", "json", check=False).stdout)
    assert all({"subject", "status", "found", "consequence", "fix"} <= set(check) for check in checks)


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
