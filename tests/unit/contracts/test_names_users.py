"""Names of users: each is a routing key, a file name, an account of the broker."""

import pytest

from walt.contracts.errors import InvalidRequest
from walt.contracts.names import check_user_name


@pytest.mark.parametrize("name", ["alice", "root", "a", "a-b_9", "x" * 32, "waltraud"])
def test_user_names(name):
    assert check_user_name(name) == name


@pytest.mark.parametrize(
    "name", ["", "walt-services", "walt-", "guest", "Alice", "a b", "1a", "a.b", "a/b", "a#", "é", "x" * 33]
)
def test_names_that_are_none_are_refused(name):
    with pytest.raises(InvalidRequest, match=f"'{name}' is not a user name; allowed: "):
        check_user_name(name)
