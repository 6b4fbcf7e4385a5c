"""The addresses of nodes on the networks of their owners."""

from __future__ import annotations

from dataclasses import replace

import pytest
import sqlalchemy as sa

from services.nodes.domain import model
from services.nodes.domain.creation import NodeRequest
from services.nodes.domain.network_addresses import (
    POOLS,
    AddressPlan,
    TakenAddresses,
    choose,
    new_subnets,
    parse_pools,
)
from services.nodes.storage.database import migrate, opened, sqlite_url
from services.nodes.storage.registry import RegistryStore
from tests.unit.nodes.sample import ALICE, new_nodes
from walt.contracts.errors import Conflict, InvalidRequest
from walt.contracts.network_uses import NetworkUse, parse_networks
from walt.contracts.settings import NodeConfig

PLAN = AddressPlan(parse_pools(POOLS), "192.168.172.0/22")
SUBNETS = ("10.64.0.0/24", "fd77:616c:7400::/64")


def use(address=""):
    return NetworkUse("net", address=address)


def test_networks_of_one_owner_have_different_subnets():
    assert new_subnets(PLAN, ()) == SUBNETS
    assert new_subnets(PLAN, SUBNETS) == ("10.64.1.0/24", "fd77:616c:7400:1::/64")
    assert new_subnets(AddressPlan(), ()) == ()


def test_a_pool_goes_round_walt_net_and_ends():
    pools = parse_pools("192.168.168.0/21")
    assert new_subnets(AddressPlan(pools, PLAN.walt_net), {f"192.168.{one}.0/24" for one in range(168, 171)}) == (
        "192.168.171.0/24",
    )
    with pytest.raises(Conflict, match="all subnets"):
        new_subnets(AddressPlan(pools, PLAN.walt_net), {f"192.168.{one}.0/24" for one in range(168, 172)})


@pytest.mark.parametrize("text", ["", "x", "10.64.0.1/10", "10.64.0.0/25", "10.0.0.0/8,11.0.0.0/8", "fd00::/65"])
def test_what_is_no_pool(text):
    with pytest.raises(ValueError, match="."):
        parse_pools(text)


def test_the_first_that_is_free_and_then_always_the_same():
    assert choose(use(), SUBNETS, (), TakenAddresses({"10.64.0.1", "fd77:616c:7400::1"}), PLAN) == (
        "10.64.0.2/24",
        "fd77:616c:7400::2/64",
    )
    present = ("10.64.0.9/24", "fd77:616c:7400::9/64")
    assert choose(use(), SUBNETS, present, TakenAddresses({"10.64.0.1"}), PLAN) == present
    assert choose(use(), SUBNETS, present, TakenAddresses({"10.64.0.9"}), PLAN)[0] == "10.64.0.1/24", (
        "another has it meanwhile"
    )


@pytest.mark.parametrize(
    ("address", "chosen"),
    [
        ("none", ()),
        ("192.168.55.2/24", ("192.168.55.2/24",)),
        ("192.168.55.0/24", ("192.168.55.1/24",)),
        ("fd01::/64", ("fd01::1/64",)),
    ],
)
def test_what_the_user_chooses(address, chosen):
    assert choose(use(address), SUBNETS, (), TakenAddresses(), PLAN) == chosen


def test_what_he_cannot_have():
    with pytest.raises(Conflict, match=r"net: 10\.1\.2\.7 is the address of another node there"):
        choose(use("10.1.2.7/24"), SUBNETS, (), TakenAddresses({"10.1.2.7"}), PLAN)
    with pytest.raises(Conflict, match=r"all addresses of net \(10\.1\.2\.0/30\) are taken"):
        choose(use("10.1.2.0/30"), SUBNETS, (), TakenAddresses({"10.1.2.1", "10.1.2.2"}), PLAN)
    for address in ("192.168.173.7/24", "192.168.0.0/16"):
        with pytest.raises(InvalidRequest, match="overlaps walt-net"):
            choose(use(address), SUBNETS, (), TakenAddresses(), PLAN)


@pytest.fixture
def store(tmp_path):
    one = RegistryStore(sqlite_url(tmp_path), plan=PLAN)
    yield one
    one.close()


def create(store, networks, *names, user="alice"):
    context = replace(ALICE, user=user, account=f"{user}-1")
    with store.transaction() as registry:
        taken = {node.ip for node in registry.nodes()}
        for node in new_nodes(NodeRequest(names, NodeConfig(networks=parse_networks(networks))), taken, context):
            registry.save(node)


def configure(store, name, networks):
    with store.transaction() as registry:
        node = registry.named(name)
        registry.save(model.configured(node, replace(node.config, networks=parse_networks(networks))))


def addresses(store):
    with store.transaction() as registry:
        return {
            node.name: {
                one.network.name: [text.partition("/")[0] for text in one.addresses] for one in node.interfaces[1:]
            }
            for node in registry.nodes()
        }


def test_nodes_have_addresses_in_the_order_of_their_coming_and_keep_them(store):
    create(store, "walt-net,net,other", "a", "b")
    create(store, "walt-net,net", "c", user="bob")
    before = addresses(store)
    assert before["a"] == {"net": ["10.64.0.1", "fd77:616c:7400::1"], "other": ["10.64.1.1", "fd77:616c:7400:1::1"]}
    assert before["b"]["net"][0] == "10.64.0.2" and before["c"]["net"][0] == "10.64.0.1"
    configure(store, "b", "walt-net,other,net[lat=10ms]")
    assert addresses(store)["b"] == before["b"]
    configure(store, "a", "walt-net,other")
    create(store, "walt-net,net", "d")
    configure(store, "a", "walt-net,net,other")
    assert [addresses(store)[name]["net"][0] for name in "abd"] == ["10.64.0.3", "10.64.0.2", "10.64.0.1"]


def test_a_chosen_address_is_of_one_node_and_chosen_round(store):
    create(store, "walt-net,net[addr=10.64.0.1/24]", "a")
    create(store, "walt-net,net", "b")
    assert addresses(store)["b"]["net"][0] == "10.64.0.2"
    with pytest.raises(Conflict, match="10.64.0.2 is the address of another node"):
        configure(store, "a", "walt-net,net[addr=10.64.0.2/24]")
    assert addresses(store)["a"]["net"] == ["10.64.0.1"], "as before"
    configure(store, "a", "walt-net,net[addr=none]")
    assert addresses(store)["a"]["net"] == []


def test_what_one_of_a_lab_asks_for_is_not_given_to_another_by_chance(store):
    networks = {"a": "walt-net,net", "b": "walt-net,net[addr=10.64.0.1/24]"}
    with store.transaction() as registry:
        new = [
            replace(node, config=NodeConfig(networks=parse_networks(networks[node.name])))
            for node in new_nodes(NodeRequest(tuple(networks), NodeConfig()))
        ]
        registry.reserve_addresses(new)
        for node in new:
            registry.save(node)
    assert [addresses(store)[name]["net"][0] for name in "ab"] == ["10.64.0.2", "10.64.0.1"]


def test_networks_of_before_keep_what_their_users_have_set(tmp_path):
    store = RegistryStore(sqlite_url(tmp_path))
    create(store, "walt-net,net", "a")
    store.close()
    with opened(sqlite_url(tmp_path)) as database, database.begin() as connection:
        assert connection.execute(sa.text("SELECT subnets FROM networks")).scalars().all() == [""]
        migrate(connection)
    store = RegistryStore(sqlite_url(tmp_path), plan=PLAN)
    create(store, "walt-net,net", "b")
    assert addresses(store) == {"a": {"net": []}, "b": {"net": []}}
    store.close()
