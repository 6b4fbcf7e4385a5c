"""Traces that netemu fetches for the cable, which then follows them without it."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest

from services.netemu.cable.control import CableClient
from tests.links.rig import stop_cable
from tests.service.test_netemu import (  # noqa: F401  # fixtures
    HOME,
    NODE,
    WALT,
    agent,
    fake_nodes,
    of_version,
    served_nodes,
    until,
)
from walt.contracts import netemu
from walt.contracts.links import Direction, LinkModel

pytestmark = pytest.mark.usefixtures("as_root")  # network namespaces


def following(trace, version):
    return replace(NODE, version=version, interfaces=(WALT, replace(HOME, link=LinkModel(up=Direction(trace=trace)))))


def test_a_trace_is_fetched_once_followed_and_kept_as_long_as_a_link_names_it(agent, fake_nodes):  # noqa: F811
    fake_nodes.traces, fake_nodes.asked_traces = {7: "keep_us rate_bps\n1000 8000000\n"}, []
    fake_nodes.specs[1] = following(7, 2)
    agent.attach(fake_nodes.specs[1])
    assert (agent.ports()[1].backend, agent.ports()[1].applied.up) == (netemu.CABLE, Direction(trace=7))
    agent.attach(following(7, 3))
    kept = agent.folder / "netemu" / "traces" / "7"
    fake_nodes.traces = {}  # it does not answer for it any more
    agent.kill()
    stop_cable(CableClient(agent.folder))
    agent.start()
    until(lambda: agent.ports()[1].applied.up == Direction(trace=7))
    assert fake_nodes.asked_traces == [7] and kept.exists()
    agent.kill()
    fake_nodes.specs[1] = of_version(4, 10_000)
    os.utime(kept, (0, 0))  # fetched long ago
    agent.start()
    until(lambda: not kept.exists())
    assert agent.ports()[1].applied.up == Direction(10_000)


def test_a_link_waits_for_a_trace_that_cannot_be_fetched_yet(agent, fake_nodes):  # noqa: F811
    agent.attach(NODE)
    fake_nodes.traces = {}
    fake_nodes.put(following(8, 2))
    until(lambda: 8 in fake_nodes.asked_traces)
    assert agent.ports()[1].applied.up == Direction(10_000)
    fake_nodes.traces = {8: "keep_us loss_ppm\n1000 5\n"}
    until(lambda: agent.ports()[1].applied.up == Direction(trace=8))
