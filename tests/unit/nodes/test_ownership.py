"""Who may do what to a node that is his, another's, or nobody's."""

from dataclasses import replace

import pytest

from services.contracts.errors import InvalidRequest, NotOwner
from services.contracts.nodes import ACTIONS, PING, WATCH_CONSOLE
from services.nodes.ownership import Watchers, check_action, parse_watchers
from tests.unit.nodes.test_rules import NODE

FREE = replace(NODE, owner="")


@pytest.mark.parametrize("watchers", Watchers)
@pytest.mark.parametrize("action", ACTIONS)
def test_owner_may_everything_others_ping(action, watchers):
    check_action(NODE, "alice", action, watchers)
    if action == PING or (action == WATCH_CONSOLE and watchers is Watchers.ALL):
        check_action(NODE, "bob", action, watchers)
    else:
        with pytest.raises(NotOwner, match="belongs to alice"):
            check_action(NODE, "bob", action, watchers)


@pytest.mark.parametrize("action", ACTIONS)
def test_a_free_node_is_watched_by_all_and_used_by_nobody(action):
    if action in (PING, WATCH_CONSOLE):
        check_action(FREE, "bob", action, Watchers.OWNER)
    else:
        with pytest.raises(NotOwner, match="is free; acquire it first"):
            check_action(FREE, "bob", action, Watchers.ALL)


def test_what_is_no_action_or_no_setting_is_refused():
    with pytest.raises(InvalidRequest, match="'eat it' is not an action on a node; allowed: ping it, "):
        check_action(NODE, "alice", "eat it", Watchers.OWNER)
    with pytest.raises(ValueError, match="WALT_WATCH_CONSOLES=me is not accepted; allowed: owner or all"):
        parse_watchers("me")
