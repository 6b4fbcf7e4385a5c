"""Which machine has which disk for /persist, and whose it stays."""

import fcntl
import threading
import time
from dataclasses import replace

import pytest

from services.bootserver.persist import disk_exports, export_files
from services.bootserver.persist.disk_exports import DiskExport, DiskExports
from services.bootserver.persist.persist_store import PersistStore
from services.kit import persist_disk
from services.kit.subprocesses import run
from walt.contracts.errors import InvalidRequest
from walt.contracts.nodes import Owner

pytestmark = pytest.mark.usefixtures("as_root")  # disks belong to users of their own

MAC, OTHER_MAC = "52:54:00:00:00:07", "52:54:00:00:00:08"
ALICES = disk_exports.granted(DiskExports(), 7, "7/alice~a1.raw", MAC)
ALICE, LATER_ALICE, BOB = Owner("alice", "a1"), Owner("alice", "a2"), Owner("bob", "b1")
SIZE = 64 * 2**20


def test_a_machine_has_the_disk_of_its_present_owner_alone():
    assert ALICES.all == (DiskExport(1, 7, "7/alice~a1.raw", MAC),)
    assert disk_exports.granted(ALICES, 7, "7/alice~a1.raw", MAC) == ALICES
    bobs = disk_exports.granted(ALICES, 7, "7/bob~b1.raw", MAC)
    assert [(one.id, one.mac) for one in bobs.all] == [(1, ""), (2, MAC)]
    again = disk_exports.granted(bobs, 7, "7/alice~a1.raw", MAC)
    assert {one.id: one.mac for one in again.all} == {1: MAC, 2: ""}
    assert all(one.mac == "" for one in disk_exports.revoked(again, 7).all)
    assert disk_exports.forgotten(again, 7) == DiskExports(2)


def test_an_address_that_another_node_has_now_opens_nothing_of_the_former():
    moved = disk_exports.granted(ALICES, 8, "8/bob~b1.raw", MAC)
    assert {one.node_id: one.mac for one in moved.all} == {7: "", 8: MAC}


def test_numbers_come_again_as_late_as_can_be():
    """A machine that still runs with a disk which it has lost must not write to another's."""
    gone = disk_exports.forgotten(ALICES, 7)
    assert disk_exports.granted(gone, 8, "8/bob~b1.raw", OTHER_MAC).all[0].id == 2
    last = replace(gone, newest_id=disk_exports.LAST_ID)
    assert disk_exports.granted(last, 8, "8/bob~b1.raw", OTHER_MAC).all[0].id == 1
    taken = replace(ALICES, newest_id=disk_exports.LAST_ID)
    assert disk_exports.granted(taken, 8, "8/bob~b1.raw", OTHER_MAC).all[1].id == 2


def test_the_server_of_a_disk_answers_one_address_and_may_send_frames_alone():
    argv = disk_exports.server_argv(ALICES.all[0], "walt-net", 9)
    assert argv[-8:] == ["vblade", "-s", "-m", MAC, "1", "0", "walt-net", "/proc/self/fd/9"]
    assert "--bounding-set=-all,+net_raw" in argv and "--pdeathsig" in argv
    assert f"--reuid={disk_exports.FIRST_UID + 1}" in argv
    assert ALICES.all[0].device == "e1.0"


def test_disks_stay_until_the_node_is_forgotten(tmp_path):
    store = PersistStore(tmp_path)
    assert store.bytes_used(7) == {} and store.known() == set()
    store.grant(7, ALICE, MAC, SIZE)
    store.grant(7, BOB, MAC, SIZE)
    assert store.device(7) == "e2.0"
    store.revoke(7)
    assert store.device(7) == ""
    assert set(store.bytes_used(7)) == {"alice", "bob"} and store.bytes_used(8) == {}
    assert store.known() == {7}
    for _ in range(2):
        store.forget(7)
    assert (store.known(), export_files.load_exports(tmp_path).all) == (set(), ())


def test_a_disk_is_made_once_and_kept_from_users_of_the_server(tmp_path):
    store = PersistStore(tmp_path)
    store.grant(7, ALICE, MAC, SIZE)
    disk = tmp_path / "persist/7/alice~a1.raw"
    assert (disk.stat().st_size, disk.stat().st_mode & 0o777) == (SIZE, 0o660)
    assert (disk.stat().st_uid, disk.stat().st_gid) == (disk_exports.FIRST_UID + 1, 0)
    assert (tmp_path / "persist").stat().st_mode & 0o777 == 0o700
    disk.write_bytes(b"hers")
    store.grant(7, ALICE, MAC, SIZE)
    assert disk.read_bytes() == b"hers"


def content_of(disk):
    return run(["debugfs", "-R", "cat /file", str(disk)])


@pytest.mark.parametrize("name", ["alice", "alice~a1"])
def test_a_folder_of_versions_before_becomes_the_content_of_its_disk(tmp_path, name):
    folder_of_version_before(tmp_path, name)
    store = PersistStore(tmp_path)
    store.grant(7, ALICE, MAC, SIZE)
    assert content_of(tmp_path / "persist/7/alice~a1.raw") == "kept"
    assert [path.name for path in (tmp_path / "persist/7").iterdir()] == ["alice~a1.raw"]


def test_a_kill_while_the_folder_is_copied_loses_nothing(tmp_path, monkeypatch):
    folder_of_version_before(tmp_path, "alice~a1")
    store = PersistStore(tmp_path)

    def killed(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(persist_disk.subprocesses, "run", killed)
    with pytest.raises(KeyboardInterrupt):
        store.grant(7, ALICE, MAC, SIZE)
    monkeypatch.undo()
    assert (tmp_path / "persist/7/alice~a1/file").read_text() == "kept"
    store.grant(7, ALICE, MAC, SIZE)
    assert content_of(tmp_path / "persist/7/alice~a1.raw") == "kept"


def test_a_machine_that_asks_again_while_its_disk_is_made_waits_for_it(tmp_path, monkeypatch):
    store, made = PersistStore(tmp_path), []

    def slowly(path, size_bytes, content):
        made.append(path)
        time.sleep(0.2)
        path.parent.mkdir(parents=True)
        path.touch()

    monkeypatch.setattr(persist_disk, "make", slowly)
    threads = [threading.Thread(target=store.grant, args=(7, ALICE, MAC, SIZE)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1 and store.device(7) == "e1.0"


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


def test_folders_of_versions_before_are_bound_to_the_accounts_that_are_present(tmp_path):
    store = PersistStore(tmp_path)
    for name in ("alice", "carol"):
        folder_of_version_before(tmp_path, name)
    assert store.unbound() == {"alice", "carol"}
    for _ in range(2):
        store.bind_all([ALICE])
    assert {one.name for one in (tmp_path / "persist/7").iterdir()} == {"alice~a1", "carol~"}
    assert store.folder_of(7, Owner("carol", "c9")) == "" and store.unbound() == set()
    assert list(store.bytes_used(7)) == ["alice", "carol"]


def test_a_folder_is_dropped_alone_and_twice(tmp_path):
    store = PersistStore(tmp_path)
    for name in ("alice~a1", "bob~b1"):
        folder_of_version_before(tmp_path, name)
    for _ in range(2):
        store.drop(7, ALICE)
    assert (store.folder_of(7, ALICE), store.folder_of(7, BOB)) == ("", "7/bob~b1")


@pytest.mark.parametrize("owner", ["", "..", "a/b", "Alice", "a" * 33, 'a"b', "a\n"])
def test_owner_that_is_no_user_name_is_refused(tmp_path, owner):
    with pytest.raises(InvalidRequest, match="is not a user name"):
        PersistStore(tmp_path).grant(7, Owner(owner, "a1"), MAC, SIZE)
    with pytest.raises(InvalidRequest, match="is not the id of an account"):
        PersistStore(tmp_path).grant(7, Owner("alice", "../x"), MAC, SIZE)
    assert not list(tmp_path.iterdir())


def test_what_the_disk_server_does_not_serve_is_named(tmp_path):
    assert export_files.query_fault(tmp_path) == export_files.NOT_RUNNING
    with export_files.lock(tmp_path).open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert export_files.query_fault(tmp_path) == ""
        export_files.store_exports(tmp_path, ALICES)
        assert export_files.query_fault(tmp_path) == "it does not serve 7/alice~a1.raw"
        export_files.store_served(tmp_path, ALICES.all)
        assert export_files.query_fault(tmp_path) == ""
    assert export_files.query_fault(tmp_path) == export_files.NOT_RUNNING
