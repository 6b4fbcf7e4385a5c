"""The patterns of a user's rights, matched as RabbitMQ matches them: anywhere, unless anchored."""

import re
import uuid

import pytest

from walt.contracts import console
from walt.contracts.broker_permissions import user_rights

RIGHTS = user_rights("al.ice", ["nodes.get_nodes", "console@*.open_line"])
RPC, INPUT = RIGHTS.topics


@pytest.mark.parametrize("key", ["nodes.get_nodes", "console@lab1.open_line", "console@a-b.open_line"])
def test_may_call(key: str) -> None:
    assert re.search(RPC.write, key)


@pytest.mark.parametrize(
    "key",
    [
        "nodes.get_nodes2",
        "xnodes.get_nodes",
        "nodesXget_nodes",
        "nodes.authorize",
        "nodes.*",
        "#",
        "console.open_line",
        "console@.open_line",
        "console@lab1.prepare_line",
        "console@a.b.open_line",
        "netemu@lab1.attach_ports",
        "user.bob.reply",
    ],
)
def test_may_not_call(key: str) -> None:
    assert not re.search(RPC.write, key)


@pytest.mark.parametrize(
    "key", ["#", "*", "nodes.get_nodes", "user.bob.1", "user.al.ice.#", "user.al.ice.*", "user.alXice.1"]
)
def test_may_not_listen_to(key: str) -> None:
    assert re.search(RPC.read, "user.al.ice.1")
    assert not re.search(RPC.read, key)


@pytest.mark.parametrize(
    "name", ["rpc-nodes", "user.bob.1", "user.al.icex", "xuser.al.ice.1", "nameko-rpc2", "amq.topic", ""]
)
def test_may_not_touch(name: str) -> None:
    for pattern in (RIGHTS.configure, RIGHTS.write, RIGHTS.read):
        assert re.search(pattern, "user.al.ice.1")
        assert not re.search(pattern, name)


def test_input_is_written_never_read() -> None:
    assert re.search(INPUT.write, "input.lab1")
    assert re.search(INPUT.write, console.input_key("lab1", uuid.uuid4().hex))
    assert not re.search(INPUT.write, "input.a.b")
    assert not re.search(INPUT.write, "input.lab1.#")
    assert not re.search(INPUT.write, "xinput.lab1")
    assert not re.search(INPUT.read, "input.lab1")
    assert re.search(RIGHTS.write, "walt-console")
    assert not re.search(RIGHTS.read, "walt-console")
    assert not re.search(RIGHTS.configure, "nameko-rpc")
