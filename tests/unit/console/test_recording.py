"""The recording of a line, on a real file system."""

import ctypes
import errno
import json
import os

import pytest

from services.console.line import punch_hole
from services.console.line.recording import Recording
from services.console.line.scrollback import KEPT_BYTES, TRIM_ABOVE_BYTES, Extent
from walt.contracts.nodes import Owner


@pytest.fixture
def recording(tmp_path):
    recording = Recording(tmp_path, "vnode1")
    yield recording
    recording.close()


def test_trimming_gives_space_back_and_moves_nothing(recording, tmp_path):
    piece = bytes(range(256)) * 4096
    with open(recording.path, "ab", buffering=0) as qemu:  # as qemu holds it: open while it is trimmed
        for _ in range(TRIM_ABOVE_BYTES // len(piece) + 1):
            qemu.write(piece)
        before = recording.extent()
        recording.trim()
        qemu.write(b"after")
    extent = recording.extent()
    assert before.start == 0
    assert extent.end == before.end + 5
    assert extent.end - extent.start >= KEPT_BYTES
    assert os.stat(recording.path).st_blocks * 512 < before.end
    assert recording.read(extent.start, 256) == bytes(range(256))
    assert recording.read(before.end, 5) == b"after"
    again = Recording(tmp_path)
    assert again.extent() == extent
    again.close()


def fill(recording, size):
    with open(recording.path, "ab") as qemu:
        qemu.write(b"x" * size)
    recording.trim()


def disk_bytes(recording):
    return os.stat(recording.path).st_blocks * 512


def test_a_fault_of_trimming_is_told_once_and_ends_nothing(recording, caplog, monkeypatch):
    """Fault S43: one such line ended the trimming of all. A disk that is full for a moment ended that of the line."""
    with monkeypatch.context() as patch:
        patch.setattr(punch_hole, "_libc", FullDisk())
        for _ in range(3):
            fill(recording, TRIM_ABOVE_BYTES)
    assert [record.getMessage().partition(": ")[0] for record in caplog.records] == [
        f"{recording.path} grows without bound"
    ]
    recording.trim()
    assert disk_bytes(recording) < TRIM_ABOVE_BYTES


class FullDisk:
    def fallocate64(self, *_):
        ctypes.set_errno(errno.ENOSPC)
        return -1


def test_what_nobody_may_see_any_more_is_trimmed_too(recording):
    """Of a node that goes from hand to hand, and of a VM that its former owner has left."""
    for number in range(4):
        recording.change_owner(Owner("alice", f"alice-{number}"))
        fill(recording, TRIM_ABOVE_BYTES - 2**20)
    assert disk_bytes(recording) <= TRIM_ABOVE_BYTES
    recording.mark_power_on("vnode1")
    recording.change_owner(Owner("bob", "bob-1"))
    assert recording.belongs_to_former_owner
    for _ in range(4):
        fill(recording, TRIM_ABOVE_BYTES - 2**20)
    assert disk_bytes(recording) <= TRIM_ABOVE_BYTES


def test_info_survives(recording, tmp_path):
    recording.append(b"first boot")
    recording.mark_power_on("vnode1")
    recording.append(b"second boot")
    again = Recording(tmp_path)
    assert (again.name, again.extent().power_on) == ("vnode1", 10)
    again.close()


def test_what_was_shown_to_a_former_owner_is_shown_no_more(recording, tmp_path):
    recording.append(b"before anybody told whose it is")
    recording.change_owner(Owner("alice", "alice-1"))
    assert recording.extent().start == 0
    recording.append(b"alice's")
    recording.change_owner(Owner("alice", "alice-1"))
    assert recording.extent().start == 0
    end = recording.extent().end
    recording.change_owner(Owner(""))
    recording.append(b"nobody's")
    assert recording.extent().start == end
    recording.mark_power_on("vnode1")
    again = Recording(tmp_path)
    assert again.extent() == recording.extent()
    again.change_owner(Owner("bob", "bob-1"))
    assert again.extent().start == again.extent().end
    again.close()


def test_a_vm_of_a_former_owner_is_not_seen(recording, tmp_path):
    """It may run for a while yet: vmrunner, which ends it, may be away."""
    recording.change_owner(Owner("alice", "alice-1"))
    recording.mark_power_on("vnode1")
    assert not recording.belongs_to_former_owner
    recording.change_owner(Owner("bob", "bob-1"))
    recording.append(b"secret of alice's system")
    again = Recording(tmp_path)
    assert again.belongs_to_former_owner and again.extent().start == again.extent().end
    again.mark_power_on("vnode1")
    again.append(b"his own")
    assert not again.belongs_to_former_owner and again.read(again.extent().start, 100) == b"his own"
    again.close()


def test_fault_s32_a_later_user_of_the_same_name_sees_nothing(recording):
    recording.change_owner(Owner("alice", "alice-1"))
    recording.mark_power_on("vnode1")
    recording.append(b"secret")
    recording.change_owner(Owner("alice", "alice-2"))
    recording.append(b"still of the former one's system")
    assert recording.belongs_to_former_owner
    assert recording.extent().start == recording.extent().end
    recording.mark_power_on("vnode1")
    assert recording.extent().start == recording.extent().end and not recording.belongs_to_former_owner


def test_fault_s32_an_earlier_version_knew_the_name_only(recording, tmp_path):
    recording.append(b"alice's")
    (tmp_path / "line.json").write_text('{"name": "a", "owner": "alice", "vm_owner": "alice"}')
    again = Recording(tmp_path)
    for owner in (Owner("alice", "alice-1"), Owner("alice")):
        again.change_owner(owner)
        assert again.extent().start == 0 and not again.belongs_to_former_owner
    again.change_owner(Owner("alice", "alice-2"))
    assert again.extent() == Extent(7, 7, power_on=0) and again.belongs_to_former_owner
    again.close()


def test_info_of_before_there_were_owners(recording, tmp_path):
    recording.append(b"x")
    (tmp_path / "line.json").write_text('{"name": "a", "power_on": 1}')
    again = Recording(tmp_path)
    assert (again.name, again.extent().start, again.extent().power_on) == ("a", 0, 1)
    again.close()


def test_info_of_an_earlier_version(recording, tmp_path):
    recording.append(b"alice's")
    saved = {"name": "a", "power_on": 1, "owner": "bob", "begin": 3, "machine": "alice"}
    (tmp_path / "line.json").write_text(json.dumps(saved))
    again = Recording(tmp_path)
    assert again.belongs_to_former_owner
    again.change_owner(Owner("alice", "alice-1"))
    assert again.extent() == Extent(7, 7, power_on=1)
    again.close()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"name": "a", "power_on": "x"}'])
def test_broken_info_hides_only_what_was_before(recording, tmp_path, text):
    recording.append(b"x")
    (tmp_path / "line.json").write_text(text)
    again = Recording(tmp_path)
    again.append(b"after")
    assert again.extent() == Extent(1, 6, power_on=0)
    again.close()


def test_recording_that_is_a_symbolic_link_is_refused(tmp_path):
    (tmp_path / "line.log").symlink_to(tmp_path / "other")
    with pytest.raises(OSError):
        Recording(tmp_path)
