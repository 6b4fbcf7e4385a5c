"""Whatever a program sends as an argument, the answer is a result or an error of the contract."""

from __future__ import annotations

from services.console.service import ConsoleService
from tests.service.console.world import SERVICE
from tests.support.hostile_arguments import faults


def test_no_argument_of_any_kind_is_a_fault_of_the_service(service, user, power_on, ssh):
    power_on(1)
    alice = user("alice")
    usual = {"node": "vnode1", "queue": "user.alice.q", "count": 1, "network": "home-net"}
    assert faults(alice, ConsoleService, usual, SERVICE) == []
