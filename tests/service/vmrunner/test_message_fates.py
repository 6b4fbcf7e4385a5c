"""vmrunner, to which every event and request comes twice, late and out of order."""

from __future__ import annotations

import random
import time

import pytest

from tests.support.hostile_delivery import SETTLED_S
from walt.contracts.vmrunner import BOOTED

HOSTILE = "tests.support.hostile_delivery"


@pytest.fixture(params=[1, 2])
def hostile(platform, request):
    platform.process.module = [HOSTILE, "services.vmrunner", str(request.param)]
    platform.restart()
    return platform


def test_what_holds_is_what_was_said_last(hostile):
    """5 ends on, 6 off, 7 removed, whatever came between."""
    chance, boots = random.Random(1), {5: 1, 6: 1, 7: 1}
    for node_id in boots:
        hostile.put(node_id, boot=1)
    for _ in range(25):
        node_id = chance.choice(list(boots))
        boots[node_id] += 1
        hostile.put(node_id, boot=boots[node_id], power=chance.choice(["on", "on", "off"]))
        time.sleep(chance.uniform(0, 0.3))
    hostile.put(5, boot=boots[5] + 1, power="on")
    hostile.put(6, boot=boots[6] + 1, power="off")
    hostile.put(7, power="absent")
    hostile.wait(lambda: 7 in hostile.nodes.removed, "7 is removed")
    hostile.wait_state("booting", 5, boots[5] + 1)
    hostile.wait(lambda: hostile.last(6).boot == boots[6] + 1, "6 has heard of its end")
    before = hostile.qemus()
    assert set(before) == {5}
    time.sleep(2 * SETTLED_S)
    assert hostile.qemus() == before, "one VM, which no late message has interrupted"
    assert {report.node_id for report in hostile.reports()} == {5, 6}
    for node_id in (5, 6):
        sequences = [one.sequence for one in hostile.nodes.reports if one.node_id == node_id]
        assert len(sequences) == len(set(sequences))


def test_a_late_word_of_the_run_before_says_nothing_about_this_one(hostile):
    hostile.put()
    first = hostile.wait_state("booting")
    hostile.announce_booted(first)
    hostile.wait_state(BOOTED)
    hostile.announce_booted(first)
    hostile.put(boot=2)
    second = hostile.wait_state("booting", boot=2)
    time.sleep(2 * SETTLED_S)
    assert hostile.last().state == "booting" and hostile.last().run == second.run
    hostile.announce_booted(second)
    hostile.wait_state(BOOTED, boot=2)


def test_a_removed_node_stays_removed(hostile):
    hostile.put()
    hostile.wait_state("booting")
    for _ in range(5):
        hostile.put()
    hostile.put(power="absent")
    hostile.wait(lambda: 5 in hostile.nodes.removed, "5 is removed")
    hostile.nodes.specs.pop(5)
    time.sleep(2 * SETTLED_S)
    assert hostile.qemus() == {} and hostile.reports() == []
    assert not [path for path in hostile.state_folder.iterdir() if path.name.startswith("5")]
