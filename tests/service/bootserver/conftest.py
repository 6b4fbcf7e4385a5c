"""One bootserver for each test; its peers are started once for each module, and begin each test anew."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from services.bootserver.boot import ssh_probe
from services.bootserver.dns import dns_probe
from services.bootserver.persist import export_files
from tests.service.bootserver.world import SERVER, SPEC, Bootserver, Listener, Network
from tests.support.fakes.console import FakeConsole
from tests.support.fakes.fake_service import serving
from tests.support.fakes.nodes import FakeNodes
from tests.support.image_tree import VERSION, make_kernel


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> Network:
    network = Network()
    monkeypatch.setattr(export_files, "query_fault", lambda state: network.persist_fault)
    monkeypatch.setattr(dns_probe, "query_fault", lambda address, name: network.dns_fault)
    monkeypatch.setattr(ssh_probe, "sends_banner", network.sends_banner)
    monkeypatch.setattr(ssh_probe, "is_up", network.is_up)
    return network


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """A store with one image, `tiny-1`, whose kernel is too large to be sent at once."""
    (tmp_path / "images/tiny-1/boot").mkdir(parents=True)
    make_kernel(tmp_path / "images/tiny-1")
    with open(tmp_path / f"images/tiny-1/boot/vmlinuz-{VERSION}", "ab") as kernel:
        kernel.write(b"kernel" * 1_000_000)
    return tmp_path / "images"


Peers = tuple[Listener, FakeNodes, FakeConsole]


@pytest.fixture(scope="module")
def peers(amqp_uri: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Peers]:
    """For all tests of a module, since each takes a second to stop."""
    fakes = Listener(), FakeNodes([SPEC]), FakeConsole(tmp_path_factory.mktemp("lines"))
    with serving(amqp_uri, *fakes):
        yield fakes


@pytest.fixture
def listener(peers: Peers) -> Listener:
    listener = peers[0]
    listener.booted_so_far()  # what an earlier bootserver has announced belongs to its own test
    listener.booted.clear()
    listener.copying.clear()
    return listener


@pytest.fixture
def nodes_service(peers: Peers) -> FakeNodes:
    nodes = peers[1]
    nodes.specs, nodes.registry, nodes.fault = {SPEC.id: SPEC}, "r1", None
    nodes.reports.clear()
    nodes.removed.clear()
    return nodes


@pytest.fixture
def console(peers: Peers) -> FakeConsole:
    console = peers[2]
    console.output, console.fault, console.status_of = "", None, lambda command: 0
    console.commands.clear()
    return console


@pytest.fixture
def server(amqp_uri, listener, nodes_service, images, network, tmp_path, monkeypatch) -> Iterator[Bootserver]:
    server = Bootserver(amqp_uri)
    monkeypatch.setenv("WALT_IMAGES_DIR", str(images))
    monkeypatch.setenv("WALT_PLATFORM_IMAGES", "default=tiny-1")
    monkeypatch.setenv("WALT_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("WALT_SUBNET", "127.0.0.0/8")
    monkeypatch.setenv("WALT_HTTP_ADDRESS", f"{SERVER}:{server.port}")
    server.start()
    yield server
    server.stop()
    server.bus.close()
