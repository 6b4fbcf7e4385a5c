"""Service tests: one service in this process, real RabbitMQ, a vhost per test module, fakes at the edge.

The real world must be patched before anything imports socket or threading, as a service process does.
"""

from __future__ import annotations

import services.kit.green  # noqa: F401  # first

# isort: split

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.local.broker import Account
from services.console.service import ConsoleService
from services.contracts.rights import SERVICE_RIGHTS, user_rights
from services.kit.entrypoints import public_methods
from services.nodes.service import NodesService
from tests.broker import VHOSTS, private_broker

PASSWORD = "secret"
TEST_PUBLIC = (
    "toy.greet",
    *(f"nodes.{method}" for method in public_methods(NodesService)),
    "bootserver.get_images",
    "bootserver.save_image",
    *(f"console@*.{method}" for method in public_methods(ConsoleService)),
)


@pytest.fixture(scope="session")
def broker_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    accounts = [Account("walt-services", PASSWORD, SERVICE_RIGHTS)]
    accounts += [Account(user, PASSWORD, user_rights(user, TEST_PUBLIC)) for user in ("alice", "bob")]
    with private_broker(Path(tmp_path_factory.mktemp("broker")), accounts) as broker:
        yield broker.port


_vhosts = itertools.cycle(VHOSTS)


@pytest.fixture(scope="module")
def vhost() -> str:
    return next(_vhosts)


@pytest.fixture(scope="module")
def amqp_uri(broker_port: int, vhost: str) -> Iterator[str]:
    """The broker with the services' account; also in the environment, where `kit` finds it."""
    uri = f"amqp://walt-services:{PASSWORD}@127.0.0.1:{broker_port}/{vhost}"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WALT_AMQP_URI", uri)
        yield uri


@pytest.fixture(scope="module")
def user_uri(broker_port: int, vhost: str) -> object:
    """user_uri("alice") -> the URI of that user's account."""
    return lambda user: f"amqp://{user}:{PASSWORD}@127.0.0.1:{broker_port}/{vhost}"
