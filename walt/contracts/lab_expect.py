"""What a lab expects of its nodes and links: the grammar of `expect`. Pure.

    reach A B [over NETWORK]      A reaches B; the value `no`: it does not
    rtt A B [over NETWORK]        the median round trip of pings: 20ms ± 2%, below 30ms, above 5ms
    loss A B [over NETWORK]       the share of pings without an answer: 1% ± 0.5%
    rate A B [over NETWORK]       what TCP brings from A to B: 100Mbps ± 10%
    command A                     a command, which ends with status 0

over NETWORK: the address of B on it; without, on the first network that both are on, walt-net if there is no other.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

from walt.contracts import units
from walt.contracts.labs import LabExpectation
from walt.contracts.names import WALT_NET

REACH, RTT, LOSS, RATE, COMMAND = KINDS = ("reach", "rtt", "loss", "rate", "command")
YES, NO = "yes", "no"
OVER = "over"
MAX_COMMAND = 4096
HEAD_RULE = "reach, rtt, loss or rate with two nodes (rtt vnode1 vnode2: 20ms ± 2%), command with one"

_PLUS_MINUS = ("±", "+-", "+/-")


@dataclass(frozen=True)
class Kind:
    """Of a quantity. parse: of what users write, in the unit in which it is measured; by_share: a tolerance in percent
    is a share of the value; else it is in points."""

    parse: Callable[[str], int]
    format: Callable[[int], str]
    example: str
    by_share: bool = True


QUANTITIES = {
    RTT: Kind(units.parse_latency_us, units.format_latency, "20ms"),
    LOSS: Kind(units.parse_share_ppm, units.format_share, "1%", by_share=False),
    RATE: Kind(units.parse_rate_bps, units.format_rate, "100Mbps"),
}


@dataclass(frozen=True)
class ExpectedRange:
    """Both belong to what is expected."""

    low: float
    high: float

    def includes(self, value: float) -> bool:
        return self.low <= value <= self.high


def parse_head(text: str) -> LabExpectation:
    """'rtt vnode1 vnode2 over home-net', whose value is not known yet; Faults."""
    kind, *words = text.split() or [""]
    if kind not in KINDS:
        raise units.Faults(f"'{kind}' is not an expectation{units.nearest(kind, KINDS)}; allowed: {HEAD_RULE}")
    network = ""
    if kind != COMMAND and len(words) == 4 and words[2] == OVER:
        words, network = words[:2], words[3]
    if len(words) != (1 if kind == COMMAND else 2):
        raise units.Faults(f"'{text}' is not an expectation; allowed: {HEAD_RULE}")
    return LabExpectation(kind, tuple(words), network=network)


def faults_of_value(expectation: LabExpectation) -> list[str]:
    kind, value = expectation.kind, expectation.value
    if kind == COMMAND:
        wrong, allowed = not 0 < len(value) <= MAX_COMMAND, f"a command of at most {MAX_COMMAND} characters"
    elif kind == REACH:
        wrong, allowed = value not in ("", YES, NO), f"{YES} or {NO}"
    else:
        try:
            parse_bounds(kind, value)
        except ValueError as rule:
            return [f"'{value}' is not a value for {kind}; allowed: {rule}"]
        return []
    return [f"'{value}' is not a value for {kind}; allowed: {allowed}"] if wrong else []


def faults_of_names(expectation: LabExpectation, nodes: Collection[str], networks: Collection[str]) -> list[str]:
    """nodes, networks: of the lab, as the document calls them."""
    if expectation.kind not in KINDS or len(expectation.nodes) != (1 if expectation.kind == COMMAND else 2):
        return [f"'{expectation.title}' is not an expectation; allowed: {HEAD_RULE}"]
    faults = [
        f"'{node}' is not a node of this lab{units.nearest(node, nodes)}; allowed: {', '.join(sorted(nodes)[:10])}"
        for node in expectation.nodes
        if node.lower() not in nodes
    ]
    known = (*networks, WALT_NET)
    if expectation.network and expectation.network not in known:
        hint = units.nearest(expectation.network, known)
        faults.append(f"'{expectation.network}' is not a network of this lab{hint}; allowed: {', '.join(known)}")
    return faults


def parse_bounds(kind: str, text: str) -> ExpectedRange:
    """'20ms ± 2%' -> ExpectedRange(19600, 20400); ValueError(what is allowed)."""
    quantity = QUANTITIES[kind]
    rule = f"{quantity.example} ± 10%, below {quantity.example}, or above {quantity.example}"
    words = text.split()
    try:
        if len(words) == 2 and words[0] in ("below", "above"):
            value = float(quantity.parse(words[1]))
            return ExpectedRange(value, float("inf")) if words[0] == "above" else ExpectedRange(float("-inf"), value)
        if len(words) == 3 and words[1] in _PLUS_MINUS:
            value = float(quantity.parse(words[0]))
            tolerance = _tolerance(quantity, value, words[2])
            return ExpectedRange(value - tolerance, value + tolerance)
    except ValueError:
        raise ValueError(rule) from None
    raise ValueError(rule)


def _tolerance(quantity: Kind, value: float, text: str) -> float:
    if quantity.by_share and text.endswith("%"):
        return value * units.parse_share_ppm(text) / 1_000_000
    return float(quantity.parse(text))
