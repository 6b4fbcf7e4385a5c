"""The file of a line, on a real file system."""

import json
import os

import pytest

from services.console.log import LineLog
from services.console.scrollback import KEPT_BYTES, TRIM_ABOVE_BYTES


@pytest.fixture
def line(tmp_path):
    log = LineLog(tmp_path, "vnode1")
    yield log
    log.close()


def test_trimming_gives_space_back_and_moves_nothing(line, tmp_path):
    piece = bytes(range(256)) * 4096
    with open(line.path, "ab", buffering=0) as qemu:  # as qemu holds it: open while it is trimmed
        for _ in range(TRIM_ABOVE_BYTES // len(piece) + 1):
            qemu.write(piece)
        before = line.extent()
        line.trim()
        qemu.write(b"after")
    extent = line.extent()
    assert before.start == 0
    assert extent.end == before.end + 5
    assert extent.end - extent.start >= KEPT_BYTES
    assert os.stat(line.path).st_blocks * 512 < before.end
    assert line.read(extent.start, 256) == bytes(range(256))
    assert line.read(before.end, 5) == b"after"
    again = LineLog(tmp_path)
    assert again.extent() == extent
    again.close()


def test_marks_survive(line, tmp_path):
    line.append(b"first boot")
    line.mark_power_on("vnode1")
    line.append(b"second boot")
    again = LineLog(tmp_path)
    assert (again.name, again.extent().power_on) == ("vnode1", 10)
    again.close()


def test_what_was_shown_to_a_former_owner_is_shown_no_more(line, tmp_path):
    line.append(b"before anybody told whose it is")
    line.change_owner("alice")
    assert line.extent().start == 0
    line.append(b"alice's")
    line.change_owner("alice")
    assert line.extent().start == 0
    end = line.extent().end
    line.change_owner("")
    line.append(b"nobody's")
    assert line.extent().start == end
    line.mark_power_on("vnode1")
    again = LineLog(tmp_path)
    assert again.extent() == line.extent()
    again.change_owner("bob")
    assert again.extent().start == again.extent().end
    again.close()


def test_a_machine_of_a_former_owner_is_not_seen(line, tmp_path):
    """It may run for a while yet: vmrunner, which ends it, may be away."""
    line.change_owner("alice")
    line.mark_power_on("vnode1")
    assert not line.is_anothers
    line.change_owner("bob")
    line.append(b"secret of alice's system")
    again = LineLog(tmp_path)
    assert again.is_anothers and again.extent().start == again.extent().end
    again.mark_power_on("vnode1")
    again.append(b"his own")
    assert not again.is_anothers and again.read(again.extent().start, 100) == b"his own"
    again.close()


def test_marks_of_before_there_were_owners(line, tmp_path):
    line.append(b"x")
    (tmp_path / "line.json").write_text('{"name": "a", "power_on": 1}')
    again = LineLog(tmp_path)
    assert (again.name, again.extent().start, again.extent().power_on) == ("a", 0, 1)
    again.close()


@pytest.mark.parametrize("text", ["", "{", "[]", json.dumps({"name": "a"}), '{"name": "a", "power_on": "x"}'])
def test_broken_marks_mean_the_beginning(line, tmp_path, text):
    line.append(b"x")
    (tmp_path / "line.json").write_text(text)
    again = LineLog(tmp_path)
    assert again.extent().power_on == 0
    again.close()


def test_log_that_is_a_link_is_refused(tmp_path):
    (tmp_path / "line.log").symlink_to(tmp_path / "other")
    with pytest.raises(OSError):
        LineLog(tmp_path)
