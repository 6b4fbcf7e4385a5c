"""Machines that boot by their own ROM, on a real RabbitMQ and over real HTTP; a registry and a console that the tests
tell what to say."""

from __future__ import annotations

from dataclasses import replace

import pytest
from nameko.containers import ServiceContainer
from nameko.events import event_handler

from services.bootserver import machines, watch
from services.contracts import bootserver, nodes, wire
from services.contracts.console import CommandEnd
from services.contracts.errors import Conflict, Failed
from services.contracts.nodes import Interface, Network, NodeWanted
from services.contracts.vmrunner import BOOTED, BOOTING, DELAYING, FAILED, LOADING, STOPPED, VmReport
from services.kit.entrypoints import internal
from tests.service import test_bootserver as base
from tests.service.test_bootserver import call, fetch, images, listener, network, process, wait_for  # noqa: F401

MAC, IP = "52:54:00:1a:2b:3c", "127.200.0.9"
PORT = Interface(2, MAC, Network(0, "walt-net", ""))
WISH = replace(base.WANTED, id=9, name="pc", host="lab", owner="", ip=IP, interfaces=(PORT,), type=nodes.PHYSICAL)
PAGE = f"/boot/machine.ipxe?mac={MAC}"


class FakeNodes:
    name = "nodes"
    wish = WISH
    registered = False
    refusal = ""
    heard: list[VmReport] = []
    removed: list[int] = []

    @internal
    def register_machine(self, mac, ip):
        assert (mac, ip) == (MAC, IP)
        if self.refusal:
            raise Conflict(self.refusal)
        FakeNodes.registered = True
        return wire.dump(self.wish)

    @internal
    def registry_id(self):
        return "r1"

    @internal
    def wanted_everywhere(self):
        return [wire.dump(self.wish)] if self.registered else []

    @event_handler(bootserver.SERVICE, bootserver.MACHINE_CHANGED)
    def on_machine_changed(self, payload):
        self.heard.append(wire.load(VmReport, payload))

    @event_handler(bootserver.SERVICE, bootserver.MACHINE_REMOVED)
    def on_machine_removed(self, payload):
        self.removed.append(payload["node_id"])


class FakeConsole:
    """run_command of the node: what it was told, and its answer."""

    name = "console@lab"
    told: list[str] = []
    fault = ""

    @internal
    def run_command(self, node_id, command, timeout_s):
        self.told.extend(command)
        if self.fault:
            raise Failed(self.fault)
        return wire.dump(CommandEnd(0, ""))


@pytest.fixture(scope="module")
def peers_of_it(amqp_uri):
    containers = [ServiceContainer(cls, {"AMQP_URI": amqp_uri}) for cls in (FakeNodes, FakeConsole)]
    for one in containers:
        one.start()
    yield
    for one in containers:
        one.stop()


class Machine:
    """The machine and its node: `answers`, whether its ssh server does."""

    def __init__(self, process):  # noqa: F811
        self.process = process
        self.answers = False

    def asks(self):
        status, _, body = fetch(PAGE, source=IP)
        assert status == 200
        return body.decode()

    def loads_kernel(self, script):
        (line,) = [line for line in script.splitlines() if line.startswith("kernel ")]
        path = "/boot" + line.split()[1].partition("/boot")[2]
        assert fetch(path, source=IP)[0] == 200

    def is_(self, state, **known):
        def report():
            (one,) = wire.load_all(VmReport, call("list_machines"))
            return one

        wait_for(lambda: report().state == state)
        assert {name: getattr(report(), name) for name in known} == known

    def boots(self):
        self.answers = False
        script = self.asks()
        self.is_(LOADING)
        self.loads_kernel(script)
        self.is_(BOOTING)
        self.answers = True
        self.is_(BOOTED)
        return script


@pytest.fixture
def afresh(monkeypatch):
    FakeNodes.wish, FakeNodes.registered, FakeNodes.refusal, FakeConsole.fault = WISH, False, "", ""
    for memory in (FakeNodes.heard, FakeNodes.removed, FakeConsole.told):
        memory.clear()
    monkeypatch.setattr(machines, "PROBE_EVERY_S", 0.2)
    monkeypatch.setattr(machines, "SECOND_LOOK_S", 0.05)


@pytest.fixture
def pc(peers_of_it, afresh, process, monkeypatch):  # noqa: F811
    pc = Machine(process)
    for look in ("greets", "connects"):
        monkeypatch.setattr(watch, look, lambda address: address == IP and pc.answers)
    return pc


def wish(**changes):
    FakeNodes.wish = replace(FakeNodes.wish, version=FakeNodes.wish.version + 1, **changes)
    base_wish: NodeWanted = FakeNodes.wish
    base.event_dispatcher({"AMQP_URI": base.peers.environment().amqp_uri})(
        nodes.SERVICE, nodes.NODE_WANTED, wire.dump(base_wish)
    )


def test_it_gets_the_script_of_its_node_and_is_followed(pc):
    script = pc.boots()
    assert f"walt.mac={MAC}" in script and "console=tty0" in script and "/boot/9/seed.tar" in script
    wait_for(lambda: [one.state for one in FakeNodes.heard] == [LOADING, BOOTING, BOOTED])
    assert {(one.node_id, one.boot, one.run) for one in FakeNodes.heard} == {(9, 1, 1)}
    assert fetch("/boot/9/seed.tar", source=IP)[0] == 200
    assert fetch("/boot/9/seed.tar", source="127.200.0.8")[0] == 403


def test_a_reboot_is_told_by_console_and_the_image_is_that_of_the_wish(pc):
    pc.boots()
    wish(boot=2, image="default", owner="alice")
    pc.is_(DELAYING, boot=2, reason="told to reboot")
    assert FakeConsole.told == ["reboot"]
    assert "walt.persist=/persist/9/alice" in pc.boots()
    pc.is_(BOOTED, boot=2, run=2)
    assert FakeConsole.told == ["reboot"]


def test_an_end_is_told_and_seen(pc):
    pc.boots()
    wish(boot=2, power=nodes.POWER_OFF)
    wait_for(lambda: FakeConsole.told == ["poweroff"])
    pc.is_(BOOTED, reason="told to switch itself off")
    pc.answers = False
    pc.is_(STOPPED, boot=2, reason="it has switched itself off")


def test_silence_is_seen_and_so_are_its_end_and_what_cannot_be_told(pc):
    pc.boots()
    pc.answers = False
    pc.is_(STOPPED, reason="it does not answer on its ssh port")
    pc.answers = True
    pc.is_(BOOTED, reason="it answers again")
    assert FakeConsole.told == []
    FakeConsole.fault = "no such command"
    wish(boot=2)
    pc.is_(FAILED, boot=2, reason="it cannot be told to reboot: no such command")


def test_what_is_seen_is_told_though_the_disk_is_full(pc, monkeypatch):
    pc.boots()
    monkeypatch.setattr(machines, "write_atomically", base.full_disk)
    pc.answers = False
    pc.is_(STOPPED)
    pc.answers = True
    pc.is_(BOOTED)


def test_a_restart_forgets_neither_machine_nor_wish(pc):
    pc.boots()
    pc.process.restart()
    pc.is_(BOOTED, boot=1, run=1)
    FakeNodes.wish = replace(FakeNodes.wish, boot=2)  # the event was lost
    pc.process.restart()
    pc.is_(DELAYING, boot=2)


def test_who_cannot_boot_now_asks_again(pc):
    FakeNodes.refusal = "no: ${mac} || #!"
    script = pc.asks()
    assert script.splitlines()[0] == "#!ipxe"
    assert [line.split()[0] for line in script.splitlines()[1:]] == ["echo", "echo", "sleep", "dhcp", "chain"]
    assert "no:" in script and "${mac}" not in script and PAGE.partition("=")[0] in script
    assert call("list_machines") == []
    FakeNodes.wish, FakeNodes.refusal = replace(WISH, image="none"), ""
    assert "chain --replace" in pc.asks()
    pc.is_(FAILED)


def test_a_node_that_is_to_be_gone_is_forgotten(pc):
    pc.boots()
    wish(power=nodes.ABSENT)
    wait_for(lambda: FakeNodes.removed == [9])
    assert call("list_machines") == []
