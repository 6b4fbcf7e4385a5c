"""Removed disks: kept for a while, given back, deleted in the order that is said."""

import errno
import json
from pathlib import Path

import pytest

from services.vmrunner.disks import store as store_module
from services.vmrunner.disks import trash as trash_module
from services.vmrunner.disks.store import DiskStore
from services.vmrunner.disks.trash import Trash, first_to_go
from services.vmrunner.lifecycle import space_guard
from services.vmrunner.lifecycle.space_guard import SpaceGuard
from walt.contracts.errors import NotFound
from walt.contracts.nodes import Disk, Owner
from walt.contracts.vmrunner import TrashedDisk

NODE, OTHER = 5, 6
ALICE, BOB = Owner("alice", "a1"), Owner("bob", "b1")
DISK = Disk(21, 10**6, "none")
HOUR = 3600.0


@pytest.fixture
def trash(tmp_path, clock):
    return Trash(tmp_path / "trash", HOUR)


@pytest.fixture
def store(tmp_path, trash):
    return DiskStore(tmp_path, trash)


@pytest.fixture
def clock(monkeypatch):
    """Sets the monotonic clock forward."""
    now = [1000.0]  # whole seconds, so that sums are exact
    monkeypatch.setattr(trash_module.time, "monotonic", lambda: now[0])
    return lambda seconds: now.__setitem__(0, now[0] + seconds)


def written(store, disk=DISK, owner=ALICE):
    (path,) = store.prepare(NODE, [disk], owner)
    path.write_bytes(b"kept" + path.read_bytes()[4:])


def put(trash, tmp_path, name, account="a1", size=4096, **fields):
    path = tmp_path / "file"
    path.write_bytes(b"x" * size)
    trash.put(path, TrashedDisk(name, "n", account, account, **fields))


def test_a_written_disk_goes_there_and_comes_back_with_its_content(store, trash):
    written(store)
    store.keep_only(NODE, [], "vnode1")
    (disk,) = trash.disks()
    assert (disk.id, disk.node, disk.owner, disk.owner_account) == ("disk-21", "vnode1", "alice", "a1")
    assert (disk.number, disk.size_bytes, disk.template, disk.left_s) == (21, 10**6, "none", HOUR)
    (path,) = store.prepare(OTHER, [DISK], BOB)
    assert path.read_bytes().startswith(b"kept") and trash.disks() == []
    assert store.data(OTHER)[0].written, "it is asked about before it is destroyed again"


def test_an_untouched_disk_is_deleted(store, trash):
    store.prepare(NODE, [DISK], ALICE)
    store.keep_only(NODE, [], "vnode1")
    assert trash.disks() == [] and not store.has_any(NODE)


def test_without_a_grace_period_nothing_is_kept(tmp_path):
    trash = Trash(tmp_path / "trash", 0)
    store = DiskStore(tmp_path, trash)
    written(store)
    store.keep_only(NODE, [], "vnode1")
    assert trash.disks() == [] and not store.has_any(NODE)


def test_it_is_deleted_after_its_time_which_a_restart_does_not_begin_anew(trash, tmp_path, clock):
    put(trash, tmp_path, "disk-1")
    clock(HOUR / 2)
    trash.grow_older()
    again = Trash(tmp_path / "trash", HOUR)
    again.grow_older()
    assert [one.left_s for one in again.disks()] == [pytest.approx(HOUR / 2)]
    clock(HOUR / 2)
    again.grow_older()
    assert again.disks() == [] and list((tmp_path / "trash").iterdir()) == []


def test_no_step_of_the_wall_clock_shortens_it(trash, tmp_path, monkeypatch):
    put(trash, tmp_path, "disk-1")
    monkeypatch.setattr(trash_module.time, "time", lambda: 4e9)
    trash.grow_older()
    assert len(trash.disks()) == 1


def test_what_is_to_be_restored_waits_for_its_node(trash, tmp_path, clock):
    put(trash, tmp_path, "disk-1")
    trash.claim("disk-1", NODE, "a1")
    clock(9 * HOUR)
    trash.grow_older()
    assert [one.for_node for one in trash.disks()] == [NODE] and not trash.make_room()
    trash.claim("disk-1", 0, "")
    assert trash.make_room() and trash.disks() == []
    with pytest.raises(NotFound, match="'disk-1' is not in the trash"):
        trash.claim("disk-1", NODE, "a1")


def test_what_was_kept_for_a_node_that_is_gone_has_its_time_again(trash, tmp_path, clock):
    put(trash, tmp_path, "disk-1")
    put(trash, tmp_path, "disk-2")
    trash.claim("disk-1", NODE, "a1")
    trash.claim("disk-2", OTHER, "a1")
    clock(9 * HOUR)
    assert trash.claimants() == {NODE, OTHER}
    trash.end_claims({NODE})
    trash.grow_older()
    assert [(one.id, one.for_node, one.left_s) for one in trash.disks()] == [
        ("disk-1", 0, HOUR),
        ("disk-2", OTHER, HOUR),
    ]
    clock(HOUR)
    trash.grow_older()
    assert [one.id for one in trash.disks()] == ["disk-2"]


def test_a_restored_disk_keeps_its_new_owner_through_a_kill(store, trash, monkeypatch):
    """Between the move and its description."""
    written(store)
    store.keep_only(NODE, [], "vnode1")
    with monkeypatch.context() as killed:
        killed.setattr(store_module, "_write_info", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            store.prepare(OTHER, [DISK], BOB)
    store.prepare(OTHER, [DISK], BOB)
    store.keep_only(OTHER, [], "vnode2")
    assert [(one.owner, one.owner_account) for one in trash.disks()] == [("bob", "b1")]


@pytest.mark.parametrize("name", ["../5/disks/21", "/etc/passwd", "..", ""])
def test_a_name_is_no_path(trash, tmp_path, name):
    outside = tmp_path / "5/disks/21.raw"
    outside.parent.mkdir(parents=True)
    outside.write_bytes(b"x")
    trash.remove([name])
    assert outside.exists()
    with pytest.raises(NotFound):
        trash.claim(name, NODE, "a1")


def test_who_has_most_loses_his_oldest_first():
    disks = [
        TrashedDisk("small", "n", "bob", "b", used_bytes=9, left_s=1),
        TrashedDisk("newer", "n", "alice", "a", used_bytes=5, left_s=9),
        TrashedDisk("older", "n", "alice", "a", used_bytes=5, left_s=5),
        TrashedDisk("claimed", "n", "carol", "c", used_bytes=99, left_s=1, for_node=7),
    ]
    assert first_to_go(disks).id == "older"
    assert first_to_go(disks[:1]).id == "small" and first_to_go(disks[3:]) is None


class Fleet:
    def __init__(self):
        self.paused = []

    def disk_bytes_by_id(self):
        return {}


def test_it_makes_room_before_a_node_is_paused(trash, tmp_path, monkeypatch):
    for number, account in enumerate("aab"):
        put(trash, tmp_path, f"disk-{number}", account, size=8192)
    free = iter([90, 100, 130, 130])
    monkeypatch.setattr(space_guard.SpaceGuard, "_free_bytes", lambda self: next(free))
    SpaceGuard(Fleet(), trash, tmp_path, 100).look()
    assert [one.owner for one in trash.disks()] == ["b"], "until a quarter more than the floor is free"


def test_a_kill_between_the_two_files_loses_nothing(store, trash, tmp_path, monkeypatch):
    written(store)
    monkeypatch.setattr(Path, "rename", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        store.keep_only(NODE, [], "vnode1")
    monkeypatch.undo()
    assert trash.disks() == [], "a description without a disk is none"
    store.keep_only(NODE, [], "vnode1")
    assert [one.id for one in trash.disks()] == ["disk-21"]


def test_a_description_without_a_disk_is_dropped(trash, tmp_path):
    (tmp_path / "trash/disk-9.json").write_text(json.dumps({"id": "disk-9", "node": "n"}))
    (tmp_path / "trash/broken.json").write_text("{")
    trash.grow_older()
    assert list((tmp_path / "trash").iterdir()) == []


def test_a_short_stay_is_not_charged_for_the_time_before_it(trash, tmp_path, clock):
    clock(HOUR - 1)
    put(trash, tmp_path, "disk-1")
    clock(2)
    trash.grow_older()
    assert [one.left_s for one in trash.disks()] == [pytest.approx(HOUR - 2)]


def test_what_is_claimed_meanwhile_is_not_deleted(trash, tmp_path, clock, monkeypatch):
    """Choice and deletion are one step: a claim comes before it, or is refused after it."""
    put(trash, tmp_path, "disk-1")
    clock(2 * HOUR)
    held = []
    monkeypatch.setattr(trash_module, "remove_tree", lambda *_: held.append(trash._lock.locked()))
    trash.grow_older()
    put(trash, tmp_path, "disk-2")
    trash.make_room()
    assert held == [True, True]


def test_a_full_disk_first_makes_room(store, trash, tmp_path, monkeypatch):
    put(trash, tmp_path, "disk-1")
    written(store)
    write, full = trash_module.write_atomically, [OSError(errno.ENOSPC, "No space left on device")]

    def write_when_there_is_room(*arguments, **options):
        if full:
            raise full.pop()
        write(*arguments, **options)

    monkeypatch.setattr(trash_module, "write_atomically", write_when_there_is_room)
    store.keep_only(NODE, [], "vnode1")
    assert [one.id for one in trash.disks()] == ["disk-21"]


def test_on_a_full_disk_it_is_deleted_and_the_log_says_so(store, trash, monkeypatch, caplog):
    written(store)

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(trash_module, "write_atomically", full)
    store.keep_only(NODE, [], "vnode1")
    assert not store.has_any(NODE) and "disk-21 of vnode1 is deleted" in caplog.text
