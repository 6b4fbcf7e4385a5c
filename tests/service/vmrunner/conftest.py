"""vmrunner among the fakes of its peers, which serve all tests of a module."""

import pytest

from tests.service.vmrunner import world


@pytest.fixture(scope="module")
def peers(amqp_uri, as_root):
    with world.peers(amqp_uri) as made:
        yield made


@pytest.fixture
def variables():
    """Of the environment of vmrunner; a test names its own by `parametrize`."""
    return {}


@pytest.fixture
def platform(peers, variables):
    with world.running(peers, variables) as made:
        yield made
