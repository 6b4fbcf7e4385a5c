"""What each owner may use of the cable, on virtual time."""

import pytest

from services.netemu.cable import fairness
from services.netemu.cable.fairness import BURST_NS, LENT_NS, RESUME_NS, CpuBudget, OwnerShare, OwnerShares
from services.netemu.cable.idle import IdleCpus

MS = 1_000_000


def turns(shares: OwnerShares, working: dict[str, OwnerShare], count: int, cost_ns: int = MS) -> list[str]:
    served = []
    for _ in range(count):
        share = shares.next(working.values())
        share.used_ns += cost_ns
        served.append(share.owner)
    return served


def test_owners_with_work_have_turns_of_equal_time():
    shares = OwnerShares(1000)
    working = {name: shares.new(name) for name in ("ada", "bob", "eve")}
    assert sorted(turns(shares, working, 9)) == ["ada"] * 3 + ["bob"] * 3 + ["eve"] * 3


def test_who_had_no_work_is_next_and_has_saved_up_nothing():
    shares = OwnerShares(1000)
    idle, storm = shares.new("idle"), shares.new("storm")
    turns(shares, {"storm": storm}, 100)
    assert turns(shares, {"storm": storm, "idle": idle}, 6)[0] == "idle"
    assert abs(idle.used_ns - storm.used_ns) <= 2 * MS


def test_who_comes_last_gets_no_more_than_the_others():
    shares = OwnerShares(1000)
    storm = shares.new("storm")
    turns(shares, {"storm": storm}, 100)
    late = shares.new("late")
    assert turns(shares, {"storm": storm, "late": late}, 10).count("late") in (5, 6)


def test_one_owner_gets_half_of_the_memory_and_there_is_room_for_the_next():
    shares = OwnerShares(1200)
    ada, bob, eve = (shares.new(name) for name in ("ada", "bob", "eve"))
    for share, most in ((ada, 600), (bob, 300), (eve, 150)):
        while shares.has_room(share, 10):
            shares.keep(share, 10)
        assert share.queued_bytes == most
    shares.keep(ada, -600)
    assert shares.has_room(eve, 10)


def test_a_budget_lets_a_burst_pass_and_then_its_rate():
    budget = CpuBudget(0.5)
    assert budget.charge(BURST_NS, BURST_NS - 1) == 0
    assert budget.charge(BURST_NS, 1) == 2 * RESUME_NS
    assert budget.charge(BURST_NS + 2 * RESUME_NS, RESUME_NS // 2) == 0


def test_what_is_not_used_is_kept_up_to_a_burst():
    budget = CpuBudget(0.5)
    assert budget.charge(3600 * 10**9, BURST_NS + 1) > 0


def rate_after(monkeypatch, idle_cpus: list[float], pause_ns: int = 0) -> float:
    monkeypatch.setattr(fairness, "OWNER_CPUS", 0.5)
    shares, now_ns = OwnerShares(1000), LENT_NS
    for one in idle_cpus:
        now_ns += 200 * MS
        shares.lend(now_ns, one)
    share = shares.new("ada")
    shares.charge(share, now_ns + pause_ns, MS)
    return share.budget.rate


def test_idle_processors_are_lent_and_taken_back(monkeypatch):
    assert rate_after(monkeypatch, []) == 0.5
    assert rate_after(monkeypatch, [0.0]) == 0.5
    assert rate_after(monkeypatch, [1.5]) == fairness.MAX_CORE_SHARE
    assert 0.5 < rate_after(monkeypatch, [0.5]) < fairness.MAX_CORE_SHARE
    assert rate_after(monkeypatch, [1.5, 0.0, 0.0, 0.0, 0.0]) == 0.5
    assert rate_after(monkeypatch, [1.5], pause_ns=LENT_NS) == 0.5, "nobody has looked since"


def test_idle_processors_are_the_mean_since_the_last_look():
    ticks = iter([1000, 1030, 1030])
    idle = IdleCpus(lambda: next(ticks))
    assert idle.poll(10**9) is None
    assert idle.poll(10**9 + 100 * MS) is None
    assert idle.poll(10**9 + 200 * MS) == pytest.approx(1.5)
    assert idle.poll(2 * 10**9) == 0
