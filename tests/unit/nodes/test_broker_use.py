"""Who has too much at the broker, and who sends far more than others."""

from services.nodes.users.broker_use import (
    ALLOWED,
    EXCHANGES,
    BrokerBinding,
    BrokerObjects,
    ChannelWork,
    excesses,
    loudest,
)


def test_things_belong_to_whose_name_they_bear():
    own = BrokerBinding("nameko-rpc", "user.ada.1", "user.ada.1", False)
    between = BrokerBinding("nameko-rpc", "walt-console", "user.eve.x", True)
    objects = BrokerObjects(
        {"user.ada.1": 5, "user.ada-2.1": 6, "rpc-nodes": 7}, ("nameko-rpc", "user.eve.x"), (own, between)
    )
    assert objects.of("ada") == BrokerObjects({"user.ada.1": 5}, (), (own,))
    assert objects.of("eve") == BrokerObjects({}, ("user.eve.x",), (between,))
    assert excesses(objects) == {}


def test_what_is_nobodys_is_nobodys_excess():
    count = ALLOWED[EXCHANGES] + 1
    assert excesses(BrokerObjects({}, tuple(f"x{number}" for number in range(count)), ())) == {}
    names = tuple(f"user.eve.{number}" for number in range(count))
    assert excesses(BrokerObjects({}, names, ())) == {"eve": "eve has 11 exchanges at the broker; allowed: 10"}


def test_the_loudest_sends_far_more_than_each_other():
    before = {"1": ChannelWork("ada", 1_000_000), "2": ChannelWork("eve", 10)}
    after = {"1": ChannelWork("ada", 1_000_100), "2": ChannelWork("eve", 200), "3": ChannelWork("eve", 400)}
    everybody = {"ada", "eve"}
    assert loudest(before, after, everybody) == "eve"
    assert loudest(before, after, {"ada"}) == "ada"
    assert loudest(before, {**after, "1": ChannelWork("ada", 1_000_300)}, everybody) == "", "not clear"
    assert loudest(before, before, everybody) == "" == loudest({}, {}, everybody)
