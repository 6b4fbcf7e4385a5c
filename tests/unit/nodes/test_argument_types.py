"""Arguments from the bus, of any kind and size: each is refused with a sentence that repeats little of it."""

from __future__ import annotations

import pytest

from services.kit.bus.arguments import Signature
from services.nodes.argument_types import MAX_CHARACTERS, MAX_EVENT_ID, EventCount, EventId, NodeSet, Seconds, Texts
from walt.contracts.errors import InvalidRequest


class Service:
    def command(self, selection: NodeSet, settings: Texts) -> None: ...

    def query(self, since: Seconds, after: EventId, limit: EventCount) -> None: ...


def load(method, *args):
    return tuple(Signature(method).load(args, {}).values())


NO_TEXTS = ["", 7, None, [], {}, "a\0", "a\nb", "\ud800", "\x1b[31m", "x" * (MAX_CHARACTERS + 1), [["x"]] * 10**6]
NO_LISTS = ["abc", None, ["a", 1], ["x"] * MAX_CHARACTERS, ["x" * MAX_CHARACTERS], [["x"]] * 10**5]


@pytest.mark.parametrize("value", NO_TEXTS)
def test_node_set_that_is_none(value):
    with pytest.raises(InvalidRequest, match="^selection: ") as refused:
        load(Service.command, value, [])
    assert len(str(refused.value)) < 250


@pytest.mark.parametrize("value", NO_LISTS)
def test_list_that_is_none(value):
    with pytest.raises(InvalidRequest, match="^settings") as refused:
        load(Service.command, "a", value)
    assert len(refused.value.args) <= 100 and all(len(sentence) < 250 for sentence in refused.value.args)


def test_longest():
    names = ",".join(["n" * 63] * (MAX_CHARACTERS // 64))
    assert load(Service.command, names, names.split(",")) == (names, tuple(names.split(",")))
    assert names.count(",") == 1023
    assert load(Service.command, "é ç,x", []) == ("é ç,x", ())


@pytest.mark.parametrize(
    "values",
    [
        ("x", 0, 1),
        (True, 0, 1),
        (float("nan"), 0, 1),
        (float("inf"), 0, 1),
        (10**400, 0, 1),
        (-1, 0, 1),
        (2**53, 0, 1),
        (0, -1, 1),
        (0, 2**63, 1),
        (0, 1.0, 1),
        (0, 0, 0),
        (0, 0, 10_001),
        (0, 0, None),
    ],
)
def test_query_of_any_kind_is_refused_with_a_sentence(values):
    with pytest.raises(InvalidRequest, match="^(since|after|limit): "):
        load(Service.query, *values)


def test_query_is_accepted_from_its_first_to_its_last_values():
    assert load(Service.query, 0, 0, 1) == (0.0, 0, 1)
    assert load(Service.query, 2**53 - 1, MAX_EVENT_ID, 10_000) == (2.0**53 - 1, 2**63 - 1, 10_000)
