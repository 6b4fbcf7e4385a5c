"""Who may mount which /persist; numbers of exports stay with their folders."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from services.bootserver.nfs import exports, persist
from services.bootserver.nfs.exports import Export, Exports
from services.bootserver.nfs.persist import PersistStore
from walt.contracts import serialization
from walt.contracts.errors import InvalidRequest
from walt.contracts.nodes import Owner

NOBODY, SERVER = "", "10.0.0.1"
ALICES = exports.granted(Exports(), 7, "alice", "10.0.0.7")


def test_granting_twice_changes_nothing():
    assert ALICES.all == (Export(2, 7, "alice", "10.0.0.7"),)
    assert exports.granted(ALICES, 7, "alice", "10.0.0.7") == ALICES


def test_new_owner_gets_a_folder_of_his_own_and_the_former_one_finds_his_again():
    bobs = exports.granted(ALICES, 7, "bob", "10.0.0.7")
    assert bobs.all == (Export(2, 7, "alice", NOBODY), Export(3, 7, "bob", "10.0.0.7"))
    again = exports.granted(bobs, 7, "alice", "10.0.0.7")
    assert again.all == (Export(2, 7, "alice", "10.0.0.7"), Export(3, 7, "bob", NOBODY))


def test_a_node_that_comes_or_goes_is_no_other_nodes_affair():
    both = exports.granted(ALICES, 8, "bob", "10.0.0.8")
    assert both.all == (Export(2, 7, "alice", "10.0.0.7"), Export(3, 8, "bob", "10.0.0.8"))
    assert exports.granted(both, 8, "carol", "10.0.0.8").all[:2] == (both.all[0], Export(3, 8, "bob", NOBODY))
    assert exports.revoked(both, 8).all == (both.all[0], Export(3, 8, "bob", NOBODY))
    assert exports.forgotten(both, 8).all == both.all[:1]


def test_address_of_another_node_opens_nothing_of_that_one():
    assert exports.granted(ALICES, 8, "bob", "10.0.0.7").all == (
        Export(2, 7, "alice", NOBODY),
        Export(3, 8, "bob", "10.0.0.7"),
    )


def test_numbers_come_again_as_late_as_can_be():
    gone = exports.forgotten(ALICES, 7)
    assert exports.granted(gone, 8, "bob", "10.0.0.8").all[0].id == 3
    last = replace(gone, newest_id=exports.LAST_ID)
    assert exports.granted(last, 8, "bob", "10.0.0.8").all[0].id == 2
    taken = replace(ALICES, newest_id=exports.LAST_ID)
    assert exports.granted(taken, 8, "bob", "10.0.0.8").all[1].id == 3


def test_configuration_names_those_who_may_only():
    both = exports.granted(ALICES, 8, "bob", "10.0.0.8")
    text = exports.configuration(Path("/i"), Path("/r"), Path("/p"), SERVER, exports.revoked(both, 7))
    assert "/persist/7" not in text and "10.0.0.7" not in text
    (bobs,) = text.split("EXPORT {")[1:]
    assert 'Path = "/p/8/bob"' in bobs and 'Pseudo = "/persist/8/bob"' in bobs and "Access_Type = None;" in bobs
    assert "CLIENT { Clients = 10.0.0.8; Access_Type = RW; Squash = No_Root_Squash; }" in bobs
    assert text.count("{") == text.count("}")


def test_an_image_is_open_to_the_nodes_that_boot_it_and_to_no_other():
    two = exports.image_granted(exports.image_granted(ALICES, 7, "users/a1", "10.0.0.7"), 8, "debian", "10.0.0.8")
    assert exports.image_granted(two, 7, "users/a1", "10.0.0.7") is two
    assert [(one.id, one.folder) for one in two.images] == [(3, "users/a1"), (4, "debian")]
    text = exports.configuration(Path("/i"), Path("/r"), Path("/p"), SERVER, two)
    users, debian, _ = text.split("EXPORT {")[1:]
    assert 'Path = "/i/users/a1"' in users and 'Pseudo = "/images/users/a1"' in users and "None" in users
    assert "Clients = 10.0.0.1, 10.0.0.7; Access_Type = RO;" in users
    assert "Clients = 10.0.0.1, 10.0.0.8; Access_Type = RO;" in debian
    moved = exports.image_granted(two, 7, "debian", "10.0.0.7")
    assert [(one.id, one.folder) for one in moved.images] == [(4, "debian")]
    assert "Clients = 10.0.0.1, 10.0.0.8, 10.0.0.7;" in exports.configuration(
        Path("/i"), Path("/r"), Path("/p"), SERVER, moved
    )
    alone = exports.image_granted(exports.image_revoked(moved, 8), 7, "debian", "10.0.0.7")
    assert alone.images[0].clients == (exports.NfsClient(7, "10.0.0.7"),)
    assert exports.image_granted(alone, 9, "debian", "10.0.0.7").images[0].clients == (
        exports.NfsClient(9, "10.0.0.7"),
    )
    assert exports.image_revoked(alone, 7).images == ()


def test_root_of_an_image_with_a_script_of_its_own_is_where_that_looks_for_it():
    mac = "52:54:00:00:00:07"
    known = exports.own_root_granted(Exports(), 7, mac, "users/a", "10.0.0.7")
    assert exports.own_root_granted(known, 7, mac, "users/a", "10.0.0.7") is known
    text = exports.configuration(Path("/images"), Path("/r"), Path("/p"), SERVER, known)
    assert f'Pseudo = "/var/lib/walt/nodes/{mac}/fs"' in text
    assert 'Path = "/images/users/a"' in text and "Clients = 10.0.0.7; Access_Type = RO;" in text
    moved = exports.own_root_granted(known, 7, mac, "users/b", "10.0.0.7")
    assert [one.folder for one in moved.own_roots] == ["users/b"]
    assert moved.own_roots[0].id != known.own_roots[0].id
    assert exports.own_root_revoked(moved, 7).own_roots == ()


@pytest.mark.parametrize(
    ("node_id", "ip", "left"),
    [(7, "10.0.0.9", [8, 7]), (9, "10.0.0.7", [8, 9]), (9, "10.0.0.9", [7, 8, 9])],
)
def test_a_node_and_an_address_have_one_root_of_their_own(node_id, ip, left):
    two = exports.own_root_granted(Exports(), 7, "52:54:00:00:00:07", "users/a", "10.0.0.7")
    two = exports.own_root_granted(two, 8, "52:54:00:00:00:08", "users/b", "10.0.0.8")
    after = exports.own_root_granted(two, node_id, "52:54:00:00:00:09", "users/c", ip)
    assert [one.node_id for one in after.own_roots] == left
    assert exports.own_root_revoked(two, 7).own_roots == two.own_roots[1:]


ALICE, LATER_ALICE, BOB = Owner("alice", "a1"), Owner("alice", "a2"), Owner("bob", "b1")


def test_folders_stay_until_the_node_is_forgotten(tmp_path):
    store = PersistStore(tmp_path)
    assert store.bytes_used(7) == {} and store.known() == set()
    store.grant(7, ALICE, "10.0.0.7")
    store.grant(7, BOB, "10.0.0.7")
    (tmp_path / "persist/7/alice~a1/file").write_bytes(b"a" * 10_000)
    store.revoke(7)
    used = store.bytes_used(7)
    assert list(used) == ["alice"] and used["alice"] >= 10_000 and store.bytes_used(8) == {}
    assert store.known() == {7}
    for _ in range(2):
        store.forget(7)
    assert (store.known(), persist.load_exports(tmp_path / "exports.json").all) == (set(), ())


def folder_of_version_before(tmp_path, name="alice"):
    folder = tmp_path / "persist/7" / name
    folder.mkdir(parents=True)
    (folder / "file").write_text("kept")


def test_folder_of_a_version_before_goes_to_one_account_and_never_to_a_later_one(tmp_path):
    store = PersistStore(tmp_path)
    folder_of_version_before(tmp_path)
    assert store.folder_of(7, ALICE) == "7/alice~a1"
    assert (tmp_path / "persist/7/alice~a1/file").read_text() == "kept"
    assert store.folder_of(7, LATER_ALICE) == ""
    store.grant(7, LATER_ALICE, "10.0.0.7")
    assert list((tmp_path / "persist/7/alice~a2").iterdir()) == []


def test_folders_of_versions_before_are_bound_to_the_accounts_that_are_present(tmp_path):
    store = PersistStore(tmp_path)
    for name in ("alice", "carol", "dave"):
        folder_of_version_before(tmp_path, name)
    mounted = exports.granted(Exports(), 7, "dave", "10.0.0.7")
    (tmp_path / "exports.json").write_text(json.dumps(serialization.dump(mounted)))
    assert store.unbound() == {"alice", "carol"}
    for _ in range(2):
        store.bind_all([ALICE])
    assert {one.name for one in (tmp_path / "persist/7").iterdir()} == {"alice~a1", "carol~", "dave"}
    assert store.folder_of(7, Owner("carol", "c9")) == "" and store.unbound() == set()
    assert list(store.bytes_used(7)) == ["alice", "carol", "dave"]


def test_a_folder_is_dropped_alone_and_twice(tmp_path):
    store = PersistStore(tmp_path)
    for owner in (ALICE, BOB):
        store.grant(7, owner, "10.0.0.7")
        (tmp_path / f"persist/7/{persist.folder_name(owner)}/file").touch()
    for _ in range(2):
        store.drop(7, ALICE)
    assert (store.folder_of(7, ALICE), store.folder_of(7, BOB)) == ("", "7/bob~b1")


@pytest.mark.parametrize("owner", ["", "..", "a/b", "Alice", "a" * 33, 'a"b', "a\n"])
def test_owner_that_is_no_user_name_is_refused(tmp_path, owner):
    with pytest.raises(InvalidRequest, match="is not a user name"):
        PersistStore(tmp_path).grant(7, Owner(owner, "a1"), "10.0.0.7")
    with pytest.raises(InvalidRequest, match="is not the id of an account"):
        PersistStore(tmp_path).grant(7, Owner("alice", "../x"), "10.0.0.7")
    assert not list(tmp_path.iterdir())
