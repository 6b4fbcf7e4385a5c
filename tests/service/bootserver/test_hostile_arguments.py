"""Whatever a program sends as an argument, the answer is a result or an error of the contract."""

from __future__ import annotations

from services.bootserver.service import BootserverService
from tests.support.amqp_user import AmqpUser
from tests.support.hostile_arguments import faults


def test_no_argument_of_any_kind_is_a_fault_of_the_service(server, user_uri):
    alice = AmqpUser(user_uri("alice"))
    alice.call("bootserver.clone_image", image="default", name="mine")
    assert faults(alice, BootserverService, {"image": "mine", "name": "other", "purpose": "import"}) == []
    alice.close()
