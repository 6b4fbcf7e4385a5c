"""Pure: the ports that nodes are to have, joined with the reports of their hosts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from services.nodes.domain.model import Node
from walt.contracts import vmrunner
from walt.contracts.bootserver import SetAddresses
from walt.contracts.links import format_link
from walt.contracts.netemu import CABLE, DIRECT, KERNEL, PortReport
from walt.contracts.nodes import Interface, PortView

UP = "up"
NO_CARRIER = "no carrier"
LAGS = "its link has not followed yet"
REAL = "a real cable; nothing is emulated"
COMES = "is being plugged in"
COMES_LATER = "comes with the next boot"  # its slot is taken until then
GOES = "is being unplugged"

_RUNS = (vmrunner.BOOTING, vmrunner.BOOTED)


def views(
    nodes: Iterable[Node],
    reports: Mapping[str, Sequence[PortReport] | None],
    set_addresses: Iterable[SetAddresses] = (),
) -> list[PortView]:
    """reports: by host; None for a host that does not answer. set_addresses: of the systems that run."""
    given = {(one.node_id, one.mac): one for one in set_addresses}
    return [
        _with_addresses(node, view, given.get((node.id, view.mac)))
        for node in nodes
        for view in _of_node(node, reports[node.host])
    ]


def _with_addresses(node: Node, view: PortView, given: SetAddresses | None) -> PortView:
    if given is None or node.status.state != vmrunner.BOOTED:
        return view
    return replace(view, applied_addresses=given.addresses, address_reason=given.reason)


def _of_node(node: Node, reports: Sequence[PortReport] | None) -> Iterator[PortView]:
    unmatched = [report for report in reports or () if report.node_id == node.id]
    if not node.is_virtual:
        yield from (_missing(node, interface, REAL) for interface in node.interfaces)
        return
    for interface in node.interfaces:
        report = next((one for one in unmatched if _same(interface, one)), None)
        if report:
            unmatched.remove(report)
            asked, state = format_link(interface.link), _state(node, interface, report)
            yield replace(_existing(node, report, interface.mac, asked, state), addresses=interface.addresses)
        else:
            yield _missing(node, interface, _why_missing(node, interface, reports))
    for report in unmatched:
        yield _existing(node, report, "", format_link(report.requested), GOES)


def _same(interface: Interface, report: PortReport) -> bool:
    return (interface.network.name, interface.network.owner) == (report.network, report.network_owner)


def _state(node: Node, interface: Interface, report: PortReport) -> str:
    if report.backend not in (DIRECT, KERNEL, CABLE):
        return f"{report.backend}: it passes nothing and is being repaired"
    if report.requested != interface.link.of_frames:
        return LAGS
    if node.status.state == vmrunner.STOPPED:
        return f"its node is {vmrunner.STOPPED}"
    if report.slot != interface.slot:
        return f"it is {_name(interface.slot)} from the next boot on"
    return NO_CARRIER if interface.link.no_carrier else UP


def _why_missing(node: Node, interface: Interface, reports: Sequence[PortReport] | None) -> str:
    if reports is None:
        return f"host {node.host} does not answer"
    if node.status.state not in _RUNS:
        return f"its node is {node.status.state}"
    is_taken = any((one.node_id, one.slot) == (node.id, interface.slot) for one in reports)
    return COMES_LATER if is_taken else COMES


def _missing(node: Node, interface: Interface, state: str) -> PortView:
    return PortView(
        node=node.name,
        owner=node.owner,
        network=interface.network.name,
        interface=_name(interface.slot),
        mac=interface.mac,
        state=state,
        asked=format_link(interface.link),
        addresses=interface.addresses,
    )


def _existing(node: Node, report: PortReport, mac: str, asked: str, state: str) -> PortView:
    return PortView(
        node=node.name,
        owner=node.owner,
        network=report.network,
        interface=_name(report.slot),
        mac=mac,
        state=state,
        asked=asked,
        applied=format_link(report.applied),
        backend=report.backend,
        compensation_us=report.compensation_us,
        measured_latency_us=report.measured_latency_us,
        up=report.up,
        down=report.down,
        refused=report.refused,
    )


def _name(slot: int) -> str:
    return f"ens{slot}"
