"""Real agents of a further host, with the account of that host, beside a real `nodes`."""

from __future__ import annotations

import contextlib
import time

import pytest

from tests.service.conftest import PASSWORD, PUBLIC, SECOND
from tests.support.amqp_user import AmqpUser
from tests.support.fakes.bootserver import FakeBootserver
from tests.support.fakes.fake_service import serving
from tests.support.service_process import service_process
from tests.support.wait import wait_until
from walt.contracts.agent_rights import account_of_host

pytestmark = pytest.mark.usefixtures("as_root")  # of vmrunner's files

ALICE = "alice"


@pytest.fixture(scope="module")
def alice(amqp_uri, user_uri, broker_api, broker_port, vhost, tmp_path_factory):
    """A user of a platform with two hosts; the agents of the second are there."""
    folders = {name: tmp_path_factory.mktemp(name) for name in ("nodes", "vmrunner", "console")}
    (folders["nodes"] / "public").write_text("\n".join(PUBLIC))
    settings = {"WALT_BROKER_API": broker_api, "WALT_PUBLIC_METHODS": str(folders["nodes"] / "public")}
    agent_uri = f"amqp://{account_of_host(SECOND)}:{PASSWORD}@127.0.0.1:{broker_port}/{vhost}"
    with contextlib.ExitStack() as stack:
        stack.enter_context(serving(amqp_uri, FakeBootserver()))
        stack.enter_context(service_process("nodes", amqp_uri, folders["nodes"], host="lab1", **settings))
        for agent in ("vmrunner", "console"):
            own = {"host": SECOND, "caller": amqp_uri, "WALT_ACCEL": "tcg"}
            own["WALT_LINES_DIR"] = str(folders["console"] / "lines")
            stack.enter_context(service_process(f"{agent}@{SECOND}", agent_uri, folders[agent], **own))
        user = AmqpUser(user_uri(ALICE))
        stack.callback(user.close)
        wait_until(lambda: SECOND in hosts(user), 30)
        yield user


def hosts(user):
    return {one["name"]: one for one in user.call("nodes.get_hosts")}


def state(user, name):
    return user.call("nodes.get_nodes", selection=name)[0]["state"]


def test_a_node_lives_on_it(alice):
    assert hosts(alice)[SECOND]["state"] == "present" and hosts(alice)[SECOND]["capacity"]["ram_bytes"] > 0
    settings = ["boot.timeout=none", "boot.delay=86400", "ram=64M"]
    alice.call("nodes.create_nodes", names=["far"], settings=settings, image="default", host=SECOND)
    wait_until(lambda: state(alice, "far") == "delaying", 30)
    alice.call("nodes.stop_nodes", selection="far", hard=True)
    wait_until(lambda: state(alice, "far") == "stopped", 30)


def test_a_console_of_it_is_watched(alice):
    with alice.connection.channel() as channel:
        queue = channel.queue_declare(f"user.{ALICE}.line", exclusive=True).queue
        opened = alice.call(f"console@{SECOND}.open_line", node="far", queue=queue, follow=False, offset=0)
        kinds = []
        channel.basic_consume(queue, no_ack=True, callback=lambda it: kinds.append(it.headers["kind"]))
        end = time.monotonic() + 20
        while "exit" not in kinds:
            assert time.monotonic() < end and opened["session"]
            with contextlib.suppress(TimeoutError):
                alice.connection.drain_events(timeout=1)


def test_its_node_is_removed(alice):
    alice.call("nodes.remove_nodes", selection="far", force=True)
    wait_until(lambda: hosts(alice)[SECOND]["nodes"] == 0, 60)
