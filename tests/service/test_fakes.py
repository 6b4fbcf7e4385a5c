"""What a fake and the real service have in common: every test here runs against both."""

from __future__ import annotations

import contextlib
import os
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.support.amqp_user import AmqpUser
from tests.support.fakes.bootserver import FakeBootserver
from tests.support.fakes.console import FakeConsole
from tests.support.fakes.fake_service import FakeService, serving
from tests.support.fakes.netemu import FakeNetemu
from tests.support.fakes.nodes import FakeNodes
from tests.support.fakes.vmrunner import FakeVmrunner
from tests.support.image_tree import make_kernel
from tests.support.ports import free_port
from tests.support.service_process import service_process
from tests.support.specs import HOME_NET, WALT_NET, spec
from walt.contracts import nodes, serialization
from walt.contracts.bootserver import BootPlan, BootRequest, ImageView, NodeAccess
from walt.contracts.console import LinePaths
from walt.contracts.errors import NotFound, NotOwner
from walt.contracts.netemu import AttachedPort, PortReport
from walt.contracts.nodes import NodeTarget, NodeWanted, Revision, Specs
from walt.contracts.vmrunner import Capacity, DiskData, VmReport

pytestmark = pytest.mark.usefixtures("as_root")  # namespaces, and files of other users

HOST = "lab"
MAC, IP = "52:54:00:1a:2b:3c", "192.168.175.9"
SPEC = spec(id=1, host=HOST)

Real = Callable[[], contextlib.AbstractContextManager[None]]


@pytest.fixture
def folder() -> Iterator[Path]:
    """One that the user of the machines can reach."""
    with tempfile.TemporaryDirectory(prefix="walt-fakes-") as name:
        os.chmod(name, 0o711)
        yield Path(name)


@pytest.fixture(scope="module")
def call(amqp_uri: str) -> Iterator[Callable[..., Any]]:
    """call("nodes.get_specs", host=…) as services do."""
    user = AmqpUser(amqp_uri)
    yield user.call
    user.close()


@contextlib.contextmanager
def fake_or_real(kind: str, uri: str, fake: FakeService, real: Real) -> Iterator[None]:
    with serving(uri, fake) if kind == "fake" else real():
        yield


def both(function: Callable[..., Any]) -> Any:
    return pytest.fixture(params=["fake", "real"], name=function.__name__)(function)


# -- nodes: alice has a node "vnode1" on HOST


@both
def nodes_service(request, amqp_uri, user_uri, folder):
    @contextlib.contextmanager
    def real():
        with (
            serving(amqp_uri, FakeVmrunner(HOST), FakeBootserver()),
            service_process("nodes", amqp_uri, folder, host=HOST),
        ):
            user = AmqpUser(user_uri("alice"))
            user.call("nodes.create_nodes", names=["vnode1"])
            user.close()
            yield

    with fake_or_real(request.param, amqp_uri, FakeNodes([SPEC], hosts=[HOST]), real):
        yield


def test_nodes_tells_the_specs_of_a_host(nodes_service, call):
    specs = serialization.load(Specs, call("nodes.get_specs", host=HOST))
    assert [(one.name, one.owner, one.power) for one in specs.nodes] == [("vnode1", "alice", nodes.POWER_ON)]
    assert {one.registry for one in specs.nodes} == {specs.registry} != {""}
    assert serialization.load(Specs, call("nodes.get_specs", host="other")).nodes == ()
    assert serialization.load(Specs, call("nodes.get_specs")) == specs


def test_nodes_authorizes_the_owner_alone(nodes_service, call):
    def authorize(user, name, action):
        return serialization.load(NodeTarget, call("nodes.authorize", user=user, name=name, action=action))

    (spec,) = serialization.load(Specs, call("nodes.get_specs", host=HOST)).nodes
    target = authorize("alice", "vnode1", nodes.LOG_IN)
    assert (target.id, target.name, target.owner, target.host) == (spec.id, "vnode1", "alice", HOST)
    assert (target.ip, target.version) == (spec.ip, spec.version)
    for action in (nodes.LOG_IN, nodes.WATCH_CONSOLE, nodes.CONNECT):
        with pytest.raises(NotOwner):
            authorize("bob", "vnode1", action)
    assert authorize("bob", "vnode1", nodes.PING).id == spec.id
    with pytest.raises(NotFound):
        authorize("alice", "vnode9", nodes.PING)


def test_nodes_knows_its_own_history_and_no_other(nodes_service, call):
    specs = serialization.load(Specs, call("nodes.get_specs", host=HOST))
    present = {"agent": f"vmrunner@{HOST}", "registry": specs.registry, **serialization.dump(specs.revision)}
    assert serialization.load(Revision, call("nodes.check_history", **present)) == specs.revision
    for other in ({"sequence": specs.revision.sequence + 1}, {"registry": "other", "epoch": "other"}):
        assert call("nodes.check_history", **{**present, **other}) is None


def test_nodes_registers_a_machine_once(nodes_service, call):
    def register():
        return serialization.load(NodeWanted, call("nodes.register_machine", mac=MAC, ip=IP))

    first = register()
    assert (first.type, first.owner, first.ip, first.walt_net.mac) == (nodes.PHYSICAL, "", IP, MAC)
    again = register()
    assert (again.id, again.name) == (first.id, first.name)


# -- bootserver: the image "default", and a node 1 that is to boot it


@both
def bootserver_service(request, amqp_uri, folder):
    make_kernel(folder / "images/tiny")
    env = {
        "WALT_IMAGES_DIR": f"{folder}/images",
        "WALT_PLATFORM_IMAGES": "default=tiny",
        "WALT_HTTP_ADDRESS": f"127.0.0.1:{free_port()}",
        "WALT_SUBNET": "127.0.0.0/8",
    }

    def real():
        return service_process("bootserver", amqp_uri, folder, **env)

    with fake_or_real(request.param, amqp_uri, FakeBootserver(), real):
        yield


def boot_request(**changes: Any) -> Any:
    values = {"node_id": 1, "name": "vnode1", "run": 1, "mac": MAC, "ip": "127.0.0.9", "image": "default", **changes}
    return serialization.dump(BootRequest(**values))


def test_bootserver_publishes_a_boot_and_then_knows_how_to_log_in(bootserver_service, call):
    with pytest.raises(NotFound):
        call("bootserver.open_access", node_id=1)
    plan = serialization.load(BootPlan, call("bootserver.publish_boot", request=boot_request()))
    assert plan.ip == "127.0.0.9" and plan.script_url.endswith("/boot/1/script.ipxe")
    assert serialization.load(BootPlan, call("bootserver.publish_boot", request=boot_request())) == plan
    access = serialization.load(NodeAccess, call("bootserver.open_access", node_id=1))
    assert access.user == "root" and access.private_key and access.host_key.startswith("ssh-ed25519 ")


def test_bootserver_boots_no_image_that_is_not_there(bootserver_service, call):
    with pytest.raises(NotFound):
        call("bootserver.publish_boot", request=boot_request(node_id=2, image="nothing"))


def test_bootserver_finds_an_image(bootserver_service, call):
    image = serialization.load(ImageView, call("bootserver.check_image", name="default", user="alice"))
    assert (image.name, image.owner) == ("default", "")
    with pytest.raises(NotFound):
        call("bootserver.check_image", name="nothing", user="alice")


def test_bootserver_has_no_data_of_a_node_that_kept_none(bootserver_service, call):
    assert call("bootserver.persist_bytes", node_id=9) == {}
    assert call("bootserver.list_machines") == []


# -- console: the line of node 1


@both
def console_service(request, amqp_uri, folder):
    @contextlib.contextmanager
    def real():
        lines = {"WALT_LINES_DIR": f"{folder}/lines"}
        with (
            serving(amqp_uri, FakeNodes([SPEC]), FakeBootserver()),
            service_process(f"console@{HOST}", amqp_uri, folder, **lines),
        ):
            yield

    with fake_or_real(request.param, amqp_uri, FakeConsole(folder, HOST), real):
        yield


def test_console_prepares_a_line_once(console_service, call):
    line = serialization.load(LinePaths, call(f"console@{HOST}.prepare_line", node_id=1, name="vnode1", owner="alice"))
    assert stat.S_ISFIFO(os.stat(line.input).st_mode)
    Path(line.log).write_bytes(b"first boot\n")
    again = call(f"console@{HOST}.prepare_line", node_id=1, name="vnode1", owner="alice")
    assert serialization.load(LinePaths, again) == line
    assert Path(line.log).read_bytes() == b"first boot\n"


# -- netemu: ports of nodes


@both
def netemu_service(request, amqp_uri, folder):
    @contextlib.contextmanager
    def real():
        argv = [sys.executable, "-m", "tests.service.in_namespace", str(urlsplit(amqp_uri).port)]
        with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as space:
            assert space.stdin and space.stdout
            inside = ["nsenter", "-n", "-t", space.stdout.readline().strip()]
            with (
                serving(amqp_uri, FakeNodes([SPEC])),
                service_process(f"netemu@{HOST}", amqp_uri, folder, inside=inside),
            ):
                yield
            space.stdin.close()

    with fake_or_real(request.param, amqp_uri, FakeNetemu(HOST), real):
        yield


def test_netemu_attaches_a_tap_for_each_interface(netemu_service, call):
    def attach(*interfaces):
        made = serialization.dump_all(interfaces)
        ports = call(f"netemu@{HOST}.attach_ports", node_id=1, name="vnode1", owner="alice", interfaces=made, version=1)
        return serialization.load_all(AttachedPort, ports)

    ports = attach(WALT_NET, HOME_NET)
    assert [port.slot for port in ports] == [WALT_NET.slot, HOME_NET.slot]
    assert len({port.tap for port in ports}) == 2
    assert attach(WALT_NET, HOME_NET) == ports
    reports = serialization.load_all(PortReport, call(f"netemu@{HOST}.list_ports"))
    assert {(one.node, one.owner, one.network, one.tap) for one in reports} == {
        ("vnode1", "alice", "walt-net", ports[0].tap),
        ("vnode1", "alice", "home-net", ports[1].tap),
    }
    assert attach(WALT_NET) == ports[:1]
    assert len(call(f"netemu@{HOST}.list_ports")) == 1


# -- vmrunner


@both
def vmrunner_service(request, amqp_uri, folder):
    @contextlib.contextmanager
    def real():
        with serving(amqp_uri, FakeNodes()), service_process(f"vmrunner@{HOST}", amqp_uri, folder):
            yield

    with fake_or_real(request.param, amqp_uri, FakeVmrunner(HOST), real):
        yield


def test_vmrunner_without_nodes(vmrunner_service, call):
    capacity = serialization.load(Capacity, call(f"vmrunner@{HOST}.capacity"))
    assert capacity.cpu_cores > 0 and capacity.ram_bytes > 2**20 and capacity.memory_factor >= 1
    assert serialization.load_all(VmReport, call(f"vmrunner@{HOST}.list_vms")) == []
    assert serialization.load_all(DiskData, call(f"vmrunner@{HOST}.list_data", node_id=9)) == []
