"""Which disk each item of the `disks` setting is; how the registry keeps them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.nodes.domain import disks, model
from services.nodes.domain.creation import NodeRequest
from services.nodes.storage.database import sqlite_url
from services.nodes.storage.registry import RegistryStore
from tests.unit.nodes.sample import new_nodes
from walt.contracts.disks import EXT4, FAT32, NO_TEMPLATE, DiskUse
from walt.contracts.nodes import Disk
from walt.contracts.settings import NodeConfig


def existing(*sizes):
    """Disks 1, 2, …; a size is a number, or a number and a template."""
    return tuple(Disk(number, *kind(size)) for number, size in enumerate(sizes, 1))


def uses_of(*sizes):
    return tuple(DiskUse(*kind(size)) for size in sizes)


def kind(size):
    return size if isinstance(size, tuple) else (size, NO_TEMPLATE)


@pytest.mark.parametrize(
    ("before", "after", "ids"),
    [
        ((), (5,), [0]),
        ((5,), (), []),
        ((5, 6), (5, 6), [1, 2]),
        ((5, 6), (9, 5, 6), [0, 1, 2]),
        ((5, 6), (5, 9, 6), [1, 0, 2]),
        ((5, 6, 7), (5, 7), [1, 3]),
        ((5, 6, 7), (6,), [2]),
        ((5, 6), (8, 6), [1, 2]),  # grown
        ((5, 6), (7, 8), [1, 2]),
        ((5, 5), (5,), [1]),
        ((5, 5), (5, 9), [1, 2]),
        ((5, 6), (6, 7), [2, 0]),  # as it is goes before grown; the first would have to change positions
        ((5, 6), (6, 5), [0, 1]),  # so would either here
        ((5,), (4,), [0]),  # shrunk
        ((5,), ((5, EXT4),), [0]),
        (((5, EXT4),), ((9, EXT4),), [1]),
        (((5, EXT4), (5, FAT32)), (9, (9, EXT4), (5, FAT32)), [0, 1, 2]),
    ],
)
def test_disk_keeps_its_identity(before, after, ids):
    uses = uses_of(*after)
    found = disks.match_disks(existing(*before), uses)
    assert [disk.id for disk in found] == ids
    assert [DiskUse(disk.size_bytes, disk.template) for disk in found] == list(uses)


sizes = st.lists(st.tuples(st.integers(1, 4), st.sampled_from([NO_TEMPLATE, EXT4])), max_size=7)


@given(sizes, sizes)
def test_whatever_changes_no_disk_shrinks_changes_its_template_or_its_position_among_the_others(before, after):
    old = existing(*before)
    found = disks.match_disks(old, uses_of(*after))
    kept = [disk for disk in found if disk.id]
    assert [disk.id for disk in kept] == sorted({disk.id for disk in kept})
    for disk in kept:
        assert disk.size_bytes >= old[disk.id - 1].size_bytes and disk.template == old[disk.id - 1].template


@given(sizes, st.integers(0, 7), st.tuples(st.integers(1, 4), st.sampled_from([NO_TEMPLATE, EXT4])))
def test_insertion_drops_none_and_removal_drops_one(before, position, one):
    longer = [*before[:position], one, *before[position:]]
    assert {disk.id for disk in disks.match_disks(existing(*before), uses_of(*longer))} == {
        0,
        *range(1, len(before) + 1),
    }
    assert all(disk.id for disk in disks.match_disks(existing(*longer), uses_of(*before)))


def test_as_many_as_a_node_can_have_are_fitted_at_once():
    every = tuple(range(1, 27))
    assert [disk.id for disk in disks.match_disks(existing(*every), uses_of(*every[::-1]))].count(0) == 13


def test_label_is_what_users_know():
    assert disks.label(0, Disk(9, 32 * 10**9, EXT4)) == "vda (32G[template=ext4])"
    assert disks.label(25, Disk(9, 10**6, NO_TEMPLATE)) == "vdz (1M)"


@pytest.fixture
def store(tmp_path):
    one = RegistryStore(sqlite_url(tmp_path))
    yield one
    one.close()


def configured(store, node, *sizes):
    with store.transaction() as registry:
        config = NodeConfig(disks=uses_of(*sizes))
        return registry.save(model.configured(node, config))


def test_store_numbers_each_disk_once_and_keeps_their_order(store):
    with store.transaction() as registry:
        (new,) = new_nodes(NodeRequest(("n",), NodeConfig(disks=uses_of(5, 6))))
        node = registry.save(new)
    first, second = node.disks
    node = configured(store, node, 6, 9)
    assert node.disks[0] == second and node.disks[1].id > second.id
    node = configured(store, node, 1, 6, 7, 9)
    with store.transaction() as registry:
        (read,) = registry.nodes()
        assert read == node == registry.get(node.id)
    assert [disk.size_bytes for disk in node.disks] == [1, 6, 7, 9] and node.disks[1].id == second.id
    gone = {disk.id for disk in node.disks}
    node = configured(store, configured(store, node), 5)
    assert node.disks[0].id not in {*gone, first.id}


def test_disks_go_with_their_node_and_leave_their_numbers_unused(store):
    with store.transaction() as registry:
        request = NodeRequest(("n",), NodeConfig(disks=uses_of(5)))
        node = registry.save(new_nodes(request)[0])
        registry.delete(node.id)
        again = registry.save(new_nodes(request)[0])
    assert again.disks[0].id > node.disks[0].id
