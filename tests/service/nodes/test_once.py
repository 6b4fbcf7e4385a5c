"""A command that comes again is done once, over a restart of nodes too, and its first answer is given again."""

import contextlib
import itertools
import json
from collections import Counter

import pytest
from amqp import Message

from tests.support.wait import wait_until

QUEUE = "user.alice.again"
_names = itertools.count()


class Repeater:
    """Sends calls of alice, each as often as asked."""

    def __init__(self, platform):
        self._connection = platform.user("alice").connection
        self.channel = self._connection.channel()
        self.channel.queue_declare(QUEUE, exclusive=True)

    def send(self, key, method, **arguments):
        body = json.dumps({"args": [], "kwargs": arguments})
        usual = {"content_type": "application/json", "content_encoding": "utf-8", "user_id": "alice"}
        message = Message(body, message_id=key, correlation_id=key, reply_to=QUEUE, **usual)
        self.channel.basic_publish(message, "nameko-rpc", f"nodes.{method}")

    def reply(self):
        found = []

        def is_there():
            if (message := self.channel.basic_get(QUEUE, no_ack=True)) is not None:
                found.append(json.loads(message.body))
            return found

        wait_until(is_there)
        return found[0]

    def close(self):
        self.channel.queue_delete(QUEUE)
        self.channel.close()


@pytest.fixture
def repeater(platform):
    with contextlib.closing(Repeater(platform)) as made:
        yield made


@pytest.fixture
def told(platform, repeater):
    """told(method, …) twice, with a restart between; both replies, which must be the same."""

    def tell(method, **arguments):
        key = f"m{next(_names)}"
        repeater.send(key, method, **arguments)
        first = repeater.reply()
        platform.restart()
        repeater.send(key, method, **arguments)
        assert repeater.reply() == first
        return first

    return tell


def kinds(platform, name):
    return [event["kind"] for event in platform.call("alice", "get_events", name)]


def test_fault_a_command_that_comes_again_after_a_restart_is_done_once(platform, told):
    first = told("create_nodes", names=["a"])
    assert first["error"] is None and first["result"]["nodes"][0]["name"] == "a"
    boot = platform.spec("a").boot
    assert told("reboot_nodes", selection="a")["error"] is None
    assert platform.spec("a").boot == boot + 1
    assert told("rename_node", name="a", new_name="b")["error"] is None
    assert told("remove_nodes", selection="b")["error"] is None
    counts = Counter(kinds(platform, "a,b"))
    assert counts["create"] == counts["reboot"] == counts["remove"] == 1


def test_fault_a_late_copy_undoes_nothing(platform, repeater):
    """stop, start, and the stop again: the node stays on."""
    platform.call("alice", "create_nodes", ["a"])
    repeater.send("stop", "stop_nodes", selection="a")
    first = repeater.reply()
    platform.call("alice", "start_nodes", "a")
    platform.restart()
    repeater.send("stop", "stop_nodes", selection="a")
    assert repeater.reply() == first and platform.spec("a").power == "on"


def test_fault_what_was_refused_is_not_done_later(platform, repeater):
    platform.call("alice", "create_nodes", ["a"])
    repeater.send("again", "create_nodes", names=["a"])
    refused = repeater.reply()
    assert refused["error"]["exc_type"] == "Conflict"
    platform.call("alice", "remove_nodes", "a")
    platform.restart()
    repeater.send("again", "create_nodes", names=["a"])
    reply = repeater.reply()
    assert reply["error"]["exc_args"] == refused["error"]["exc_args"]
    assert platform.call("alice", "get_nodes", "all-nodes") == []


def test_answers_of_labs_traces_and_schedules_are_given_again(platform, told):
    platform.call("alice", "create_nodes", ["a"], ["networks=walt-net,home-net"])
    content = {"text": "keep_us rate_bps\n1000000 10000000\n", "loops": True}
    imported = told("import_trace", name="mine", content=content)
    shown = platform.call("alice", "get_traces")
    assert imported["result"] == shown[0]
    document = {"name": "pair", "nodes": [{"name": "x"}]}
    applied = told("apply_lab", document=document)
    assert applied["error"] is None and [one["name"] for one in applied["result"]["nodes"]] == ["x"]
    assert told("remove_lab", name="pair")["error"] is None


def test_another_user_is_not_given_the_answer(platform, repeater, told):
    platform.call("bob", "create_nodes", ["b"])
    assert told("reboot_nodes", selection="b")["error"]["exc_type"] == "NotOwner"
