"""An address that requests too often is refused, until it has waited; no other address notices."""

from __future__ import annotations

from services.bootserver.request_budget import MAX_ADDRESSES, RequestBudget


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def test_a_burst_is_allowed_and_then_one_request_at_each_refill():
    clock = Clock()
    budget = RequestBudget(burst=3, refill_s=2.0, clock=clock)
    assert [budget.spend("a") for _ in range(5)] == [True, True, True, False, False]
    assert budget.spend("b")
    clock.now += 2.0
    assert [budget.spend("a") for _ in range(2)] == [True, False]
    clock.now += 60.0
    assert [budget.spend("a") for _ in range(4)] == [True, True, True, False]


def test_invented_addresses_fill_no_memory():
    clock = Clock()
    budget = RequestBudget(burst=1, refill_s=1e9, clock=clock)
    for number in range(3 * MAX_ADDRESSES):
        assert budget.spend(str(number))
    assert len(budget._full_at) <= MAX_ADDRESSES
    assert not budget.spend(str(3 * MAX_ADDRESSES - 1))
