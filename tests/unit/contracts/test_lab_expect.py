"""The grammar of what a lab expects."""

from __future__ import annotations

import math

import pytest

from walt.contracts.lab_expect import ExpectedRange, parse_bounds, parse_head
from walt.contracts.labs import LabExpectation
from walt.contracts.units import Faults


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("reach a b", LabExpectation("reach", ("a", "b"))),
        ("rtt a b over home-net", LabExpectation("rtt", ("a", "b"), network="home-net")),
        ("command a", LabExpectation("command", ("a",))),
        ("reach over b", LabExpectation("reach", ("over", "b"))),  # a node may have this name
        ("reach a over over net", LabExpectation("reach", ("a", "over"), network="net")),
    ],
)
def test_head(text, found):
    assert parse_head(text) == found and found.title == text


@pytest.mark.parametrize(
    "text", ["", "rt a b", "rtt a", "rtt a b c", "command a b", "reach a b over", "command a over x"]
)
def test_no_head(text):
    with pytest.raises(Faults, match="is not an expectation"):
        parse_head(text)


@pytest.mark.parametrize(
    ("kind", "text", "bounds"),
    [
        ("rtt", "20ms ± 2%", ExpectedRange(19_600, 20_400)),
        ("rtt", "20ms +- 1ms", ExpectedRange(19_000, 21_000)),
        ("rtt", "below 30ms", ExpectedRange(-math.inf, 30_000)),
        ("loss", "1% ± 0.5%", ExpectedRange(5_000, 15_000)),
        ("rate", "100Mbps ± 10%", ExpectedRange(90e6, 110e6)),
        ("rate", "above 5Mbps", ExpectedRange(5e6, math.inf)),
    ],
)
def test_bounds(kind, text, bounds):
    assert parse_bounds(kind, text) == bounds
    assert bounds.includes(max(bounds.low, 0)) and not bounds.includes(bounds.high + 1) or bounds.high == math.inf


@pytest.mark.parametrize(
    "text", ["", "20ms", "20 ± 2%", "20ms ± 2", "20ms ± -1%", "about 20ms", "20ms - 2%", "below x", "± ± ±"]
)
def test_no_bounds(text):
    with pytest.raises(ValueError, match="20ms ± 10%, below 20ms, or above 20ms"):
        parse_bounds("rtt", text)
