"""A broker, stand-ins for the services (`fake_platform`), and `walt` as alice would call it."""

import pytest

from tests.service.cli.command import Fake, Relay, Walt


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("platform")


@pytest.fixture(scope="module")
def fakes(folder, broker_port, vhost):
    uri = f"amqp://walt-services:secret@127.0.0.1:{broker_port}/{vhost}"
    fakes = {name: Fake(name, folder, uri) for name in ("nodes", "bootserver", "console")}
    try:
        for fake in fakes.values():
            fake.start()
        yield fakes
    finally:
        for fake in fakes.values():
            if fake.process:
                fake.kill()


@pytest.fixture
def walt(fakes, user_uri, tmp_path):
    return Walt(user_uri("alice"), tmp_path)


@pytest.fixture
def vnode(walt, request):
    """A booted node of alice, its name that of the test."""
    name = request.node.name.split("[")[0].replace("_", "-")[:60]
    assert walt("node", "create", name, "--wait").returncode == 0
    return name


@pytest.fixture
def relay(broker_port):
    one = Relay(broker_port)
    yield one
    one.close()


@pytest.fixture
def far_walt(fakes, relay, user_uri, broker_port, tmp_path):
    (tmp_path / "far").mkdir()
    return Walt(user_uri("alice").replace(str(broker_port), str(relay.port)), tmp_path / "far")
