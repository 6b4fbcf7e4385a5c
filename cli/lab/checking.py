"""`walt lab check`: measures what a lab expects, in its nodes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from walt.client import Client
from walt.contracts.lab_expect import COMMAND, RATE, REACH
from walt.contracts.labs import LabDocument, LabExpectation
from walt.contracts.nodes import NodeView, PortView
from walt.contracts.port_addresses import without_prefix
from walt.replies import read

from . import measure
from .measure import Measured, NodeAddresses
from .node_scripts import run_all


@dataclass(frozen=True)
class CheckedExpectation:
    expectation: LabExpectation
    measured: Measured
    is_met: bool


def check(client: Client, document: LabDocument, nodes: Sequence[NodeView]) -> list[CheckedExpectation]:
    """nodes: all of the lab, booted. Pings and commands run side by side, transfers one after the other."""
    checker = _Checker(client, document, {node.name: node for node in nodes})
    commands = [one for one in document.expect if one.kind == COMMAND]
    pings = [one for one in document.expect if one.kind not in (COMMAND, RATE)]
    found = {**checker.commands(commands), **checker.pings(pings)}
    for one in document.expect:
        if one.kind == RATE:
            found[one] = checker.rate(one)
    return [
        CheckedExpectation(
            one, found[one], found[one].value == 1.0 if one.kind == COMMAND else measure.is_met(one, found[one])
        )
        for one in document.expect
    ]


class _Checker:
    def __init__(self, client: Client, document: LabDocument, nodes: Mapping[str, NodeView]) -> None:
        self._client = client
        self._document = document
        self._nodes = nodes
        pairs = [one for one in document.expect if one.kind != COMMAND]
        names = sorted({name.lower() for one in pairs for name in one.nodes})
        ports = client.call("nodes", "get_ports", selection=",".join(names)) if names else []
        self._ports = {(port.node, port.network): port for port in read(list[PortView], ports)}
        results = run_all(client, [(nodes[name], measure.ADDRESSES_SCRIPT) for name in names])
        self._addresses = {
            name: measure.parse_addresses(result.output) for name, result in zip(names, results, strict=True)
        }

    def commands(self, expected: Sequence[LabExpectation]) -> dict[LabExpectation, Measured]:
        results = run_all(self._client, [(self._nodes[one.nodes[0].lower()], one.value) for one in expected])
        return {
            one: Measured(f"exit status {result.status}", float(result.status == 0))
            for one, result in zip(expected, results, strict=True)
        }

    def pings(self, expected: Sequence[LabExpectation]) -> dict[LabExpectation, Measured]:
        addresses = {one: self._address(one) for one in expected}
        reachable = [one for one in expected if addresses[one]]
        scripts = [
            (self._nodes[one.nodes[0].lower()], measure.ping_script(one.kind, addresses[one] or ""))
            for one in reachable
        ]
        results = run_all(self._client, scripts)
        found = {
            one: measure.parse_ping(one.kind, result.output) for one, result in zip(reachable, results, strict=True)
        }
        return {one: found.get(one) or self._without_address(one) for one in expected}

    def rate(self, one: LabExpectation) -> Measured:
        address = self._address(one)
        if address is None:
            return self._without_address(one)
        receiver, sender = measure.rate_scripts(address)
        source, target = (self._nodes[name.lower()] for name in one.nodes)
        result, sent = run_all(self._client, [(target, receiver), (source, sender)])
        return measure.parse_rate(result.output or sent.output)

    def _address(self, one: LabExpectation) -> str | None:
        source, target = (name.lower() for name in one.nodes)
        network = self._network(one)
        port, source_port = self._ports.get((target, network)), self._ports.get((source, network))
        if port is None:
            return None
        source_mac = source_port.mac if source_port else ""
        given = [without_prefix(address) for address in port.addresses]
        return measure.destination(self._of(target), port.mac, self._of(source), source_mac, given)

    def _of(self, node: str) -> NodeAddresses:
        return self._addresses[node]

    def _network(self, one: LabExpectation) -> str:
        return measure.target_network(self._document, one, self._nodes)

    def _without_address(self, one: LabExpectation) -> Measured:
        text = f"{one.nodes[1]} has no address on {self._network(one)}"
        return Measured(text, 0.0 if one.kind == REACH else None)
