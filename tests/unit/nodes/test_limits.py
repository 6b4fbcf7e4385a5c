"""What nodes take of what their owner may have, and which commands pass a limit."""

from __future__ import annotations

from dataclasses import replace

import pytest

from services.nodes.domain import limits
from services.nodes.domain.limits import Use
from tests.unit.nodes.sample import ALICE, NODE
from walt.contracts.errors import LimitReached
from walt.contracts.limits import UNLIMITED, UserLimits
from walt.contracts.nodes import ABSENT, PHYSICAL, Disk
from walt.contracts.settings import NodeConfig

GIB = 2**30
PERSIST = NodeConfig().persist_bytes  # of every virtual node
LARGE = replace(NODE, config=NodeConfig(ram_bytes=4 * GIB), disks=(Disk(1, 10**9, "none"), Disk(2, 2 * 10**9, "none")))


def test_use_of_nodes():
    assert limits.use([NODE, LARGE]) == Use(2, 4 * GIB + GIB // 2, 2 * PERSIST + 3 * 10**9)
    assert limits.use([replace(LARGE, type=PHYSICAL)]) == Use(1, 0, 0)


@pytest.mark.parametrize(
    ("before", "after", "added"),
    [
        (replace(NODE, id=0), replace(NODE, id=0), Use(1, GIB // 2, PERSIST)),  # created
        (NODE, LARGE, Use(0, 4 * GIB - GIB // 2, 3 * 10**9)),  # configured
        (LARGE, replace(LARGE, owner="", owner_account=""), Use(-1, -4 * GIB, -PERSIST - 3 * 10**9)),  # released
        (LARGE, replace(LARGE, power=ABSENT), Use(-1, -4 * GIB, -PERSIST - 3 * 10**9)),  # removed
        (replace(LARGE, owner="bob", owner_account="bob-1"), LARGE, Use(1, 4 * GIB, PERSIST + 3 * 10**9)),  # taken over
        (LARGE, replace(LARGE, boot=9), Use()),
    ],
)
def test_growth(before, after, added):
    assert limits.growth(ALICE.account, [before], [after]) == added


def test_what_passes_a_limit_is_refused_and_what_reaches_it_is_not():
    allowed = UserLimits(nodes=2, ram_bytes=GIB, disk_bytes=10**9)
    limits.check("alice", allowed, Use(1, GIB // 2), Use(1, GIB // 2, 10**9))
    with pytest.raises(LimitReached) as refused:
        limits.check("alice", allowed, Use(1, GIB), Use(2, GIB // 2, 10**9 + 10**6))
    assert refused.value.args == (
        "nodes: alice has 1, and 2 more would pass the limit; allowed: 2 altogether (walt user show)",
        "ram: alice has 1G, and 512M more would pass the limit; allowed: 1G altogether (walt user show)",
        "disk: alice has 0M, and 1001M more would pass the limit; allowed: 1G altogether (walt user show)",
    )


def test_a_limit_that_was_lowered_keeps_nobody_from_what_adds_nothing_to_it():
    limits.check("alice", UserLimits(nodes=1, ram_bytes=1), Use(5, GIB), Use(-1, 0))
    limits.check("alice", UserLimits(nodes=1, ram_bytes=None), Use(5, GIB), Use(0, GIB))
    with pytest.raises(LimitReached):
        limits.check("alice", UserLimits(nodes=1), Use(5), Use(1))


def test_the_present_use_is_read_only_when_a_limit_could_be_passed():
    assert not limits.may_exceed(Use(-1, 0, 0), UserLimits())
    assert not limits.may_exceed(Use(1, GIB, 1), UNLIMITED)
    assert not limits.may_exceed(Use(0, GIB, 0), UserLimits(ram_bytes=None))
    assert limits.may_exceed(Use(0, GIB, 0), UserLimits())
