"""Pure: schedules of links as traces that begin at one moment, which those links then follow."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from services.nodes.domain import traces
from services.nodes.domain.model import Node, changed
from walt.contracts import schedules, trace_names, units
from walt.contracts import traces as contract
from walt.contracts.errors import InvalidRequest, LimitReached, NotFound
from walt.contracts.links import SIDES, LinkModel
from walt.contracts.schedules import MAX_PORTS, PortSchedule, ScheduledChange
from walt.contracts.traces import ROWS_OF_ONE, Trace, TraceContent, TraceView

TEXT_SHOWN = 200  # characters of a schedule in the log


@dataclass(frozen=True)
class ScheduleRequest:
    """ports: with what changes on each."""

    ports: tuple[tuple[PortSchedule, tuple[ScheduledChange, ...]], ...]

    @property
    def text(self) -> str:
        """For the log."""
        words = "; ".join(" ".join([port.network, *port.words]) for port, _ in self.ports)
        return words if len(words) <= TEXT_SHOWN else f"{words[:TEXT_SHOWN]}…"


@dataclass(frozen=True)
class Scheduled:
    """before, after: of each node; links: 'vnode1 (home-net)', …; contents: by name."""

    before: tuple[Node, ...]
    after: tuple[Node, ...]
    links: tuple[str, ...]
    contents: Mapping[str, tuple[Trace, TraceContent]]


def parse(ports: Sequence[PortSchedule]) -> ScheduleRequest:
    """InvalidRequest with all that is wrong with the words."""
    if not 0 < len(ports) <= MAX_PORTS:
        raise InvalidRequest(f"{len(ports)} schedules in one command; allowed: 1 to {MAX_PORTS}")
    found, faults = [], list[str]()
    for port in ports:
        try:
            found.append((port, tuple(schedules.parse(port.words))))
        except units.Faults as wrong:
            faults += wrong.args
    if faults:
        raise InvalidRequest(*dict.fromkeys(faults))
    return ScheduleRequest(tuple(found))


def scheduled(request: ScheduleRequest, selected: Sequence[Sequence[Node]], start_us: int) -> Scheduled:
    """selected: the nodes of each port of the request. NotFound and InvalidRequest name all that cannot be."""
    nodes = {node.id: node for chosen in selected for node in chosen}
    contents, links, faults, missing = dict[str, tuple[Trace, TraceContent]](), list[str](), list[str](), list[str]()
    for (port, changes), chosen in zip(request.ports, selected, strict=True):
        for node in (nodes[one.id] for one in chosen):
            use = next((one for one in node.config.networks if one.name == port.network), None)
            if use is None:
                missing.append(f"node '{node.name}' has no network '{port.network}'")
                continue
            links.append(f"{node.name} ({port.network})")
            try:
                compiled = schedules.compiled(_own(use.link), changes)
            except units.Faults as found:
                faults += [f"{node.name}: the link to {port.network}: {fault}" for fault in found.args]
                continue
            named = {side: _named(trace, start_us) for side, trace in compiled.items()}
            contents.update((name, pair) for name, pair in named.values())
            nodes[node.id] = _following(node, port.network, {side: name for side, (name, _) in named.items()})
    links_twice = [f"{link} is scheduled twice; allowed: once in a command" for link in units.doubled(links)]
    if missing:
        raise NotFound(*missing)
    if faults or links_twice:
        raise InvalidRequest(*faults, *links_twice)
    before = {node.id: node for chosen in selected for node in chosen}
    after = tuple(changed(node, config=nodes[one].config) for one, node in before.items())
    return Scheduled(tuple(before.values()), after, tuple(links), contents)


def view(name: str, trace: Trace, content: TraceContent, at: float) -> TraceView:
    return replace(traces.view(name, trace, content.loops, at), start_us=content.start_us)


def check_room(present: Sequence[TraceView]) -> None:
    """present: of one account, without schedules that nothing follows any more."""
    rows = sum(one.rows for one in present)
    if rows > ROWS_OF_ONE:
        raise LimitReached(f"your traces and schedules would have {rows} rows; allowed: {ROWS_OF_ONE} altogether")


def unused(present: Sequence[TraceView], nodes: Sequence[Node]) -> list[str]:
    """The names of schedules that no link of these nodes follows."""
    uses = traces.uses(nodes)
    return [one.name for one in present if one.start_us and one.name not in uses]


def start_text(start_us: int) -> str:
    """'2026-11-28T01:10:02.000000Z'"""
    seconds, rest = divmod(start_us, 1_000_000)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{rest:06d}Z"


def _own(link: LinkModel) -> LinkModel:
    """What its words say, whatever it follows."""
    return replace(link, **{side: replace(getattr(link, side), trace=0) for side in SIDES})


def _named(trace: Trace, start_us: int) -> tuple[str, tuple[Trace, TraceContent]]:
    """Links that change alike share a trace."""
    content = TraceContent(contract.write(trace), loops=False, start_us=start_us)
    digest = hashlib.sha256(f"{start_us} {content.text}".encode()).hexdigest()
    return f"{trace_names.OF_SCHEDULES}{digest[:12]}", (trace, content)


def _following(node: Node, network: str, names: Mapping[str, str]) -> Node:
    uses = []
    for use in node.config.networks:
        if use.name == network:
            link = _own(use.link)
            for side, name in names.items():
                link = replace(link, **{side: replace(getattr(link, side), trace=trace_names.parse(name))})
            use = replace(use, link=link)
        uses.append(use)
    return replace(node, config=replace(node.config, networks=tuple(uses)))
