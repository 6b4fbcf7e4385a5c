"""The disks of a node that moves: copied whole and sparse, checked, within the space of the host."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest

from services.vmrunner.disks import pieces
from services.vmrunner.disks.moving import MovingDiskStore
from services.vmrunner.disks.store import DiskStore
from services.vmrunner.disks.trash import Trash
from services.vmrunner.lifecycle import moves
from services.vmrunner.lifecycle.decision import Idle, Receive, decide
from services.vmrunner.lifecycle.transitions import VmRecord, arrived
from services.vmrunner.qemu.endings import ENDED_UNSEEN
from tests.support.specs import spec
from walt.contracts.disks import HYBRID_VOLATILE
from walt.contracts.errors import Failed, NotFound
from walt.contracts.nodes import ABSENT, POWER_OFF, Disk, Owner
from walt.contracts.vmrunner import FAILED

MIB = 2**20
OWNER = Owner("alice", "a1")


def store(folder, floor_bytes=0):
    disks = DiskStore(folder, Trash(folder / "trash", 60.0))
    return disks, MovingDiskStore(folder, disks, floor_bytes)


@pytest.fixture
def source(tmp_path):
    """Two disks, of which one was written to, a /persist, and a disk that each boot empties."""
    disks, moving = store(tmp_path / "source")
    wanted = (Disk(7, 64 * MIB, "none"), Disk(8, 64 * MIB, "ext4"), Disk(9, 600 * MIB, HYBRID_VOLATILE))
    written, *_ = disks.prepare(5, wanted, OWNER)
    with written.open("r+b") as file:
        file.write(os.urandom(3 * MIB + 5))
        file.seek(40 * MIB + 1)
        file.write(b"end" + bytes(MIB))
    persist = tmp_path / "source/5/persist/alice~a1.raw"
    persist.parent.mkdir()
    persist.write_bytes(b"mine" + bytes(MIB))
    return moving


def read_by(moving):
    return lambda name, offset: moving.read(5, name, offset)


def test_copies_are_the_same_sparse_and_known_as_written_or_not(source, tmp_path):
    disks, target = store(tmp_path / "target")
    files = source.files(5)
    assert [file.name for file in files] == ["disks/7.raw", "disks/8.raw", "persist/alice~a1.raw"]
    seen = []
    target.receive(5, files, read_by(source), lambda done, total: seen.append((done, total)))
    for file in files:
        first, second = (tmp_path / side / "5" / file.name for side in ("source", "target"))
        assert first.read_bytes() == second.read_bytes()
        assert second.stat().st_blocks * 512 <= file.used_bytes + 64 * 1024
        assert second.stat().st_mode & 0o777 == 0o600
    assert {one.disk_id: one.written for one in disks.data(5)} == {7: True, 8: False}
    assert seen[-1][1] == sum(file.used_bytes for file in files)
    assert not (tmp_path / "target/5/arriving").exists()


def test_what_is_left_of_an_earlier_stay_gives_way(source, tmp_path):
    disks, target = store(tmp_path / "target")
    disks.prepare(5, (Disk(7, 64 * MIB, "none"), Disk(6, 64 * MIB, "none")), OWNER)
    target.receive(5, source.files(5), read_by(source), lambda done, total: None)
    assert (tmp_path / "target/5/disks/7.raw").read_bytes() == (tmp_path / "source/5/disks/7.raw").read_bytes()
    assert {one.disk_id for one in disks.data(5)} == {7, 8}


def test_a_damaged_piece_and_a_host_without_room_leave_nothing(source, tmp_path):
    _, target = store(tmp_path / "target")

    def damaged(name, offset):
        return replace(source.read(5, name, offset), digest="0" * 64)

    with pytest.raises(Failed, match="is damaged"):
        target.receive(5, source.files(5), damaged, lambda done, total: None)
    assert list((tmp_path / "target/5").iterdir()) == []
    _, full = store(tmp_path / "target", floor_bytes=2**60)
    with pytest.raises(Failed, match="WALT_DISK_FLOOR"):
        full.receive(5, source.files(5), read_by(source), lambda done, total: None)


@pytest.mark.parametrize("offset", [64 * MIB, 2**70])
def test_a_host_that_tells_of_more_than_the_disk_fills_none_here(source, tmp_path, offset):
    _, target = store(tmp_path / "target")

    def endless(name, at):
        return replace(source.read(5, name, 0), offset=offset, next=at + 1)

    with pytest.raises(Failed, match=f"a piece at {offset}, after the end of disks/7.raw"):
        target.receive(5, source.files(5), endless, lambda done, total: None)
    assert list((tmp_path / "target/5").iterdir()) == []


def test_only_disks_of_the_node_are_read(source):
    wrong = (("machine.json", 0), ("disks/../../6/disks/1.raw", 0), ("disks/7.raw", 5), ("disks/7.raw", -MIB))
    for name, offset in wrong:
        with pytest.raises(NotFound, match="node 5 has no disk"):
            source.read(5, name, offset)
    with pytest.raises(NotFound, match="any more"):
        source.read(5, "disks/1.raw", 0)


def test_zeros_that_were_written_are_passed_over(tmp_path):
    path = tmp_path / "zeros"
    path.write_bytes(bytes((pieces.LOOKED_PIECES + 2) * MIB) + b"x")
    first = pieces.read(path, 0)
    assert (first.data, first.next) == ("", pieces.LOOKED_PIECES * MIB)
    found = pieces.read(path, first.next)
    assert found.offset == (pieces.LOOKED_PIECES + 2) * MIB
    assert pieces.read(path, found.next).next == pieces.END


def test_each_host_sees_its_own_part_of_a_move():
    moving = spec(host="lab2", moves_from="lab1", move=4)
    assert moves.seen_from("lab2", moving) == moving
    source = moves.seen_from("lab1", moving)
    assert (source.power, source.moves_from, source.host) == (POWER_OFF, "", "lab2")
    assert moves.seen_from("lab3", moving) is None
    assert moves.seen_from("lab1", replace(moving, power=ABSENT)) is None
    assert moves.leaving(VmRecord(5, "one"), source, "lab1").leaving == 4
    assert moves.leaving(VmRecord(5, "one", leaving=4), spec(host="lab1", move=4), "lab1").leaving == 0


def test_nothing_is_started_before_the_registry_knows_that_the_disks_have_come():
    moving, record = spec(host="lab2", moves_from="lab1", move=4), VmRecord(5, "one")
    assert decide(record, moving, ENDED_UNSEEN, 5.0) == Receive()
    assert decide(replace(record, arrived=3), moving, ENDED_UNSEEN, 5.0) == Receive()
    there = arrived(record, moving, 9, 5.0)
    assert (decide(there, moving, ENDED_UNSEEN, 5.0), there.run) == (Idle(), 9)
    failed = replace(record, state=FAILED, due=8.0)
    assert decide(failed, moving, ENDED_UNSEEN, 5.0) == Idle(8.0)
    assert decide(failed, moving, ENDED_UNSEEN, 8.0) == Receive()
