"""What the soak calls growth, and which lines of a log it calls unexplained."""

import pytest

from benchmarks.growth import Grown, compared, table, unexplained


@pytest.mark.parametrize(
    ("before", "after", "is_too_much"),
    [
        (100, 105, False),
        (100, 105.1, True),
        (10, 11, True),
        (10, 10, False),
        (100, 2, False),
        (0, 1, True),
        (0, 0, False),
    ],
)
def test_more_than_a_twentieth_is_too_much(before, after, is_too_much):
    assert Grown("queues", before, after).is_too_much is is_too_much


def test_every_figure_of_either_look_is_compared():
    rows = compared({"queues": 10.0, "memory of cable": 5.0}, {"queues": 10.0, "mounts": 2.0})
    assert [(row.what, row.before, row.after) for row in rows] == [
        ("queues", 10.0, 10.0),
        ("memory of cable", 5.0, 0.0),
        ("mounts", 0.0, 2.0),
    ]
    assert [row.share for row in rows] == [0.0, -1.0, 1.0]
    assert table(rows)[0].split() == ["queues", "10.0", "10.0", "0.0", "%"]
    assert table(rows)[2].endswith("too much") and table([]) == []


LINES = [
    "nodes: 2026-11-28 05:00:01,123 INFO services.nodes: serving",
    "rabbitmq: 2026-11-28 05:00:01.123+00:00 [info] <0.7.0> accepting AMQP connection",
    "nodes: 2026-11-28 05:00:01,123 WARNING services.nodes: host lab-2 answers again",
    "nodes: 2026-11-28 05:09:01,777 WARNING services.nodes: host lab-2 answers again",
    "nodes:     Traceback (most recent call last):",
    "netemu: a line of a program",
    "",
]


def test_lines_beyond_the_ordinary_are_counted_without_their_numbers():
    odd = unexplained(LINES, {})
    assert odd["nodes: * * WARNING services.nodes: host lab-* answers again"] == 2
    assert len(odd) == 3 and sum(odd.values()) == 4


def test_what_is_explained_is_left_out():
    assert list(unexplained(LINES, {"answers again": "a test", "Traceback": "a test"})) == [
        "netemu: a line of a program"
    ]
