"""console as its own process on a real RabbitMQ; users with their own accounts; the world around it is in `world`."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
from pathlib import Path

import pytest

from tests.service.console.world import FAKE_SSH, HOST, SERVICE, ConsoleProcess, FakeVm, SessionUser
from tests.support.amqp_user import AmqpUser
from tests.support.fakes.bootserver import FakeBootserver
from tests.support.fakes.fake_service import serving
from tests.support.fakes.netemu import FakeNetemu
from tests.support.fakes.nodes import FakeNodes
from tests.support.ports import free_port
from tests.support.specs import spec
from tests.support.wait import wait_until
from walt.contracts import nodes as contract
from walt.contracts.nodes import NodeRemoved
from walt.contracts.vmrunner import BOOTING


@pytest.fixture(autouse=True)
def _as_root(as_root):
    """Files are given to the user of the VMs."""


@pytest.fixture(scope="module")
def folder():
    """A folder that the user of the VMs can reach, as it can reach the real one."""
    with tempfile.TemporaryDirectory(prefix="walt-console-") as folder:
        os.chmod(folder, 0o711)
        yield Path(folder)


@pytest.fixture(scope="module")
def nodes():
    """vnode1 to vnode9, of alice; vnode2 is booting."""
    fake = FakeNodes()
    reset(fake)
    return fake


def reset(nodes):
    nodes.specs = {
        number: spec(id=number, name=f"vnode{number}", host=HOST, owner="alice", ip="127.0.0.1", version=1)
        for number in range(1, 10)
    }
    nodes.states = {2: BOOTING}


@pytest.fixture(scope="module")
def bootserver():
    fake = FakeBootserver()
    fake.nodes.add(1)
    return fake


@pytest.fixture(scope="module")
def netemu():
    return FakeNetemu(HOST)


@pytest.fixture(scope="module")
def peers(amqp_uri, nodes, bootserver, netemu):
    with serving(amqp_uri, nodes, bootserver, netemu):
        yield


@pytest.fixture(scope="module")
def services(amqp_uri):
    """A client with the account of the services."""
    client = AmqpUser(amqp_uri)
    yield client
    client.close()


@pytest.fixture(scope="module")
def env(amqp_uri, folder):
    return {
        **os.environ,
        "WALT_AMQP_URI": amqp_uri,
        "WALT_HOST": HOST,
        "WALT_LINES_DIR": str(folder / "lines"),
        "WALT_RUN_DIR": str(folder / "run"),
        "WALT_METRICS_PORT": str(free_port()),
        "WALT_SSH": str(folder / "ssh"),
    }


@pytest.fixture(scope="module")
def process(env, peers, folder):
    process = ConsoleProcess(env, folder / "console.log")
    yield process
    if process.process.poll() is None:
        process.end(signal.SIGKILL)


@pytest.fixture
def service(process, nodes, folder):
    """One process for all tests of a module; each finds it running, without lines, and the nodes as they were."""
    reset(nodes)
    if process.process.poll() is not None:
        process.start()
    process.wait_until_ready()
    yield process
    sys.stdout.write(process.log.read_text()[-5000:])
    if process.process.poll() is None:
        for number in lines_in(folder):
            removed = NodeRemoved(number, f"vnode{number}", HOST, nodes.registry)
            nodes.announce(contract.NODE_REMOVED, removed)
        wait_until(lambda: not lines_in(folder))


def lines_in(folder):
    return [int(path.name) for path in (folder / "lines").iterdir() if path.name.isdigit()]


@pytest.fixture
def user(user_uri):
    users = []

    def make(name="alice"):
        users.append(SessionUser(user_uri(name)))
        return users[-1]

    yield make
    for one in users:
        one.close()


@pytest.fixture
def prepare_line(service, services):
    def prepare_line(number=1, **arguments):
        return services.call(f"{SERVICE}.prepare_line", node_id=number, name=f"vnode{number}", **arguments)

    return prepare_line


@pytest.fixture
def power_on(prepare_line):
    vms = []

    def power_on(number=1):
        vms.append(FakeVm(Path(prepare_line(number)["socket"]).parent))
        return vms[-1]

    yield power_on
    for one in vms:
        one.end()


@pytest.fixture
def ssh(folder):
    """The file in which the fake ssh records its arguments."""
    (folder / "ssh").write_text(FAKE_SSH)
    os.chmod(folder / "ssh", 0o755)
    yield folder / "ssh.seen"
    for name in ("ssh", "ssh.seen"):
        (folder / name).unlink(missing_ok=True)
