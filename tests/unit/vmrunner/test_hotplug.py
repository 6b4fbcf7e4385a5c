"""What the monitor of a running qemu is asked when an interface comes or goes, and what a hostile one may answer."""

from __future__ import annotations

import json
import os
import socket
import threading
from dataclasses import replace

import pytest

from services.vmrunner.qemu.hotplug import HotPlug
from services.vmrunner.qemu.plugged_device import PluggedDevice
from services.vmrunner.qemu.qmp import Qmp, QmpClosed
from tests.support.specs import HOME_NET
from walt.contracts.errors import Failed
from walt.contracts.links import LinkModel


class Monitor:
    """Answers as `answers` says; refused: a command."""

    def __init__(self, refused="", **answers):
        self.asked, self._refused, self._answers = [], refused, answers

    def ask(self, command, arguments, files=()):
        self.asked.append((command, arguments.get("id") or arguments.get("name"), *files))
        if command == self._refused:
            raise Failed(f"qemu refuses {command}")
        return self._answers.get(command.replace("-", "_"), {})


def pci(*devices):
    return [{"bus": 1, "devices": []}, {"bus": 0, "devices": [{"slot": s, "qdev_id": name} for s, name in devices]}]


def test_devices_are_those_in_the_slots_of_interfaces():
    found = pci((0, ""), (1, ""), (2, ""), (3, "network7-slot3"), (30, "disks"), (31, ""))
    assert HotPlug(Monitor(query_pci=found, qom_get="network7")).devices() == [
        PluggedDevice(2, None),
        PluggedDevice(3, 7),
    ]
    assert HotPlug(Monitor(query_pci=found, qom_get="")).devices()[1] == PluggedDevice(3, 7, is_leaving=True)


@pytest.mark.parametrize(
    "answer",
    [
        None,
        [],
        {},
        "x",
        pci((3, None)),
        [{"bus": 0}],
        [{}],
        pci(("x", "")),
        [{"bus": 0, "devices": 5}],
        pci((None, "")),
    ],
)
def test_what_no_qemu_answers(answer):
    with pytest.raises(Failed, match="tells nothing of its devices"):
        HotPlug(Monitor(query_pci=answer)).devices()


def test_a_device_comes_with_its_tap_and_its_carrier():
    monitor = Monitor()
    HotPlug(monitor).plug(replace(HOME_NET, link=LinkModel(no_carrier=True)), 8)
    assert monitor.asked == [
        ("getfd", None, 8),
        ("netdev_add", "network7"),
        ("set_link", "network7"),
        ("device_add", "network7-slot3"),
    ]


@pytest.mark.parametrize("refused", ["device_add", "netdev_add"])
def test_nothing_is_left_of_one_that_is_refused(refused):
    monitor = Monitor(refused=refused)
    with pytest.raises(Failed):
        HotPlug(monitor).plug(HOME_NET, 8)
    assert monitor.asked[-1] == ("netdev_del", "network7")


def test_a_device_that_leaves_is_off_its_tap_at_once_and_can_be_asked_again():
    monitor = Monitor(refused="device_del")  # asked already
    HotPlug(monitor).unplug(PluggedDevice(3, 7))
    HotPlug(monitor).unplug(PluggedDevice(3, 7, is_leaving=True))
    assert [one[0] for one in monitor.asked] == ["device_del", "netdev_del", "device_del"]


@pytest.fixture
def qemu(tmp_path):
    """A monitor's other end, and the client with a thread that waits for events."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "qmp"))
    listener.listen(1)
    greeted = threading.Thread(target=lambda: made.append(Qmp(tmp_path / "qmp", 5)))
    made, ends = [], []
    greeted.start()
    server, _ = listener.accept()
    server.sendall(b'{"QMP": {}}\n{"return": {}}\n')
    server.recv(1000)
    greeted.join()

    def wait_for_events():
        try:
            while True:
                ends.append(made[0].next_event())
        except QmpClosed:
            made[0].close()

    threading.Thread(target=wait_for_events, daemon=True).start()
    yield made[0], server, ends
    server.close()


def answer_later(server, *messages):
    """Each after the command has come; NUMBER in it is that of the command."""

    def reply():
        data, files, _, _ = socket.recv_fds(server, 10_000, 4)
        number = str(json.loads(data)["id"])
        received.extend([json.loads(data), *files])
        for message in messages:
            server.sendall(message.replace("NUMBER", number).encode() + b"\n")

    received = []
    thread = threading.Thread(target=reply)
    thread.start()
    return thread, received


def test_an_answer_finds_who_asked_among_events_and_strange_ones(qemu, tmp_path):
    monitor, server, events = qemu
    reader, writer = os.pipe()
    messages = ['{"return": 1}', '{"return": 2, "id": [1]}', '{"return": 3, "id": 99}', '{"event": "STOP"}']
    thread, received = answer_later(server, *messages, '{"return": "mine", "id": NUMBER}')
    assert monitor.ask("getfd", {"fdname": "tap"}, [writer]) == "mine"
    thread.join()
    assert received[0]["arguments"] == {"fdname": "tap"} and events == [{"event": "STOP"}]
    os.write(received[1], b"the same file")
    assert os.read(reader, 100) == b"the same file"
    for descriptor in (reader, writer, received[1]):
        os.close(descriptor)


@pytest.mark.parametrize("error", ['{"desc": "no such device"}', '"no such device"'])
def test_a_refusal_says_why(qemu, error):
    monitor, server, _ = qemu
    answer_later(server, f'{{"error": {error}, "id": NUMBER}}')
    with pytest.raises(Failed, match="qemu refuses device_del: no such device"):
        monitor.ask("device_del", {"id": "x"})


def test_one_that_goes_away_answers_nobody(qemu):
    monitor, server, _ = qemu
    thread, _ = answer_later(server)
    threading.Thread(target=lambda: (thread.join(), server.shutdown(socket.SHUT_RDWR))).start()
    with pytest.raises(QmpClosed):
        monitor.ask("query-pci", {})
