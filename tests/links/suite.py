"""What a link must do, whichever back-end does it: one suite, two back-ends.

    python3 -m tests.links.suite kernel|cable [CHECK]      root; one line per check; status 1 when one fails

Needs the standard library and pyroute2 only, so that it also runs inside a guest, whose kernel has netem where
the host's has not. The suite plays qemu: it opens the taps and sends and receives raw frames. Each run is in a network
namespace of its own.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import struct
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from statistics import mean

from tests.links import chance, following, upkeep
from tests.links.rig import (
    BROADCAST,
    CLONE_NEWNET,
    MS,
    OTHERS,
    WALT_NET,
    Guest,
    Testbed,
    arp_request,
    assert_delay,
    be_punctual,
    large_frame,
    lat,
    one_delay,
    stream,
)
from walt.contracts.errors import Failed
from walt.contracts.links import Direction, LinkModel
from walt.contracts.netemu import DIRECT


def check_delay(testbed: Testbed) -> None:
    a, b = testbed.node(1, link=lat(10)), testbed.node(2)
    for sender, receiver, wanted_ms in ((a, b, 10.0), (b, a, 0.0)):
        for _ in range(3):  # a busy machine may be slow twice
            mean_ms = mean(one_delay(sender, receiver) for _ in range(50))
            assert mean_ms >= wanted_ms - 0.3, f"asked {wanted_ms} ms, mean {mean_ms:.2f} ms"
            if mean_ms <= wanted_ms + testbed.slack_ms:
                break
        else:
            raise AssertionError(f"asked {wanted_ms} ms, mean {mean_ms:.2f} ms")


def check_rate_up(testbed: Testbed) -> None:
    a, b = testbed.node(1, link=LinkModel(up=Direction(rate_bps=8_000_000))), testbed.node(2)
    _check_rate(testbed, a, b, 8_000_000)


def check_rate_down(testbed: Testbed) -> None:
    a, b = testbed.node(1), testbed.node(2, link=LinkModel(down=Direction(rate_bps=8_000_000)))
    _check_rate(testbed, a, b, 8_000_000)


def check_rate_with_delay(testbed: Testbed) -> None:
    a, b = testbed.node(1, link=LinkModel(up=Direction(20 * MS, 8_000_000))), testbed.node(2)
    first = _check_rate(testbed, a, b, 8_000_000, latency_ms=20)
    assert first >= 20.5, f"the first frame took {first:.1f} ms; asked 20 ms and 1 ms for its bits"


def _check_rate(testbed: Testbed, a: Guest, b: Guest, rate_bps: int, latency_ms: float = 0) -> float:
    """The bits pass at the rate, never faster; a busy machine may be slow twice. How long the first frame took."""
    frames, size = 90, 1000
    asked_ms = frames * size * 8 / rate_bps * 1000
    for _ in range(3):
        started = time.monotonic_ns()
        for number in range(frames):
            a.send(number, size)
        found = b.numbers(0.5, stop_after=frames)
        assert len(found) == frames, f"{len(found)} of {frames} frames arrived"
        taken_ms = (found[-1][2] - started) / 1e6 - latency_ms
        assert taken_ms >= asked_ms * 0.98, f"asked {asked_ms} ms, took only {taken_ms:.1f} ms"
        if taken_ms <= asked_ms * 1.02 + testbed.slack_ms:
            return found[0][1]
    raise AssertionError(f"asked {asked_ms} ms, took {taken_ms:.1f} ms")


def check_queue_is_bounded(testbed: Testbed) -> None:
    a, b = testbed.node(1, link=LinkModel(up=Direction(rate_bps=1_000_000))), testbed.node(2)
    for number in range(400):
        a.send(number, 1500)
    found = b.numbers(0.3)
    assert 5 < len(found) < 200, f"{len(found)} of 400 frames passed: the queue holds about 100 ms, or 64 KiB"
    assert [number for number, _, _ in found] == sorted(number for number, _, _ in found)


def check_delay_loses_no_burst(testbed: Testbed) -> None:
    a, b = testbed.node(1, link=lat(50)), testbed.node(2)
    subprocess.run(["ip", "link", "set", "vn2e2", "txqueuelen", "4000"], check=True)  # its reader is slow, not the link
    found: list[tuple[int, float, int]] = []
    reader = threading.Thread(target=lambda: found.extend(b.numbers(0.5, stop_after=3000)))
    reader.start()
    for number in range(3000):
        a.send(number, 1500)
    reader.join()
    assert [number for number, _, _ in found] == list(range(3000)), f"{len(found)} of 3000 frames arrived in order"


def check_live_change(testbed: Testbed) -> None:
    a, b = testbed.node(1, link=lat(20)), testbed.node(2)

    def change() -> None:
        for link in (lat(30), LinkModel(Direction(40 * MS, 50_000_000)), lat(60), lat(60.5)):
            time.sleep(0.15)
            testbed.update_links(1, link)

    stream(a, b, change)
    b.numbers(0.1)
    assert_delay(testbed, a, b, 60.5)


def check_live_decrease(testbed: Testbed) -> None:
    """A frame sent after the delay was made smaller waits for those under way."""
    a, b = testbed.node(1, link=lat(60)), testbed.node(2)

    def change() -> None:
        for milliseconds in (30, 5, 1):
            time.sleep(0.15)
            testbed.update_links(1, lat(milliseconds))

    stream(a, b, change)
    b.numbers(0.2)
    assert_delay(testbed, a, b, 1)


def check_shaping_a_plain_port_live(testbed: Testbed) -> None:
    a, b = testbed.node(1), testbed.node(2)
    assert {state.backend for state in testbed.emulation.snapshot().ports.values()} == {DIRECT}
    stream(a, b, lambda: (time.sleep(0.1), testbed.update_links(1, lat(15)))[0])
    assert testbed.emulation.snapshot().ports["vn1e2"].backend == testbed.backend
    assert_delay(testbed, a, b, 15)


def check_compensation(testbed: Testbed) -> None:
    a, b = testbed.node(1, link=lat(20)), testbed.node(2)
    testbed.emulation.compensate(1, 8 * MS)
    assert_delay(testbed, a, b, 12)
    testbed.emulation.compensate(1, 25 * MS)
    time.sleep(0.1)
    assert_delay(testbed, a, b, 0)  # never below


def check_isolation(testbed: Testbed) -> None:
    a, b, c = testbed.node(1, link=lat(1)), testbed.node(2), testbed.node(3, OTHERS)
    d = testbed.node(4, OTHERS, lat(1))
    server = testbed.node(5, WALT_NET)
    a.send(1)
    d.send(2)
    assert [number for number, _, _ in b.numbers(0.3)] == [1]
    assert [number for number, _, _ in c.numbers(0.3)] == [2]
    assert server.numbers(0.1) == []
    for guest in (a, b, c):
        guest.send_raw(arp_request(guest.mac))
    replies = [f for g in (a, b, c) for f in g.frames(0.3) if f[12:14] == b"\x08\x06" and f[20:22] == b"\0\2"]
    assert not replies, "the server answers on a network that is not its own"
    server.send_raw(arp_request(server.mac))
    assert any(f[20:22] == b"\0\2" for f in server.frames(0.3)), "the server does not answer on walt-net"


def check_vlan_tag_survives(testbed: Testbed) -> None:
    a, b = testbed.node(1, link=lat(1)), testbed.node(2)
    a.send(7, tag=b"\x81\x00\x00\x2a")
    tagged = [frame for frame in b.frames(0.3) if frame[12:18] == b"\x81\x00\x00\x2a\x88\xb5"]
    assert len(tagged) == 1


def check_jumbo_frames_pass(testbed: Testbed) -> None:
    """On a network of users two ends may agree on frames of any size; walt-net keeps to the usual one."""
    for link in (LinkModel(), lat(1)):
        a, b = testbed.node(1, link=link), testbed.node(2)
        a.send(7, 9014)
        assert [(len(frame), frame[14:18]) for frame in b.frames(0.2) if len(frame) > 9000] == [(9014, b"\0\0\0\7")]
        a.close()
        b.close()
    assert " mtu 1500 " in subprocess.run(["ip", "link", "show", "walt-net"], capture_output=True, text=True).stdout


def check_large_frame_stays_whole_or_is_cut_well(testbed: Testbed) -> None:
    """A 64 kB TCP frame that segmentation offload left whole carries all its bytes to the other side."""
    a, b = testbed.node(1, link=lat(1)), testbed.node(2)
    payload = os.urandom(30000)
    header, frame = large_frame(a, payload)
    a.send_raw(frame, header)
    found = b"".join(frame[54:] for frame in b.frames(0.3) if frame[12:14] == b"\x08\0" and frame[23] == 6)
    assert found == payload, f"{len(found)} of {len(payload)} bytes arrived"


def check_bytes_of_frames_left_whole(testbed: Testbed) -> None:
    """Each of the frames that they are on the wire counts with its headers, whatever the sender has in one piece."""
    a, _ = testbed.node(1, link=LinkModel(up=Direction(rate_bps=1_000_000_000))), testbed.node(2)
    sizes = (2920, 2921, 29200)
    for size in sizes:
        for hint in (54, 1514):
            header, frame = large_frame(a, bytes(size))
            a.send_raw(frame, header[:2] + struct.pack("<H", hint) + header[4:])
    time.sleep(0.3)
    on_wire = 2 * sum(size + 54 * -(-size // 1460) for size in sizes)
    assert testbed.port(1).up.bytes == on_wire, (
        f"{testbed.port(1).up.bytes} bytes passed; on the wire they are {on_wire}"
    )


def check_fault_s16_random_sources_fill_no_table(testbed: Testbed) -> None:
    """Frames to who is not learned any more arrive, with others' ports as with the flooder's."""
    a, b, c = testbed.node(1), testbed.node(2), testbed.node(3)
    for number in range(200_000):
        a.send_raw(BROADCAST + b"\x02\x07" + number.to_bytes(4) + b"\x88\xb6" + bytes(46))
    table = subprocess.run(["bridge", "fdb", "show", "br", "net5"], check=True, capture_output=True, text=True)
    learned = table.stdout.count("02:07:")
    has_bound = tuple(map(int, os.uname().release.split(".")[:2])) >= (6, 8)
    assert learned <= 5000 or not has_bound, f"the bridge has learned {learned} addresses"
    for _ in (*b.frames(0.1), *c.frames(0.1)):
        pass
    c.send(1)
    b.send(2, to=c.mac)
    assert [number for number, _, _ in b.numbers(0.3)] == [1]
    assert [number for number, _, _ in c.numbers(0.3)] == [2]


CHECKS: dict[str, Callable[[Testbed], None]] = {
    name.removeprefix("check_"): check
    for name, check in [*globals().items(), *vars(chance).items(), *vars(following).items(), *vars(upkeep).items()]
    if name.startswith("check_")
}


def run_check(backend: str, name: str) -> str:
    """'' or what is wrong, found in a fresh network namespace."""
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET) != 0:
        return f"no network namespace: {os.strerror(ctypes.get_errno())}"
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        try:
            testbed = Testbed(backend, Path(folder))
            stack.callback(testbed.close)
            testbed.find_slack()
            CHECKS[name](testbed)
        except (AssertionError, Failed, IndexError) as error:
            return str(error) or traceback.format_exc()
    return ""


def main() -> int:
    backend, *chosen = sys.argv[1:]
    be_punctual()
    failed = 0
    for name in chosen or CHECKS:
        started = time.monotonic()
        fault = run_check(backend, name)
        failed += bool(fault)
        print(f"{'FAIL' if fault else 'ok  '} {backend} {name} {time.monotonic() - started:.1f} s {fault}", flush=True)
    return min(failed, 1)


if __name__ == "__main__":
    sys.exit(main())
