"""Links behave as asked: the behaviour suite on the cable, for real, in network namespaces; needs root.

Each check runs in a process of its own, which enters a namespace of its own. The same suite runs on the kernel's
netem inside a guest.
"""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.links.suite import CHECKS

pytestmark = pytest.mark.usefixtures("as_root")  # network namespaces


# A copy: pytest changes os.environ (PYTEST_CURRENT_TEST) while threads start programs. A child of vfork that reads the
# environment at that moment fails with "Bad address".
ENVIRONMENT = dict(os.environ)


def in_namespace(*argv):
    command = [sys.executable, *argv]
    return subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=120)


@pytest.fixture(scope="module")
def running(request):
    """The chosen checks, two at a time, since they mostly wait."""
    chosen = [item.callspec.params["check"] for item in request.session.items if item.originalname == "test_cable"]
    with ThreadPoolExecutor(2) as pool:
        yield {one: pool.submit(in_namespace, "-m", "tests.links.suite", "cable", one) for one in chosen}
        pool.shutdown(cancel_futures=True)


@pytest.mark.parametrize("check", CHECKS)
def test_cable(running, check):
    done = running[check].result()
    assert done.returncode == 0, done.stdout + done.stderr


WRONG = """
import sys
from dataclasses import replace
from tests.links import rig, suite
check, field, value = sys.argv[1:]
attach = rig.Testbed.attach
def attach_wrongly(testbed, node_id, link, *network):
    wrong = replace(link, up=replace(link.up, **{field: int(value)}))
    attach(testbed, node_id, wrong if link.shapes else link, *network)
rig.Testbed.attach = attach_wrongly
print(suite.run_check("cable", check))
"""


@pytest.mark.parametrize(
    ("check", "field", "value", "said"),
    [
        ("delay", "latency_us", 5_000, "asked 10.0 ms, mean "),
        ("rate_up", "rate_bps", 16_000_000, "asked 90.0 ms, took only "),
        ("loss", "loss_ppm", 300_000, "were lost; 10% was asked"),
        ("duplicate", "duplicate_ppm", 0, "frames arrived so many times"),
        ("jitter_keeps_the_order", "jitter_us", 0, "the delays lie within "),
    ],
)
def test_fault_33_a_wrong_link_fails_the_suite(check, field, value, said):
    done = in_namespace("-c", WRONG, check, field, str(value))
    assert done.returncode == 0 and said in done.stdout, done.stdout + done.stderr


def test_a_backend_that_is_not_there_fails_the_suite():
    done = in_namespace("-m", "tests.links.suite", "no-such-backend", "delay")
    assert done.returncode == 1
    assert done.stdout.startswith("FAIL no-such-backend delay")


INPUT_FILTER = """
import ctypes, socket, subprocess, sys
from pathlib import Path
ctypes.CDLL(None).unshare(0x40000000)
ip = lambda line: subprocess.run(["ip", *line.split()], check=True)
ip("link set lo up")
from services.netemu.emulation import Emulation
from services.netemu.filters import input_filter
emulation = Emulation(Path(sys.argv[1]), "192.168.172.1/22")
emulation.prepare()
input_filter.install("192.168.172.0/22")
input_filter.install("192.168.172.0/22")
tables = subprocess.run(["nft", "list", "tables"], check=True, capture_output=True, text=True).stdout
assert tables.count("walt_netemu") == 2, tables
node = subprocess.Popen(["unshare", "-n", "sleep", "60"])
try:
    import time; time.sleep(0.3)
    ip(f"link add vnode type veth peer name eth0 netns {node.pid}")
    ip("link set vnode master walt-net up")
    inside = ["nsenter", "-t", str(node.pid), "-n"]
    subprocess.run([*inside, "ip", "addr", "add", "192.168.172.2/22", "dev", "eth0"], check=True)
    subprocess.run([*inside, "ip", "link", "set", "eth0", "up"], check=True)
    listeners = []
    for port in (80, 2049, 5672, 9100):
        listener = socket.create_server(("0.0.0.0", port))
        listeners.append(listener)
    for port, reached in ((80, True), (2049, False), (5672, False), (9100, False)):
        probe = f"import socket; socket.create_connection(('192.168.172.1', {port}), timeout=1)"
        done = subprocess.run([*inside, sys.executable, "-c", probe], capture_output=True)
        assert (done.returncode == 0) is reached, (port, done.stderr)
    server = f"import socket; s = socket.create_server(('', 22)); print(1, flush=True); s.accept()"
    ssh = subprocess.Popen([*inside, sys.executable, "-c", server], stdout=subprocess.PIPE)
    ssh.stdout.readline()
    socket.create_connection(("192.168.172.2", 22), timeout=2).close()
    socket.create_connection(("127.0.0.1", 5672), timeout=1).close()
    from services.netemu.latency.ping import ping
    answered = ping(["192.168.172.2", "192.168.172.3"], 3, 0.2)
    assert len(answered["192.168.172.2"]) == 6 and answered["192.168.172.3"] == [], answered
    assert all(5 < us < 1_000_000 for us in answered["192.168.172.2"]), answered
finally:
    node.kill()
    node.wait()
"""


def test_nodes_reach_the_bootserver_and_nothing_else_of_the_server(tmp_path):
    done = in_namespace("-c", INPUT_FILTER, str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
