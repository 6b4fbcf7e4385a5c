"""Which tap speaks for which node on walt-net."""

from services.contracts.nodes import WALT_NET_ID, Interface, Network
from services.netemu.binding import Binding, of_interfaces, of_ports
from services.netemu.ports import Port
from tests.unit.vmrunner.sample import wanted

WALT_NET, HOME = Network(WALT_NET_ID, "walt-net", ""), Network(3, "home-net", "alice")
FIRST, SECOND = Interface(2, "52:54:00:00:00:02", HOME), Interface(3, "52:54:00:00:00:03", WALT_NET)


def test_only_the_port_on_walt_net_is_bound():
    assert of_interfaces(7, "192.168.172.9", [FIRST, SECOND]) == [
        Binding(7, "vn7e3", "52:54:00:00:00:03", "192.168.172.9")
    ]
    assert of_interfaces(7, "", [SECOND]) == [], "who does not tell the address binds nothing"


def test_ports_are_bound_as_they_are_not_as_they_come_with_the_next_boot():
    node = wanted(id=7, interfaces=(FIRST, SECOND))
    now = [Port(7, "vnode1", "alice", 2, WALT_NET), Port(7, "vnode1", "alice", 3, HOME)]
    assert of_ports(now, [node]) == [Binding(7, "vn7e2", "52:54:00:00:00:03", node.ip)]
    assert of_ports([Port(8, "gone", "alice", 2, WALT_NET)], [node]) == []
