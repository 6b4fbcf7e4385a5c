"""Service tests: one service in this process, real RabbitMQ, a vhost per test module, fakes at the edge.

The real world must be patched before anything imports socket or threading, as a service process does.
"""

from __future__ import annotations

import services.kit.monkey_patch  # noqa: F401  # first

# isort: split

import functools
import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest
from nameko.messaging import QueueConsumer

from deploy.broker.public_methods import SERVICES, routing_keys
from deploy.broker.rabbitmq import ADMINISTRATOR, RabbitmqUser
from tests.support.broker import VHOSTS, PrivateBroker, private_broker
from walt.contracts.agent_rights import AGENTS_TAG, account_of_host, agent_rights
from walt.contracts.broker_permissions import NO_RIGHTS, SERVICE_RIGHTS, user_rights

# How often a container looks whether it is to stop; with its second, most of the time of these tests would be that.
QueueConsumer.consume = functools.partialmethod(QueueConsumer.consume, safety_interval=0.05)

PASSWORD = "secret"
SECOND = "lab7"  # a further host, whose agents have an account
PUBLIC = [key for service in SERVICES for key in routing_keys(service)]
TEST_PUBLIC = ("toy.greet", *PUBLIC)


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateBroker]:
    accounts = [
        RabbitmqUser("walt-services", PASSWORD, SERVICE_RIGHTS),
        RabbitmqUser("walt-accounts", PASSWORD, NO_RIGHTS, ADMINISTRATOR),
    ]
    accounts += [RabbitmqUser(user, PASSWORD, user_rights(user, TEST_PUBLIC)) for user in ("alice", "bob")]
    accounts.append(RabbitmqUser(account_of_host(SECOND), PASSWORD, agent_rights(SECOND), AGENTS_TAG))
    with private_broker(Path(tmp_path_factory.mktemp("broker")), accounts) as broker:
        yield broker


@pytest.fixture(scope="session")
def broker_port(broker: PrivateBroker) -> int:
    return broker.port


@pytest.fixture(scope="module")
def broker_api(broker: PrivateBroker) -> str:
    """WALT_BROKER_API of nodes."""
    return f"http://walt-accounts:{PASSWORD}@127.0.0.1:{broker.settings.management_port}"


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
