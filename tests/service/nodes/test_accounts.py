"""Whose things are whose: an account, not its name; and commands that change one account at the same moment."""

from __future__ import annotations

import pytest

from services.nodes.users.rabbitmq_api import ManagementApi
from tests.service.nodes.people import account_of, do
from tests.support.amqp_user import SERVED
from walt.contracts.nodes import USE_CONSOLE


def test_fault_s32_later_user_of_the_same_name_gets_nothing(admin, login, service):
    bea = login("bea", do(admin, "add_user", name="bea")["password"])
    do(bea, "create_nodes", names=["hers"])
    do(admin, "acquire_nodes", selection="hers", force=True)
    assert do(bea, "get_notices")
    first = account_of(service, "bea")
    do(admin, "remove_user", name="bea")
    second = login("bea", do(admin, "add_user", name="bea")["password"])
    assert do(second, "get_notices") == do(second, "get_events") == []
    assert do(second, "get_nodes", selection="my-nodes") == []
    assert account_of(service, "bea") != first


def test_spec_carries_the_account_of_the_owner(admin, login, service):
    bea = login("bea", do(admin, "add_user", name="bea")["password"])
    do(bea, "create_nodes", names=["hers"])
    (spec,) = service.bus.call("nodes", "get_specs")["nodes"]
    assert (spec["owner"], spec["owner_account"]) == ("bea", account_of(service, "bea"))
    target = service.bus.call("nodes", "authorize", user="bea", name="hers", action=USE_CONSOLE)
    assert target["owner_account"] == spec["owner_account"]
    do(bea, "release_nodes", selection="hers", force=True)
    (spec,) = service.bus.call("nodes", "get_specs")["nodes"]
    assert (spec["owner"], spec["owner_account"]) == ("", "")


@pytest.mark.parametrize("method", ["add_user", "remove_user", "change_password"])
def test_fault_s39_of_two_administrators_at_once_one_is_told_so(admin, login, api, service, monkeypatch, method):
    """Each time a request of the first is under way at the broker, the second comes, and is refused."""
    other = login("zoe", do(admin, "add_user", name="zoe", administrator=True)["password"])
    if method != "add_user":
        do(admin, "add_user", name="bea")
    refused, request = [], ManagementApi._request

    def slow(self, verb, path, body=None, **options):
        if verb != "GET" and path == "users/bea" and not refused:
            reply = other.reply(f"nodes.{method}", user_id="zoe", name="bea")
            refused.append((reply["error"] or {}).get("exc_type"))
        return request(self, verb, path, body, **options)

    monkeypatch.setattr(ManagementApi, "_request", slow)
    done = do(admin, method, name="bea")
    assert refused == ["Conflict"]
    if method != "remove_user":
        assert login("bea", done["password"]).outcome("nodes.get_notices", {}, "bea") == SERVED
