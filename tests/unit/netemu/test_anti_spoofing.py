"""Which addresses are bound to which tap on walt-net."""

import pytest

from services.netemu.filters import nft
from services.netemu.filters.anti_spoofing import (
    Binding,
    Bindings,
    bind_commands,
    bindings_of_interfaces,
    bindings_of_ports,
)
from services.netemu.ports.port import Port
from tests.support.specs import spec as wanted
from walt.contracts.errors import Failed
from walt.contracts.nodes import WALT_NET_ID, Interface, Network

WALT_NET, HOME = Network(WALT_NET_ID, "walt-net", ""), Network(3, "home-net", "alice")
FIRST, SECOND = Interface(2, "52:54:00:00:00:02", HOME), Interface(3, "52:54:00:00:00:03", WALT_NET)


def test_only_the_port_on_walt_net_is_bound():
    assert bindings_of_interfaces(7, "192.168.172.9", [FIRST, SECOND]) == [
        Binding(7, "vn7e3", "52:54:00:00:00:03", "192.168.172.9")
    ]
    assert bindings_of_interfaces(7, "", [SECOND]) == [], "who does not tell the address binds nothing"


def test_ports_are_bound_as_they_are_not_as_they_come_with_the_next_boot():
    node = wanted(id=7, interfaces=(FIRST, SECOND))
    now = [Port(7, "vnode1", "alice", 2, WALT_NET), Port(7, "vnode1", "alice", 3, HOME)]
    assert bindings_of_ports(now, [node]) == [Binding(7, "vn7e2", "52:54:00:00:00:03", node.ip)]
    assert bindings_of_ports([Port(8, "gone", "alice", 2, WALT_NET)], [node]) == []


@pytest.fixture
def no_filter(monkeypatch):
    """A kernel without packet filters for bridges."""

    def refuse(commands: str) -> None:
        raise Failed("no such family")

    monkeypatch.setattr(nft, "apply", refuse)


def test_a_node_that_cannot_be_bound_gets_no_port_on_walt_net(no_filter):
    bindings = Bindings("192.168.172.0/22")
    bindings.install()
    with pytest.raises(Failed, match="cannot be bound to nodes: no such family"):
        bindings.bind(bindings_of_interfaces(7, "192.168.172.9", [SECOND]))
    bindings.bind(bindings_of_interfaces(7, "192.168.172.9", [FIRST]))  # on networks of users nothing is bound
    bindings.forget(7)


def test_an_operator_may_do_without(no_filter):
    bindings = Bindings("192.168.172.0/22", is_required=False)
    bindings.install()
    bindings.bind(bindings_of_interfaces(7, "192.168.172.9", [SECOND]))
    assert bindings.fault == "no such family"


def test_a_fault_that_is_over_is_forgotten(monkeypatch):
    bindings = Bindings("192.168.172.0/22")
    applied = []
    answers = iter([Failed("nft is not installed"), None, None])

    def apply(commands: str) -> None:
        if error := next(answers):
            raise error
        applied.append(commands)

    monkeypatch.setattr(nft, "apply", apply)
    bindings.install()
    bindings.bind(bindings_of_interfaces(7, "192.168.172.9", [SECOND]))
    assert bindings.fault == "" and len(applied) == 2


def test_a_port_is_bound_on_its_tap_and_behind_the_cable():
    (binding,) = bindings_of_interfaces(7, "192.168.172.9", [SECOND])
    assert binding.interfaces == ("vn7e3", "cb7e3")
    assert "{ vn7e3 : jump node7, cb7e3 : jump node7 }" in bind_commands(binding, "192.168.172.0/22")
    assert binding.eui64 == "505400fffe000003"
