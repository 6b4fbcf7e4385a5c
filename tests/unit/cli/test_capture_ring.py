"""The last seconds of a capture: a whole file, whatever is forgotten before, and however its bytes come."""

from __future__ import annotations

import shutil
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.sessions.capture_ring import CaptureRing
from services.netemu.capture import pcapng

S = 10**9
HEAD = pcapng.section_header("a test") + pcapng.interface_description("vn1e3", "vnode1 on home-net")
END = pcapng.interface_statistics(0, 9 * S, 5, 0)


def packet(seconds, size=60):
    return pcapng.packet(round(seconds * S), bytes(size), pcapng.INBOUND)


def ring_of(data, seconds=2.0, cuts=(), **options):
    ring = CaptureRing(seconds, **options)
    places = [0, *sorted(cuts), len(data)]
    for start, end in zip(places, places[1:], strict=False):
        ring.add(data[start:end])
    return ring


def test_frames_of_the_last_seconds_and_the_ends_of_the_file_are_kept():
    ring = ring_of(HEAD + b"".join(map(packet, (1, 5, 6.9, 7, 9))) + END)
    assert ring.content() == HEAD + b"".join(map(packet, (7, 9))) + END
    assert (ring.frames, ring.forgotten) == (2, 3)


def test_a_capture_that_saw_nothing_is_a_file_too():
    assert ring_of(HEAD + END).content() == HEAD + END


@given(st.lists(st.integers(0, 900), max_size=10))
def test_bytes_may_come_in_any_pieces(cuts):
    data = HEAD + b"".join(map(packet, (1, 8, 9))) + END
    assert ring_of(data, cuts=[min(cut, len(data)) for cut in cuts]).content() == ring_of(data).content()


def test_it_never_takes_more_memory_than_that():
    ring = ring_of(HEAD + b"".join(packet(1, 1000) for _ in range(50)), max_bytes=10_000)
    assert ring.frames == 9 and ring.forgotten == 41


@given(st.binary(max_size=200))
def test_no_bytes_break_it(data):
    ring_of(HEAD + data).content()


def test_tshark_reads_it(require, tmp_path):
    require("tshark", shutil.which("tshark") is not None, "tshark is not installed")
    path = tmp_path / "x.pcapng"
    path.write_bytes(ring_of(HEAD + b"".join(map(packet, (1, 8, 9))) + END).content())
    argv = ["tshark", "-r", str(path), "-T", "fields", "-e", "frame.time_epoch"]
    times = subprocess.run(argv, capture_output=True, text=True, check=True).stdout.split()
    assert [float(one) for one in times] == pytest.approx([8.0, 9.0])
