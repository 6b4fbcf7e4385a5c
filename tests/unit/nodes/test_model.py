"""What reports and commands make of a node; its creation, its addresses, and the comparison with its host."""

from __future__ import annotations

from dataclasses import replace

import pytest

from services.nodes.domain import addresses, creation, drift, model
from services.nodes.domain.drift import Drift
from tests.unit.nodes.sample import ALICE, NODE, POOL
from walt.contracts.errors import Conflict, InvalidRequest, NotFound
from walt.contracts.vmrunner import BOOTED, DELAYING, VmReport


def report(boot=2, sequence=6, host="h"):
    return VmReport(1, "n", host, boot, 1, sequence, BOOTED, 9.0, "why")


@pytest.mark.parametrize(
    ("one", "is_accepted"),
    [
        (report(), True),
        (report(boot=3, sequence=1), True),
        (report(sequence=5), False),
        (report(sequence=4), False),
        (report(boot=1, sequence=9), False),
        (report(host="other"), False),
    ],
)
def test_report(one, is_accepted):
    new = model.reported(NODE, one)
    assert (new.status.state == BOOTED) is is_accepted and (new is NODE) is not is_accepted
    assert model.reported(new, one) is new


def test_report_of_a_node_wanted_absent_changes_nothing():
    gone = model.removed(NODE)
    assert model.reported(gone, report()) is gone


def test_reboot_counts_a_boot_and_says_so_in_one_step():
    new = model.rebooted(NODE, ALICE, hard=False)
    assert (new.boot, new.version, new.status.state) == (NODE.boot + 1, NODE.version + 1, DELAYING)
    assert new.status.reason == "reboot requested by alice"
    assert model.reported(new, report(boot=NODE.boot, sequence=99)) is new


def test_lowest_address_skips_the_server_and_the_taken():
    assert next(addresses.free_addresses("192.168.172.0/22", [])) == "192.168.172.2"
    free = addresses.free_addresses("10.0.0.0/29", ["10.0.0.2", "10.0.0.4"])
    assert [next(free), next(free)] == ["10.0.0.3", "10.0.0.5"]
    with pytest.raises(Conflict, match="10.0.0.0/29"):
        next(free)


def test_mac_that_is_taken_is_drawn_again():
    drawn = iter([1, 1, 2])
    assert addresses.new_mac(lambda mac: mac.endswith("01"), lambda bits: next(drawn)) == "52:54:00:00:00:02"


def test_creation_tells_all_faults():
    errors = [NotFound("no image 'nix'")]
    request = creation.parse(["A", "a", "-", "n"], ["ram=x", "y=1"], {}, "nix", errors)
    with pytest.raises(InvalidRequest) as refused:
        creation.new_nodes(request, {"n": "alice"}, {NODE.ip}, POOL, ALICE)
    assert [one.partition(";")[0] for one in refused.value.args] == [
        "'-' is not a node name",
        "'a' is given twice",
        "'x' is not a value for ram",
        "'y' is not a setting",
        "no image 'nix'",
        "the name 'n' is taken by a node of alice",
    ]
    with pytest.raises(NotFound):
        only_image = replace(request, refusals=request.refusals[1:])
        creation.new_nodes(only_image, {}, set(), POOL, ALICE)


def test_new_nodes_get_the_addresses_that_are_free():
    request = creation.parse(["a", "b"], [], {})
    new = creation.new_nodes(request, {"n": "alice"}, {"10.0.0.2", "10.0.0.4"}, POOL, ALICE)
    assert [(node.name, node.ip, node.owner, node.host) for node in new] == [
        ("a", "10.0.0.3", "alice", "h"),
        ("b", "10.0.0.5", "alice", "h"),
    ]


def test_drift_of_a_host():
    absent = model.removed(NODE)
    assert drift.compare([NODE], [report()]) == Drift([], [])
    assert drift.compare([NODE], [report(boot=1)]) == Drift([1], [])
    assert drift.compare([NODE], []) == Drift([1], [])
    assert drift.compare([absent], [report()]) == Drift([1], [])
    assert drift.compare([absent], []) == Drift([], [1])
