"""Pure: the traces of an account, and which links follow them.

In the settings of a node a link names a trace, as its user does; in a spec, and in what agents report, it has the id.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from services.nodes.domain.model import Node
from walt.contracts import trace_names, traces, units
from walt.contracts.errors import Conflict, InvalidRequest, LimitReached, NotFound
from walt.contracts.links import SIDES, LinkModel
from walt.contracts.netemu import PortReport
from walt.contracts.nodes import Interface, NodeWanted
from walt.contracts.traces import ROWS_OF_ONE, TRACES_OF_ONE, Trace, TraceContent, TraceView

Ids = Mapping[tuple[str, str], int]  # {(account, name): id}


def parse(name: str, content: TraceContent) -> Trace:
    """InvalidRequest with all that is wrong with the name and the rows."""
    faults = list[str]()
    if not trace_names.is_name(name) or name.startswith(trace_names.OF_SCHEDULES):
        faults.append(f"'{name}' is not a name of a trace; allowed: {trace_names.NAME_RULE}; neither none nor at-…")
    try:
        trace = traces.read(content.text)
    except units.Faults as found:
        raise InvalidRequest(*faults, *found.args) from None
    if faults:
        raise InvalidRequest(*faults)
    return trace


def view(name: str, trace: Trace, loops: bool, at: float) -> TraceView:
    return TraceView(
        name,
        at,
        loops,
        rows=len(trace.keep_us),
        length_us=trace.length_us,
        columns=tuple(trace.columns)[1:],
        mean_bps=round(trace.total_bytes * 8e6 / trace.length_us) if trace.rate_bps or trace.pass_bytes else None,
        min_latency_us=min(trace.latency_us, default=None),
        max_latency_us=max(trace.latency_us, default=None),
    )


def followed(specs: Iterable[NodeWanted]) -> set[int]:
    """The ids of the traces that links of these nodes follow."""
    links = [one.link for spec in specs for one in spec.interfaces]
    return {way.trace for link in links for way in (link.up, link.down)} - {0}


def check_room(present: Sequence[TraceView], new: TraceView) -> None:
    """present: of the same account."""
    if new.name in (one.name for one in present):
        raise Conflict(f"you have a trace '{new.name}'; allowed: another name, or walt network trace remove {new.name}")
    if len(present) >= TRACES_OF_ONE:
        raise LimitReached(
            f"{len(present)} traces are yours; allowed: {TRACES_OF_ONE} (walt network trace remove NAME)"
        )
    rows = sum(one.rows for one in present)
    if rows + new.rows > ROWS_OF_ONE:
        raise LimitReached(f"your traces have {rows} rows, and {new.rows} more; allowed: {ROWS_OF_ONE} altogether")


def unknown(name: str, names: Iterable[str]) -> str:
    """The sentence; names: those of the account."""
    there = list(names)
    return (
        f"no trace '{name}'{units.nearest(name, there)}; yours: {', '.join(there) or 'none'} (walt network trace list)"
    )


def names_of(link: LinkModel) -> Iterator[str]:
    """Of the traces that it follows."""
    for side in SIDES:
        if number := getattr(link, side).trace:
            yield trace_names.format_number(number)


def check_present(names: Iterable[str], name: str) -> None:
    """names: those of the account."""
    if name not in names:
        raise NotFound(unknown(name, names))


def uses(nodes: Iterable[Node]) -> dict[str, tuple[str, ...]]:
    """{name of a trace: 'vnode1 (home-net)', … of the nodes whose links follow it}"""
    found: dict[str, tuple[str, ...]] = {}
    for node in nodes:
        for use in node.config.networks:
            for name in dict.fromkeys(names_of(use.link)):
                found[name] = (*found.get(name, ()), f"{node.name} ({use.name})")
    return found


def check_unused(name: str, used_by: Sequence[str]) -> None:
    if used_by:
        raise Conflict(
            f"trace '{name}' is followed by {', '.join(used_by)}; allowed: once no link follows it "
            "(walt network link NODE NETWORK trace=none)"
        )


def check_known(nodes: Iterable[Node], known: Callable[[], Iterable[str]]) -> None:
    """NotFound with a sentence for each name of a trace that the account of the nodes has not. known: its traces."""
    wanted = dict.fromkeys(name for node in nodes for use in node.config.networks for name in names_of(use.link))
    if wanted:
        there = list(known())
        missing = [unknown(name, there) for name in wanted if name not in there]
        if missing:
            raise NotFound(*missing)


def follows(node: Node) -> bool:
    return any(True for one in node.interfaces for _ in names_of(one.link))


def with_ids(node: Node, ids: Ids) -> tuple[Interface, ...]:
    """The interfaces of the node, for its agents. A trace that is not there any more is none."""

    def number(value: int) -> int:
        return ids.get((node.owner_account, trace_names.format_number(value)), 0)

    return tuple(replace(one, link=_replaced(one.link, number)) for one in node.interfaces)


def ids_of(reports: Iterable[PortReport]) -> set[int]:
    links = [link for report in reports for link in (report.requested, report.applied)]
    return {getattr(link, side).trace for link in links for side in SIDES} - {0}


def with_names(report: PortReport, names: Mapping[int, str]) -> PortReport:
    """A report of ports, for users."""

    def number(value: int) -> int:
        return trace_names.parse(names.get(value, trace_names.NO_TRACE))

    requested, applied = (_replaced(link, number) for link in (report.requested, report.applied))
    return replace(report, requested=requested, applied=applied)


def without(node: Node) -> Node:
    """Of a node that changes its owner: the traces are those of the former one."""
    uses = tuple(replace(use, link=_replaced(use.link, lambda _: 0)) for use in node.config.networks)
    return replace(node, config=replace(node.config, networks=uses))


def _replaced(link: LinkModel, number: Callable[[int], int]) -> LinkModel:
    if not link.up.trace and not link.down.trace:
        return link
    up, down = (replace(way, trace=number(way.trace) if way.trace else 0) for way in (link.up, link.down))
    return replace(link, up=up, down=down)
