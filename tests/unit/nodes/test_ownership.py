"""Who may do what to a node that he owns, that another owns, or that is free."""

from dataclasses import replace

import pytest

from services.nodes.domain import ownership
from services.nodes.domain.ownership import Watchers, check_action, parse_watchers
from tests.unit.nodes.sample import ALICE, NODE
from walt.contracts.errors import Conflict, InvalidRequest, NotOwner
from walt.contracts.nodes import ACTIONS, PING, USE_CONSOLE, WATCH_CONSOLE

FREE = replace(NODE, owner="", owner_account="")


@pytest.mark.parametrize("watchers", Watchers)
@pytest.mark.parametrize("action", ACTIONS)
def test_owner_may_everything_others_ping(action, watchers):
    check_action(NODE, ALICE.account, action, watchers)
    if action == PING or (action == WATCH_CONSOLE and watchers is Watchers.ALL):
        check_action(NODE, "bob-1", action, watchers)
    else:
        with pytest.raises(NotOwner, match="belongs to alice"):
            check_action(NODE, "bob-1", action, watchers)


def test_fault_s32_another_account_of_the_same_name_is_not_the_owner():
    with pytest.raises(NotOwner):
        check_action(NODE, "alice-2", USE_CONSOLE, Watchers.OWNER)


@pytest.mark.parametrize("action", ACTIONS)
def test_a_free_node_is_watched_by_all_and_used_by_nobody(action):
    if action in (PING, WATCH_CONSOLE):
        check_action(FREE, "bob-1", action, Watchers.OWNER)
    else:
        with pytest.raises(NotOwner, match="is free; acquire it first"):
            check_action(FREE, "bob-1", action, Watchers.ALL)


def test_what_is_no_action_or_no_setting_is_refused():
    with pytest.raises(InvalidRequest, match="'eat it' is not an action on a node; allowed: ping it, "):
        check_action(NODE, ALICE.account, "eat it", Watchers.OWNER)
    with pytest.raises(ValueError, match="WALT_WATCH_CONSOLES=me is not accepted; allowed: owner or all"):
        parse_watchers("me")


def test_fault_s27_few_nodes_are_taken_over_at_once():
    others = [replace(NODE, id=number, name=f"n{number}", owner_account="alice") for number in range(1, 12)]
    ownership.check_takeover(others[:10], "bob", is_allowed=True)
    with pytest.raises(Conflict, match="11 of these nodes belong to others; allowed: to take over 10 at once"):
        ownership.check_takeover(others, "bob", is_allowed=True)
    ownership.check_takeover(others, "alice", is_allowed=False)  # hers


def test_unknown_rule_of_takeovers_is_refused():
    with pytest.raises(ValueError, match="WALT_TAKEOVER=me is not accepted; allowed: all, administrators, nobody"):
        ownership.parse_takeover("me")
