"""The grammar of `events` in a lab: what changes on which link, and when. Pure.

at 10s vnode1 -- vnode2: lat=80ms                       a link of the lab, at both ends
at 10s vnode1 on home-net: loss=1%                      one node's link to a network of the lab
at 20s every 10s until 60s vnode1 on home-net: bw=1Mbps
"""

from __future__ import annotations

from collections.abc import Iterable

from walt.contracts import labs, schedules, units
from walt.contracts.labs import LINK_SIGN, LabDocument, LabEvent, LabFault
from walt.contracts.schedules import MOMENT_WORDS, PortSchedule

ON = " on "
HEAD_RULE = "at TIME [every TIME until TIME] vnode1 -- vnode2, or at TIME … vnode1 on home-net"


def parse_head(text: str) -> LabEvent:
    """'at 10s vnode1 -- vnode2', whose options are not known yet; Faults."""
    words, moment = text.split(), list[str]()
    while len(words) >= 2 and words[0] in MOMENT_WORDS:
        moment.append(f"{words[0]}={words[1]}")
        words = words[2:]
    target = " ".join(words)
    ends = target.split(LINK_SIGN) if LINK_SIGN in target else target.split(ON)
    if not moment or not moment[0].startswith("at=") or len(ends) != 2 or len(words) != 3:
        raise units.Faults(f"'{text}' is not an event; allowed: {HEAD_RULE}")
    if LINK_SIGN in target:
        return LabEvent(tuple(moment), tuple(ends))
    return LabEvent(tuple(moment), (ends[0],), ends[1])


def faults(document: LabDocument) -> list[LabFault]:
    nodes = {node.name.lower() for node in document.nodes}
    found = list[tuple[tuple[str, ...], str]]()
    for event in document.events:
        path = ("events", event.title)
        wrong = [
            f"'{node}' is not a node of this lab{units.nearest(node, nodes)}; allowed: {', '.join(sorted(nodes)[:10])}"
            for node in event.nodes
            if node.lower() not in nodes
        ]
        if not wrong and not _ports_of(document, event):
            wrong = [f"'{event.target}' is not a link of this lab; allowed: a link, or a node on a network of its own"]
        found += [(path, sentence) for sentence in wrong]
        try:
            schedules.parse(event.words)
        except units.Faults as refused:
            found += [(_place(event, sentence), sentence) for sentence in refused.args]
    return [LabFault(path, "InvalidRequest", sentence) for path, sentence in found]


def _place(event: LabEvent, sentence: str) -> tuple[str, ...]:
    """Of the option that a sentence begins with; else of the event."""
    option = next((one for one in event.options if sentence.startswith(f"'{one}'")), None)
    return ("events", event.title, *([option] if option else []))


def port_schedules(document: LabDocument) -> list[PortSchedule]:
    """One for each link that changes, with all that happens on it."""
    words: dict[tuple[str, str], tuple[str, ...]] = {}
    for event in document.events:
        for port in _ports_of(document, event):
            words[port] = (*words.get(port, ()), *event.words)
    return [PortSchedule(node, network, found) for (node, network), found in words.items()]


def _ports_of(document: LabDocument, event: LabEvent) -> list[tuple[str, str]]:
    """(node, network as the registry calls it); [] where there is no such link."""
    nodes = [node.lower() for node in event.nodes]
    if event.network:
        for network in document.networks:
            if network.name == event.network and nodes[0] in _names(port.node for port in network.ports):
                return [(nodes[0], labs.network_name(document.name, network.name, network.is_external))]
        return []
    for link in document.links:
        if sorted(nodes) == sorted(_names(end.node for end in link.ends)):
            name = labs.network_name(document.name, labs.link_network(document.name, *nodes))
            return [(node, name) for node in nodes]
    return []


def _names(nodes: Iterable[str]) -> list[str]:
    return [node.lower() for node in nodes]
