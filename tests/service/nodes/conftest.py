"""One nodes service for each module, since it takes 2 s to stop; a test that restarts it pays for itself.

`platform` has fakes of its peers; `service`, `admin` and `login` are of one that manages accounts."""

from __future__ import annotations

import pytest

from services.nodes.users.rabbitmq_api import ManagementApi
from tests.conftest import require
from tests.service.nodes.people import ADMIN, Nodes
from tests.service.nodes.world import HOST, SUBNET, Platform
from tests.support.amqp_user import AmqpUser
from tests.support.fakes.bootserver import FakeBootserver
from tests.support.fakes.fake_service import serving
from tests.support.fakes.vmrunner import FakeVmrunner
from tests.support.postgres import PROGRAMS, private_postgres


@pytest.fixture(scope="module")
def running(amqp_uri, user_uri, tmp_path_factory):
    values = {"WALT_STATE_DIR": str(tmp_path_factory.mktemp("state")), "WALT_HOST": HOST, "WALT_SUBNET": SUBNET}
    values["WALT_USER_LIMITS"] = "ram=none,disk=none"  # what a host has is the limit here; test_limits.py has others
    with pytest.MonkeyPatch.context() as patch:
        for name, value in values.items():
            patch.setenv(name, value)
        platform = Platform(amqp_uri, user_uri)
        platform.start_all()
        yield platform
        platform.stop_all()


@pytest.fixture
def platform(running):
    running.start_all()
    running.forget_all()
    return running


@pytest.fixture(scope="module")
def service(amqp_uri, broker_api, tmp_path_factory):
    folder = tmp_path_factory.mktemp("users")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WALT_STATE_DIR", str(folder))
        patch.setenv("WALT_HOST", "rightshost")
        patch.setenv("WALT_BROKER_API", broker_api)
        patch.setenv("WALT_PUBLIC_METHODS", str(folder / "public"))
        nodes = Nodes(amqp_uri, folder / "public")
        nodes.vmrunner = FakeVmrunner("rightshost")
        with serving(amqp_uri, FakeBootserver(), nodes.vmrunner):
            nodes.start()
            yield nodes
            nodes.stop()
            nodes.bus.close()


@pytest.fixture(scope="module")
def api(broker_api, vhost):
    return ManagementApi(broker_api, vhost)


@pytest.fixture
def login(broker_port, vhost, api):
    """login(name, password) -> AmqpUser; no account of a person is left at the end."""
    opened = []

    def log_in(name, password):
        opened.append(AmqpUser(f"amqp://{name}:{password.replace(' ', '%20')}@127.0.0.1:{broker_port}/{vhost}"))
        return opened[-1]

    yield log_in
    for person in opened:
        person.close()
    for account in api.accounts():
        if account.is_user:
            api.delete(account.name)


@pytest.fixture
def admin(service, login, ensured):
    """With no node of anybody's left at the end."""
    yield login(ADMIN, ensured(ADMIN, administrator=True))
    with service.app.transaction() as registry:
        for node in registry.nodes():
            registry.delete(node.id)


@pytest.fixture
def ensured(service):
    """ensured(name) -> the password of that user, as the set-up of the platform makes it."""

    def ensure(name, administrator=False):
        made = service.bus.call("nodes", "ensure_user", name=name, administrator=administrator)
        assert made["name"] == name
        return made["password"]

    return ensure


@pytest.fixture(scope="module")
def postgres():
    require("postgresql", bool(PROGRAMS), "no server in /usr/lib/postgresql")
    with private_postgres() as server:
        yield server
