"""What a link must do, whichever back-end does it: one suite, two back-ends.

    python3 -m tests.links_suite kernel|cable [CHECK]      root; one line per check; status 1 when one fails

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

from services.contracts.errors import Failed
from services.contracts.links import Direction, LinkModel
from services.contracts.netemu import DIRECT
from tests import links_chance, links_upkeep
from tests.links_rig import (
    CLONE_NEWNET,
    MS,
    OTHERS,
    WALT_NET,
    Guest,
    World,
    arp_request,
    assert_delay,
    be_punctual,
    large_frame,
    lat,
    one_delay,
    stream,
)


def check_delay(world: World) -> None:
    a, b = world.node(1, link=lat(10)), world.node(2)
    for sender, receiver, wanted_ms in ((a, b, 10.0), (b, a, 0.0)):
        for _ in range(3):  # a busy machine may be slow twice
            mean_ms = mean(one_delay(sender, receiver) for _ in range(50))
            assert mean_ms >= wanted_ms - 0.3, f"asked {wanted_ms} ms, mean {mean_ms:.2f} ms"
            if mean_ms <= wanted_ms + world.slack_ms:
                break
        else:
            raise AssertionError(f"asked {wanted_ms} ms, mean {mean_ms:.2f} ms")


def check_rate_up(world: World) -> None:
    a, b = world.node(1, link=LinkModel(up=Direction(rate_bps=8_000_000))), world.node(2)
    _check_rate(world, a, b, 8_000_000)


def check_rate_down(world: World) -> None:
    a, b = world.node(1), world.node(2, link=LinkModel(down=Direction(rate_bps=8_000_000)))
    _check_rate(world, a, b, 8_000_000)


def check_rate_with_delay(world: World) -> None:
    a, b = world.node(1, link=LinkModel(up=Direction(20 * MS, 8_000_000))), world.node(2)
    first = _check_rate(world, a, b, 8_000_000, latency_ms=20)
    assert first >= 20.5, f"the first frame took {first:.1f} ms; asked 20 ms and 1 ms for its bits"


def _check_rate(world: World, a: Guest, b: Guest, rate_bps: int, latency_ms: float = 0) -> float:
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
        if taken_ms <= asked_ms * 1.02 + world.slack_ms:
            return found[0][1]
    raise AssertionError(f"asked {asked_ms} ms, took {taken_ms:.1f} ms")


def check_queue_is_bounded(world: World) -> None:
    a, b = world.node(1, link=LinkModel(up=Direction(rate_bps=1_000_000))), world.node(2)
    for number in range(400):
        a.send(number, 1500)
    found = b.numbers(0.3)
    assert 5 < len(found) < 200, f"{len(found)} of 400 frames passed: the queue holds about 100 ms, or 64 KiB"
    assert [number for number, _, _ in found] == sorted(number for number, _, _ in found)


def check_delay_loses_no_burst(world: World) -> None:
    a, b = world.node(1, link=lat(50)), world.node(2)
    subprocess.run(["ip", "link", "set", "vn2e2", "txqueuelen", "4000"], check=True)  # its reader is slow, not the link
    found: list[tuple[int, float, int]] = []
    reader = threading.Thread(target=lambda: found.extend(b.numbers(0.5, stop_after=3000)))
    reader.start()
    for number in range(3000):
        a.send(number, 1500)
    reader.join()
    assert [number for number, _, _ in found] == list(range(3000)), f"{len(found)} of 3000 frames arrived in order"


def check_live_change(world: World) -> None:
    a, b = world.node(1, link=lat(20)), world.node(2)

    def change() -> None:
        for link in (lat(30), LinkModel(Direction(40 * MS, 50_000_000)), lat(60), lat(60.5)):
            time.sleep(0.15)
            world.relink(1, link)

    stream(a, b, change)
    b.numbers(0.1)
    assert_delay(world, a, b, 60.5)


def check_live_decrease(world: World) -> None:
    """A frame sent after the delay was made smaller waits for those under way."""
    a, b = world.node(1, link=lat(60)), world.node(2)

    def change() -> None:
        for milliseconds in (30, 5, 1):
            time.sleep(0.15)
            world.relink(1, lat(milliseconds))

    stream(a, b, change)
    b.numbers(0.2)
    assert_delay(world, a, b, 1)


def check_shaping_a_plain_port_live(world: World) -> None:
    a, b = world.node(1), world.node(2)
    assert {state.backend for state in world.emulation.world().ports.values()} == {DIRECT}
    stream(a, b, lambda: (time.sleep(0.1), world.relink(1, lat(15)))[0])
    assert world.emulation.world().ports["vn1e2"].backend == world.backend
    assert_delay(world, a, b, 15)


def check_compensation(world: World) -> None:
    a, b = world.node(1, link=lat(20)), world.node(2)
    world.emulation.compensate(1, 8 * MS)
    assert_delay(world, a, b, 12)
    world.emulation.compensate(1, 25 * MS)
    time.sleep(0.1)
    assert_delay(world, a, b, 0)  # never below


def check_isolation(world: World) -> None:
    a, b, c = world.node(1, link=lat(1)), world.node(2), world.node(3, OTHERS)
    d = world.node(4, OTHERS, lat(1))
    server = world.node(5, WALT_NET)
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


def check_vlan_tag_survives(world: World) -> None:
    a, b = world.node(1, link=lat(1)), world.node(2)
    a.send(7, tag=b"\x81\x00\x00\x2a")
    tagged = [frame for frame in b.frames(0.3) if frame[12:18] == b"\x81\x00\x00\x2a\x88\xb5"]
    assert len(tagged) == 1


def check_jumbo_frames_pass(world: World) -> None:
    """On a network of users two ends may agree on frames of any size; walt-net keeps to the usual one."""
    for link in (LinkModel(), lat(1)):
        a, b = world.node(1, link=link), world.node(2)
        a.send(7, 9014)
        assert [(len(frame), frame[14:18]) for frame in b.frames(0.2) if len(frame) > 9000] == [(9014, b"\0\0\0\7")]
        a.close()
        b.close()
    assert " mtu 1500 " in subprocess.run(["ip", "link", "show", "walt-net"], capture_output=True, text=True).stdout


def check_large_frame_stays_whole_or_is_cut_well(world: World) -> None:
    """A 64 kB TCP frame that segmentation offload left whole carries all its bytes to the other side."""
    a, b = world.node(1, link=lat(1)), world.node(2)
    payload = os.urandom(30000)
    header, frame = large_frame(a, payload)
    a.send_raw(frame, header)
    found = b"".join(frame[54:] for frame in b.frames(0.3) if frame[12:14] == b"\x08\0" and frame[23] == 6)
    assert found == payload, f"{len(found)} of {len(payload)} bytes arrived"


def check_bytes_of_frames_left_whole(world: World) -> None:
    """Each of the frames that they are on the wire counts with its headers, whatever the sender has in one piece."""
    a, _ = world.node(1, link=LinkModel(up=Direction(rate_bps=1_000_000_000))), world.node(2)
    sizes = (2920, 2921, 29200)
    for size in sizes:
        for hint in (54, 1514):
            header, frame = large_frame(a, bytes(size))
            a.send_raw(frame, header[:2] + struct.pack("<H", hint) + header[4:])
    time.sleep(0.3)
    on_wire = 2 * sum(size + 54 * -(-size // 1460) for size in sizes)
    assert world.port(1).up.bytes == on_wire, f"{world.port(1).up.bytes} bytes passed; on the wire they are {on_wire}"


CHECKS: dict[str, Callable[[World], None]] = {
    name.removeprefix("check_"): check
    for name, check in [*globals().items(), *vars(links_chance).items(), *vars(links_upkeep).items()]
    if name.startswith("check_")
}


def run_check(backend: str, name: str) -> str:
    """'' or what is wrong, found in a fresh network namespace."""
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET) != 0:
        return f"no network namespace: {os.strerror(ctypes.get_errno())}"
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        try:
            world = World(backend, Path(folder))
            stack.callback(world.close)
            world.find_slack()
            CHECKS[name](world)
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
