"""Machines that boot by their own ROM, from their first request on; the tests set what registry and console answer."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from services.bootserver import app
from services.bootserver.physical import machines, pxe
from tests.service.bootserver.world import OTHER_IP, Bootserver, Network, full_disk
from tests.support.fakes.nodes import FakeNodes
from tests.support.wait import wait_until
from walt.contracts import nodes, serialization
from walt.contracts.errors import Conflict, Failed
from walt.contracts.nodes import NodeWanted
from walt.contracts.vmrunner import (
    BOOTED,
    BOOTING,
    CAUSE_COMMAND_FAILED,
    CAUSE_NO_ANSWER,
    CAUSE_REBOOT_REQUESTED,
    CAUSE_SSH_ANSWERS,
    CAUSE_STOP_REQUESTED,
    DELAYING,
    FAILED,
    LOADING,
    STOPPED,
    VmReport,
)

MAC, IP = "52:54:00:1a:2b:3c", "127.200.0.9"
PAGE = f"/boot/machine.ipxe?mac={MAC}"


class Machine:
    """The machine and its node. `answers`: whether its ssh server does."""

    def __init__(self, server: Bootserver, network: Network, registry: FakeNodes) -> None:
        self.server = server
        self._network = network
        self._registry = registry

    @property
    def spec(self) -> NodeWanted:
        (spec,) = self._registry.specs.values()
        return spec

    def change_spec(self, **changes) -> None:
        self._registry.put(replace(self.spec, version=self.spec.version + 1, **changes))

    def answers(self, whether: bool) -> None:
        self._network.answering = {IP} if whether else set()

    def requests_script(self) -> str:
        status, _, body = self.server.fetch(PAGE, source=IP)
        assert status == 200
        return body.decode()

    def becomes(self, state: str, **known) -> None:
        def report():
            (one,) = serialization.load_all(VmReport, self.server.call("list_machines"))
            return one

        wait_until(lambda: report().state == state, 5)
        assert {name: getattr(report(), name) for name in known} == known

    def boots(self) -> str:
        self.answers(False)
        script = self.requests_script()
        self.becomes(LOADING)
        assert self.server.status(self.server.path_of("kernel", script), source=IP) == 200
        self.becomes(BOOTING)
        self.answers(True)
        self.becomes(BOOTED, cause=CAUSE_SSH_ANSWERS)
        return script


@pytest.fixture
def console(peers):
    console = peers[2]
    console.fault = None
    console.commands.clear()
    return console


@pytest.fixture
def empty_registry(nodes_service, monkeypatch):
    """Before bootserver starts; and it is to probe often."""
    nodes_service.specs = {}
    monkeypatch.setattr(app, "PROBE_EVERY_S", 0.2)
    monkeypatch.setattr(machines, "SECOND_PROBE_S", 0.05)


@pytest.fixture
def pc(empty_registry, server, network, nodes_service, console):
    return Machine(server, network, nodes_service)


def test_it_gets_the_script_of_its_node_and_is_followed(pc, nodes_service):
    script = pc.boots()
    node_id = pc.spec.id
    assert f"walt.mac={MAC}" in script and "console=tty0" in script and f"/boot/{node_id}/seed.tar" in script
    wait_until(lambda: nodes_service.reported_states(node_id) == [LOADING, BOOTING, BOOTED], 5)
    assert {(one.boot, one.run) for one in nodes_service.reports} == {(1, 1)}
    assert pc.server.status(f"/boot/{node_id}/seed.tar", source=IP) == 200
    assert pc.server.status(f"/boot/{node_id}/seed.tar", source=OTHER_IP) == 403


def test_a_reboot_is_commanded_by_console_and_the_new_spec_is_booted(pc, console):
    pc.boots()
    pc.change_spec(boot=2, owner="alice", owner_account="a1")
    pc.becomes(DELAYING, boot=2, cause=CAUSE_REBOOT_REQUESTED, reason="told to reboot")
    assert console.commands == [["reboot"]]
    assert "walt.persist=e1.0\n" in pc.boots()
    pc.becomes(BOOTED, boot=2, run=2)
    assert console.commands == [["reboot"]]


def test_a_power_off_is_commanded_and_seen(pc, console):
    pc.boots()
    pc.change_spec(boot=2, power=nodes.POWER_OFF)
    wait_until(lambda: console.commands == [["poweroff"]], 5)
    pc.becomes(BOOTED, cause=CAUSE_STOP_REQUESTED, reason="told to switch itself off")
    pc.answers(False)
    pc.becomes(STOPPED, boot=2, cause=CAUSE_STOP_REQUESTED, reason="it has switched itself off")


def test_a_machine_that_stops_to_answer_and_one_that_takes_no_command_are_reported(pc, console):
    pc.boots()
    pc.answers(False)
    pc.becomes(STOPPED, cause=CAUSE_NO_ANSWER, reason="it does not answer on its ssh port")
    pc.answers(True)
    pc.becomes(BOOTED, cause=CAUSE_SSH_ANSWERS, reason="it answers again")
    assert console.commands == []
    console.fault = Failed("no such command")
    pc.change_spec(boot=2)
    pc.becomes(FAILED, boot=2, cause=CAUSE_COMMAND_FAILED, reason="it cannot be told to reboot: no such command")


def test_changes_are_reported_though_the_disk_is_full(pc, monkeypatch):
    pc.boots()
    monkeypatch.setattr(machines, "write_atomically", full_disk)
    pc.answers(False)
    pc.becomes(STOPPED)
    pc.answers(True)
    pc.becomes(BOOTED)


def test_a_restart_forgets_neither_machine_nor_spec(pc, nodes_service):
    pc.boots()
    pc.server.restart()
    pc.becomes(BOOTED, boot=1, run=1)
    nodes_service.specs = {pc.spec.id: replace(pc.spec, boot=2)}  # the event was lost
    pc.server.restart()
    pc.becomes(DELAYING, boot=2)


def test_files_of_an_earlier_version_are_read(tmp_path):
    former = {"node_id": 9, "name": "pc", "host": "lab", "ip": IP, "asked": 3, "boot": 2, "run": 5, "sequence": 8}
    (tmp_path / "9.json").write_text(json.dumps({**former, "state": BOOTED, "since": 1.0, "reason": "", "off": True}))
    (report,) = machines.Machines(tmp_path, None).reports()
    assert (report.node_id, report.boot, report.run, report.state, report.cause) == (9, 2, 5, BOOTED, "")


def test_a_machine_that_cannot_boot_now_requests_again(pc, nodes_service):
    nodes_service.fault = Conflict("no: ${mac} || #!")
    script = pc.requests_script()
    assert script.splitlines()[0] == "#!ipxe"
    assert [line.split()[0] for line in script.splitlines()[1:]] == ["echo", "echo", "sleep", "dhcp", "chain"]
    assert "no:" in script and "${mac}" not in script and PAGE.partition("=")[0] in script
    assert pc.server.call("list_machines") == []
    nodes_service.fault = None
    nodes_service.register_machine(MAC, IP)
    pc.change_spec(image="none")
    assert "chain --replace" in pc.requests_script()
    pc.becomes(FAILED)


def test_a_node_that_is_to_be_gone_is_forgotten(pc, nodes_service):
    pc.boots()
    pc.change_spec(power=nodes.ABSENT)
    wait_until(lambda: nodes_service.removed == [pc.spec.id], 5)
    assert pc.server.call("list_machines") == []


def test_requests_in_a_loop_do_not_load_nodes(pc, nodes_service):
    scripts = [pc.server.text(f"/boot/machine.ipxe?mac=52:54:00:00:01:{number:02x}", source=IP) for number in range(30)]
    assert len(nodes_service.specs) <= pxe.BURST + 2  # and what it got back meanwhile
    assert "too many requests" in scripts[-1] and "chain --replace" in scripts[-1]
    other = pc.server.text("/boot/machine.ipxe?mac=52:54:00:00:02:00", source="127.200.0.10")
    assert "walt.mac=52:54:00:00:02:00" in other
