"""Ports that come and go while their node runs, in netemu as its own process."""

from dataclasses import replace

import pytest

from tests.service.test_netemu import HOME, NODE, WALT, agent, fake_nodes, served_nodes, until  # noqa: F401
from walt.contracts.links import Direction, LinkModel
from walt.contracts.nodes import Interface, Network

pytestmark = pytest.mark.usefixtures("as_root")  # network namespaces


def numbers(agent):  # noqa: F811
    """The kernel's number of each interface, which a new one of the same name has not."""
    found = [line.split(": ") for line in agent.run("ip", "-o", "link").splitlines()]
    return {name.partition("@")[0]: number for number, name, *_ in found}


def test_a_port_comes_and_goes_beside_others_of_a_node_that_runs(agent, fake_nodes):  # noqa: F811
    """What is not named keeps its interfaces, and with them the frames that are under way."""
    agent.attach(NODE)
    before = numbers(agent)
    lab = Interface(4, "52:54:00:00:00:03", Network(6, "lab", "alice"))
    attached = agent.attach(replace(NODE, version=2, interfaces=(WALT, HOME, lab)), live=True)
    assert [port.tap for port in attached] == ["vn1e2", "vn1e3", "vn1e4"]
    assert before.items() <= numbers(agent).items() and {"vn1e4", "net6"} <= numbers(agent).keys()
    slow_lab = replace(lab, link=LinkModel(up=Direction(5_000)))
    fake_nodes.put(replace(NODE, version=3, interfaces=(WALT, replace(slow_lab, slot=3))))
    until(
        lambda: [one.requested.up.latency_us for one in agent.ports()] == [0, 10_000, 5_000]
    )  # in the slots they have
    agent.attach(replace(NODE, version=3, interfaces=(WALT, slow_lab)), live=True)
    assert [(one.network, one.slot) for one in agent.ports()] == [("walt-net", 2), ("lab", 4)]
    assert numbers(agent)["vn1e2"] == before["vn1e2"] and "net5" not in agent.interfaces()
