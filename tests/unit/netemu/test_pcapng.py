"""The file that a capture writes: as its specification says, and as the programs of Wireshark read it."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from services.netemu.capture import pcapng
from services.netemu.capture.capture_buffer import CaptureBuffer, CaptureOrder
from tests.conftest import require
from tests.support import pcapng as reader

COMMENT = "node vnode1, network home-net of alice, link lat=10ms"
ORDER = CaptureOrder(COMMENT, "vnode1:home-net", "port of vnode1", "icmp", 0, "key")
START_NS = 1_790_000_000_123_456_789
FRAMES = [bytes([2] * 12) + b"\x88\xb5" + bytes(range(size)) for size in (46, 47, 48, 49, 200)] + [bytes(65_549)]


def written(frames=FRAMES, missed=0):
    buffer = CaptureBuffer(ORDER, START_NS)
    for number, frame in enumerate(frames):
        buffer.add(START_NS + number, frame, pcapng.OUTBOUND if number % 2 else pcapng.INBOUND)
    buffer.finish(START_NS + 10**9, missed)
    pieces = []
    while not buffer.is_empty:
        pieces.append(buffer.take())
    return b"".join(pieces)


def test_first_block_byte_by_byte():
    assert pcapng.section_header("abc").hex(" ", 4) == (
        "0a0d0d0a 30000000 4d3c2b1a 01000000 ffffffff ffffffff 01000300 61626300 04000400 77616c74 00000000 30000000"
    )


def test_file_is_read_back():
    file = reader.read(written(missed=3))
    assert file.comment == COMMENT
    assert file.options[reader.INTERFACE] == {2: b"vnode1:home-net", 3: b"port of vnode1", 9: b"\x09", 11: b"\0icmp"}
    assert [one.data for one in file.frames] == FRAMES
    assert [one.time_ns for one in file.frames] == [START_NS + number for number in range(len(FRAMES))]
    assert [one.direction for one in file.frames] == [1, 2, 1, 2, 1, 2]
    assert file.statistics == (len(FRAMES) + 3, 3)


def test_without_a_filter_none_is_named():
    assert 11 not in reader.read(pcapng.section_header("") + pcapng.interface_description("a", "b")).options[1]


@pytest.fixture
def path(tmp_path):
    require("tshark", shutil.which("tshark") is not None, "tshark is not installed")
    path = tmp_path / "x.pcapng"
    path.write_bytes(written(missed=3))
    return str(path)


def output_of(*argv):
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_wireshark_reads_it(path):
    fields = [
        word for name in ("frame.time_epoch", "frame.len", "frame.packet_flags_direction") for word in ("-e", name)
    ]
    rows = output_of("tshark", "-r", path, "-T", "fields", *fields).splitlines()
    assert [row.split()[1] for row in rows] == [str(len(frame)) for frame in FRAMES]
    assert rows[2].split()[0] == "1790000000.123456791"
    assert [int(row.split()[2], 0) for row in rows] == [1, 2, 1, 2, 1, 2]


def test_capinfos_reads_it(path):
    shown = output_of("capinfos", path)
    assert COMMENT in shown and "nanoseconds (9)" in shown and "Filter string = icmp" in shown
    assert "Name = vnode1:home-net" in shown and "Encapsulation = Ethernet" in shown
    assert "Number of stat entries = 1" in shown and f"Number of packets = {len(FRAMES)}" in shown
