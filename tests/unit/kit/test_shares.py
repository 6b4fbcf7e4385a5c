"""Users share the workers of a service: few of one at a time, all in turn, and nobody's queue grows without bound."""

from services.kit.bus.shares import REFUSALS_S, Refusals, Shares


def started(shares):
    return list(iter(shares.next, None))


def test_no_caller_has_more_than_his_share():
    shares = Shares(total=10, each=2, waiting=9, size=100)
    for number in range(5):
        assert shares.offer("ada", f"ada{number}")
    shares.offer("bob", "bob0")
    assert started(shares) == ["ada0", "bob0", "ada1"]
    shares.done("ada")
    assert started(shares) == ["ada2"]


def test_callers_take_turns():
    shares = Shares(total=2, each=2, waiting=9, size=100)
    for number in range(3):
        shares.offer("ada", f"ada{number}")
        shares.offer("bob", f"bob{number}")
    assert started(shares) == ["ada0", "bob0"]
    shares.done("ada")
    assert started(shares) == ["ada1"]
    shares.done("ada")
    assert started(shares) == ["bob1"]


def test_too_many_of_one_caller_are_refused_and_not_those_of_another():
    shares = Shares(total=1, each=1, waiting=2, size=100)
    assert shares.offer("ada", 1)
    started(shares)
    assert [shares.offer("ada", number) for number in (2, 3, 4)] == [True, True, False]
    assert shares.offer("bob", 5)


def test_what_waits_of_one_caller_is_bounded_in_size_too():
    shares = Shares(total=1, each=1, waiting=9, size=10)
    assert shares.offer("ada", 1, 50)  # alone, it may
    assert not shares.offer("ada", 2, 1)
    started(shares)
    assert [shares.offer("ada", 3, 6), shares.offer("ada", 4, 6), shares.offer("bob", 5, 6)] == [True, False, True]


def test_nothing_is_kept_of_callers_who_have_nothing_here():
    shares = Shares(total=5, each=5, waiting=5, size=100)
    for number in range(100):
        shares.offer(f"user{number}", number)
        started(shares)
        shares.done(f"user{number}")
    assert not shares._waiting and not shares._running


def test_refusals_are_counted_for_each_caller_and_for_a_while():
    refusals = Refusals()
    assert [refusals.count("ada", 100.0), refusals.count("ada", 101.0), refusals.count("bob", 102.0)] == [1, 2, 1]
    assert refusals.count("ada", 100.0 + REFUSALS_S) == 1
