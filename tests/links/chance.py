"""What a link must leave to chance, how much of it, and what it must not: the other half of the suite of links.

Shares are checked against the bounds of their binomial distribution, delays against the band of Dvoretzky, Kiefer
and Wolfowitz around theirs, each left by chance once in a million runs.
"""

from __future__ import annotations

import math
import os
import struct
import time
from collections import Counter
from dataclasses import replace

from services.kit.tun import VNET_HEADER_BYTES
from tests.links.rig import (
    BROADCAST,
    MS,
    NEEDS_CSUM,
    Arrival,
    Guest,
    Testbed,
    exchange,
    large_frame,
    lat,
    one_delay,
    ones_sum,
    stream,
    udp_frame,
)
from walt.contracts.links import Direction, LinkModel
from walt.contracts.netemu import CABLE, KERNEL

PPM = 1_000_000
RARE = 1e-6
DEVIATIONS = 4.9  # a normal distribution is as far from its mean once in a million
FRAMES = 800
UDP_HEADER = struct.pack("<BBHHHH", NEEDS_CSUM, 0, 0, 0, 34, 6)


def shares(**shares_ppm: int) -> LinkModel:
    return LinkModel(up=Direction(**shares_ppm))


def assert_share(found: int, count: int, share: float, what: str) -> None:
    spread = DEVIATIONS * math.sqrt(count * share * (1 - share)) + 1
    assert abs(found - count * share) <= spread, f"{found} of {count} {what}; {share:.0%} was asked"


def numbers_of(arrivals: list[Arrival]) -> list[int]:
    return [number for number, _, _ in arrivals]


def check_loss(testbed: Testbed) -> None:
    a, b = testbed.node(1, link=shares(loss_ppm=PPM // 10)), testbed.node(2)
    arrived = numbers_of(exchange(a, b, FRAMES))
    assert arrived == sorted(set(arrived)), "frames were reordered or duplicated"
    assert_share(FRAMES - len(arrived), FRAMES, 0.1, "were lost")
    port = testbed.port(1)
    assert (port.up.frames, port.up.dropped) == (len(arrived), FRAMES - len(arrived)), port.up
    assert numbers_of(exchange(b, a, 100)) == list(range(100)), "what the node receives is lost too"
    testbed.update_links(1, shares(loss_ppm=PPM))
    assert exchange(a, b, 50) == []
    testbed.update_links(1, lat(1))
    assert len(exchange(a, b, 50)) == 50


def check_bursts(testbed: Testbed) -> None:
    """More than netem can: such a port goes through the cable."""
    link = LinkModel(up=Direction(loss_ppm=PPM // 5, burst_frames=8, seed=3))
    a, b = testbed.node(1, link=link), testbed.node(2)
    assert testbed.port(1).backend == CABLE
    arrived = set(numbers_of(exchange(a, b, FRAMES)))
    lost = [number for number in range(FRAMES) if number not in arrived]
    runs = sum(number - 1 not in lost for number in lost)
    assert 4 < len(lost) / runs < 16, f"{len(lost)} of {FRAMES} frames were lost in {runs} runs"


def check_loss_down(testbed: Testbed) -> None:
    a, b = testbed.node(1), testbed.node(2, link=LinkModel(down=Direction(loss_ppm=PPM // 2)))
    assert_share(len(exchange(a, b, FRAMES // 2)), FRAMES // 2, 0.5, "arrived")


def check_duplicate(testbed: Testbed) -> None:
    a, b = testbed.node(1, link=LinkModel(up=Direction(5 * MS, duplicate_ppm=PPM // 5))), testbed.node(2)
    arrived = numbers_of(exchange(a, b, FRAMES))
    assert arrived == sorted(arrived), "frames were reordered"
    times = Counter(Counter(arrived).values())
    assert set(times) == {1, 2} and sum(times.values()) == FRAMES, f"{times} frames arrived so many times"
    assert_share(times[2], FRAMES, 0.2, "arrived twice")


def check_reorder(testbed: Testbed) -> None:
    delay_ms = 20 + 2 * testbed.slack_ms
    a, b = testbed.node(1, link=LinkModel(up=Direction(round(delay_ms * MS), reorder_ppm=PPM // 5))), testbed.node(2)
    arrived = exchange(a, b, FRAMES, pause_s=0.001)
    delayed = [number for number, after_ms, _ in arrived if after_ms > delay_ms - 0.3]
    assert sorted(numbers_of(arrived)) == list(range(FRAMES)), f"{len(arrived)} of {FRAMES} frames arrived"
    assert delayed == sorted(delayed), "frames that were not to overtake did"
    assert_share(FRAMES - len(delayed), FRAMES, 0.2, "skipped the delay")
    assert numbers_of(arrived) != sorted(numbers_of(arrived))


def check_reorder_with_rate(testbed: Testbed) -> None:
    """More than netem can: such a port goes through the cable."""
    link = LinkModel(up=Direction(30 * MS, 8_000_000, reorder_ppm=PPM // 2))
    a, b = testbed.node(1, link=link), testbed.node(2)
    assert testbed.port(1).backend == CABLE
    arrived = exchange(a, b, 60, pause_s=0, size=1000)
    assert len(arrived) == 60
    started = min(at - after_ms * 1e6 for _, after_ms, at in arrived)
    taken_ms = (max(at for _, _, at in arrived) - started) / 1e6
    assert taken_ms >= 60 * 0.98, f"60 frames of 1 ms passed within {taken_ms:.1f} ms"


def check_jitter(testbed: Testbed) -> None:
    a, b = testbed.node(1, link=LinkModel(up=Direction(20 * MS, jitter_us=5 * MS))), testbed.node(2)
    count = 150
    for _ in range(3):  # a busy machine may be slow twice
        arrived = exchange(a, b, count, pause_s=0.0105)  # too far apart to wait for each other
        assert numbers_of(arrived) == list(range(count))
        assert min(after_ms for _, after_ms, _ in arrived) >= 15 - 0.3
        fault = not_evenly([(after_ms - 15) / 10 for _, after_ms, _ in arrived], 0.03, testbed.slack_ms / 10)
        if not fault:
            return
    raise AssertionError(fault)


def not_evenly(values: list[float], early: float, late: float) -> str:
    """What speaks against values that are spread evenly from 0 to 1, each of which may be early or late by so much."""
    count = len(values)
    band = math.sqrt(math.log(2 / RARE) / (2 * count))
    for rank, value in enumerate(sorted(values), 1):
        if not value - late - band <= rank / count <= value + early + band + 1 / count:
            return f"the {rank}. of {count} delays is at {value:.2f} of its range"
    return ""


def check_jitter_keeps_the_order(testbed: Testbed) -> None:
    a, b = testbed.node(1, link=LinkModel(up=Direction(20 * MS, jitter_us=20 * MS))), testbed.node(2)
    arrived = exchange(a, b, FRAMES)
    assert numbers_of(arrived) == list(range(FRAMES)), "frames were lost or reordered"
    after_ms = sorted(after for _, after, _ in arrived)
    spread_ms = after_ms[-FRAMES // 10] - after_ms[FRAMES // 10]  # a busy machine holds a few frames back for long
    assert spread_ms > 5, f"the delays lie within {spread_ms:.1f} ms"


def check_limit(testbed: Testbed) -> None:
    a, b = testbed.node(1, link=LinkModel(up=Direction(300 * MS, limit_frames=20))), testbed.node(2)
    assert numbers_of(exchange(a, b, 100, pause_s=0)) == list(range(20))
    assert testbed.port(1).up.dropped == 80
    testbed.update_links(1, lat(300))
    assert len(exchange(a, b, 100, pause_s=0)) == 100


def check_live_change_of_chance(testbed: Testbed) -> None:
    """What begins or ends to be asked meanwhile loses and re-orders nothing either."""
    start = Direction(20 * MS, 50_000_000)
    a, b = testbed.node(1, link=LinkModel(up=start)), testbed.node(2)
    changes = [
        replace(start, jitter_us=5 * MS),
        replace(start, jitter_us=5 * MS, duplicate_ppm=PPM // 5, limit_frames=2000),
        start,
    ]
    if testbed.backend == CABLE:  # with a seed that spares the first frames; netem has none
        changes.insert(0, replace(start, corrupt_ppm=1, loss_ppm=1, seed=1))

    def change() -> None:
        for up in changes:
            time.sleep(0.15)
            testbed.update_links(1, LinkModel(up=up))

    stream(a, b, change)


def check_seed(testbed: Testbed) -> None:
    """The same fates again: for another port, after the port was made anew, after the change of another value; whatever
    the host's back-end, since netem would begin anew with each change."""
    link = LinkModel(up=Direction(loss_ppm=PPM // 3, duplicate_ppm=PPM // 10, seed=7))
    a, b = testbed.node(1, link=link), testbed.node(2)
    assert testbed.port(1).backend == CABLE
    first = numbers_of(exchange(a, b, 300))
    assert numbers_of(exchange(a, b, 300)) != first, "each round of the same port has the same fates"
    testbed.emulation.detach(1)
    a.close()
    a = testbed.node(1, link=link)
    half = numbers_of(exchange(a, b, 150))
    testbed.update_links(1, replace(link, up=replace(link.up, latency_us=3000)))
    again = half + [150 + number for number in numbers_of(exchange(a, b, 150))]
    assert again == first, "the same seed lost other frames"
    other = testbed.node(3, link=replace(link, up=replace(link.up, seed=8)))
    assert numbers_of(exchange(other, b, 300)) != first, "another seed lost the same frames"


def check_seed_live(testbed: Testbed) -> None:
    """On the way from netem to the cable the frames under way may be lost; the link is there at once, and whole."""
    a, b = testbed.node(1, link=lat(5)), testbed.node(2)
    testbed.update_links(1, LinkModel(up=Direction(5 * MS, seed=1)))
    assert testbed.port(1).backend == CABLE
    assert 4.7 <= one_delay(a, b) <= 5 + testbed.slack_ms
    testbed.update_links(1, lat(6))
    assert testbed.port(1).backend == CABLE, "a talking port changed its back-end without need"
    assert testbed.attach_again(1) != [] or testbed.backend == CABLE
    assert one_delay(a, b) >= 4.7
    assert testbed.port(1).backend == testbed.backend


def numbered_frame(guest: Guest, number: int) -> bytes:
    return BROADCAST + guest.mac + b"\x88\xb5" + struct.pack("!I", number) * 100


def number_of(frame: bytes) -> int:
    """What most of the copies say."""
    copies = Counter(struct.unpack("!100I", frame[14:414]))
    return int(copies.most_common(1)[0][0])


def inverted_bits(one: bytes, other: bytes) -> int:
    assert len(one) == len(other), f"{len(one)} bytes became {len(other)}"
    return (int.from_bytes(one) ^ int.from_bytes(other)).bit_count()


def check_corrupt(testbed: Testbed) -> None:
    a, b = testbed.node(1, link=LinkModel(up=Direction(30 * MS, corrupt_ppm=PPM // 5))), testbed.node(2)
    count, bits = FRAMES // 2, Counter[int]()
    for first in range(0, count, 50):
        for number in range(first, first + 50):
            a.send_raw(numbered_frame(a, number))
        found = {number_of(frame): frame for frame in b.frames(0.1) if len(frame) == 414}
        bits += Counter(inverted_bits(frame, numbered_frame(a, number)) for number, frame in found.items())
    assert set(bits) == {0, 1}, f"frames by inverted bits: {bits}"
    assert bits.total() >= count - 3, f"{bits.total()} of {count} arrived"  # a bit of an address loses the frame
    assert_share(bits[1], count, 0.2, "arrived with one bit inverted")


def check_corrupted_checksums_are_wrong(testbed: Testbed) -> None:
    """Nobody on the way makes a corrupted frame good again, and nothing tells the receiver not to look."""
    a, b = testbed.node(1, link=LinkModel(up=Direction(corrupt_ppm=PPM))), testbed.node(2)
    for with_checksum in (True, False):
        handed, whole = udp_frame(a, bytes(range(200)), with_checksum=with_checksum)
        for _ in range(30):
            a.send_raw(handed, UDP_HEADER if with_checksum else bytes(VNET_HEADER_BYTES))
        arrived = list(b.frames_with_header(0.2))
        assert len(arrived) >= 15, f"{len(arrived)} of 30 frames arrived"  # a bridge may drop what is no IP any more
        for frame in arrived:
            assert not frame[0] & NEEDS_CSUM, "the receiver is told to trust the checksum"
            assert inverted_bits(frame[VNET_HEADER_BYTES:], whole) == 1


def check_corrupted_large_frame(testbed: Testbed) -> None:
    """Of what segmentation offload left whole, too, no corrupted byte arrives with a checksum that vouches for it."""
    a, b = testbed.node(1, link=LinkModel(up=Direction(corrupt_ppm=PPM))), testbed.node(2)
    header, frame = large_frame(a, os.urandom(20000))
    a.send_raw(frame, header)
    cut = [one for one in b.frames_with_header(0.3) if len(one) > 1000]
    assert 5 < len(cut) <= 14, f"{len(cut)} frames arrived"
    assert not any(one[0] & NEEDS_CSUM or one[1] for one in cut), "frames arrived that are still to be cut"
    well = sum(looks_well(one[VNET_HEADER_BYTES:], frame) for one in cut)
    assert not well, f"{well} of {len(cut)} frames look well"


def looks_well(frame: bytes, sent: bytes) -> bool:
    """To a receiver that looks at everything: addresses, header of IP, checksum of TCP."""
    ip, tcp = frame[14:34], frame[34:]
    pseudo = frame[26:34] + struct.pack("!HH", 6, len(tcp))
    return frame[:14] == sent[:14] and ones_sum(ip) == ones_sum(pseudo + tcp + bytes(len(tcp) % 2)) == 0xFFFF


def check_frames_left_whole_are_lost_one_by_one(testbed: Testbed) -> None:
    """As on the wire, whatever segmentation offload has left whole; netem takes such a frame as one."""
    if testbed.backend == CABLE:
        a, _ = testbed.node(1, link=shares(loss_ppm=PPM // 2)), testbed.node(2)
        header, frame = large_frame(a, bytes(20 * 1460))
        for _ in range(40):
            a.send_raw(frame, header)
        time.sleep(0.3)
        up = testbed.port(1).up
        assert up.frames + up.dropped == 800, f"{up}; 800 frames on the wire were sent"
        assert_share(up.dropped, 800, 0.5, "were lost")


def check_measured(testbed: Testbed) -> None:
    a, b = testbed.node(1, link=lat(10)), testbed.node(2)
    assert testbed.port(1).measured_latency_us is None, "nothing was sent yet"
    testbed.emulation.compensate(1, 2 * MS)
    assert len(exchange(a, b, 50)) == 50
    port = testbed.port(1)
    assert (port.up.frames, port.up.bytes, port.up.dropped) == (50, 5000, 0), port.up
    assert (testbed.port(2).down.frames, testbed.port(2).down.dropped) == (50, 0)
    if testbed.backend == KERNEL:
        assert port.measured_latency_us is None
    else:
        assert port.measured_latency_us is not None and 9_500 <= port.measured_latency_us <= 12_000, port


def check_a_very_high_rate(testbed: Testbed) -> None:
    """Above what 32 bits hold."""
    a, b = testbed.node(1, link=LinkModel(up=Direction(2 * MS, 100_000_000_000))), testbed.node(2)
    started = time.monotonic()
    assert len(exchange(a, b, 200, pause_s=0, size=1500)) == 200
    assert time.monotonic() - started < 5
