"""Looks into what a command would destroy, by way of those who keep it."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence

import eventlet

from services.contracts import bootserver, units, vmrunner, wire
from services.contracts.errors import Conflict, WaltError
from services.contracts.vmrunner import DiskData
from services.kit import peers
from services.nodes.model import Holding

ANSWER_S = 5.0
AT_A_TIME = 20  # as many calls as a service works on at once; those behind would wait for their answer in vain


def check_empty(holdings: Iterable[Holding]) -> None:
    """Conflict, with a sentence for each that holds data, or of which it cannot be known."""
    by_node = [list(group) for _, group in itertools.groupby(holdings, lambda one: one.node_id)]
    found = [fault for faults in eventlet.GreenPool(AT_A_TIME).imap(_faults_of_node, by_node) for fault in faults]
    if found:
        raise Conflict(*found)


def _faults_of_node(holdings: Sequence[Holding]) -> list[str]:
    disks = [one for one in holdings if one.disk_id]
    persist = [one for one in holdings if not one.disk_id]
    return [*_faults_of_disks(disks), *itertools.chain.from_iterable(map(_faults_of_persist, persist))]


def _faults_of_disks(disks: Sequence[Holding]) -> list[str]:
    if not disks:
        return []
    node = disks[0]
    try:
        answer = peers.call(vmrunner.service_on(node.host), "list_data", timeout_s=ANSWER_S, node_id=node.node_id)
        used = {one.disk_id: one.used_bytes for one in wire.load_all(DiskData, answer) if one.written}
    except WaltError as error:
        return [_unknown(one, error) for one in disks]
    return [_held(one, used[one.disk_id]) for one in disks if one.disk_id in used]


def _faults_of_persist(holding: Holding) -> Iterator[str]:
    try:
        used = peers.call(bootserver.SERVICE, "persist_bytes", timeout_s=ANSWER_S, node_id=holding.node_id)
    except WaltError as error:
        yield _unknown(holding, error)
        return
    for owner, used_bytes in used.items():
        yield _held(holding, used_bytes, f" of {owner}")


def _held(holding: Holding, used_bytes: int, whose: str = "") -> str:
    return f"node '{holding.node}': {holding.what} holds data{whose} ({units.format_size(used_bytes)}); --force destroys it"


def _unknown(holding: Holding, error: WaltError) -> str:
    return (
        f"node '{holding.node}': whether {holding.what} holds data could not be asked ({error}); "
        "--force goes ahead, and destroys it"
    )
