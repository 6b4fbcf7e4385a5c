"""The ids of removed nodes are remembered, in bounds, until a restored registry has them again."""

from services.kit.removed_nodes import KEPT, RemovedNodes


def test_ids_are_remembered_until_they_are_back():
    removed = RemovedNodes()
    for node_id in (1, 2, 3):
        removed.add(node_id)
    removed.are_back([2, 7])
    assert [node_id in removed for node_id in (1, 2, 3, 7)] == [True, False, True, False]


def test_the_oldest_are_forgotten():
    removed = RemovedNodes()
    for node_id in range(KEPT + 2):
        removed.add(node_id)
    assert 1 not in removed and 2 in removed and KEPT + 1 in removed
