"""How exact links are: requested and measured round trips, rates, shares and jitter, beside an unshaped path.

    python -m benchmarks.links        root; in a network namespace of its own, no VM

The unshaped path carries the same frames between the same taps: what it takes is not the link's, and is
taken off before the error is stated (in the platform, compensation does that).
"""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import math
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import mean, median, quantiles, stdev

from services.netemu.cable.impairments import ImpairmentSequence
from services.netemu.kernel.netlink import Netlink
from tests.links.rig import (
    CLONE_NEWNET,
    MEASURE,
    OTHERS,
    Arrival,
    Guest,
    Testbed,
    be_punctual,
    exchange,
    lat,
)
from walt.contracts.links import Direction, LinkModel, parse_options
from walt.contracts.netemu import CABLE, KERNEL

DELAYS_MS = (0.2, 1.0, 5.0, 10.0, 50.0)
RATES_BPS = (64_000, 1_000_000, 10_000_000, 100_000_000, 1_000_000_000)
ONE_WAY_MS = (0.2, 1.0, 10.0, 100.0, 1000.0)
ONE_WAY_FRAMES = 5_000
OTHER_PORTS = 200  # on a network of their own
VIRTUAL_FRAMES = 1_000_000
Z_999 = 3.29  # deviations within which chance stays in 99.9 % of all runs
PINGS = 50
FRAME_BYTES = 1500
FRAMES = 2000
SHARES = (("loss", 0.001), ("loss", 0.01), ("loss", 0.1), ("dup", 0.05), ("reorder", 0.05))
SEEN: dict[str, Callable[[list[Arrival]], int]] = {
    "loss": lambda found: FRAMES - len(found),
    "dup": lambda found: len(found) - FRAMES,
    "reorder": lambda found: sum(after_ms < 15 for _, after_ms, _ in found),
}
JITTERS_MS = (1.0, 5.0)


def round_trips_us(a: Guest, b: Guest) -> list[float]:
    found = []
    for _ in range(PINGS):
        started = time.monotonic_ns()
        a.send(1)
        b.numbers(1, stop_after=1)
        b.send(2)
        ((_, _, answered),) = a.numbers(1, stop_after=1)
        found.append((answered - started) / 1000)
        time.sleep(0.01)
    return found


def measured_rate_bps(a: Guest, b: Guest, frames: int) -> float:
    for number in range(frames):
        a.send(number, FRAME_BYTES)
    found = b.numbers(1, stop_after=frames)
    return (len(found) - 1) * FRAME_BYTES * 8 / ((found[-1][2] - found[0][2]) / 1e9)


def print_delays(testbed: Testbed, a: Guest, b: Guest) -> None:
    reference_us = mean(round_trips_us(a, b))
    print(f"{'lat on both ends':>18} {'asked RTT':>12} {'mean RTT':>12} {'p95':>12} {'error':>9} {'mean / asked':>13}")
    print(f"{'none (reference)':>18} {'':>12} {reference_us:>9.0f} us")
    for delay_ms in DELAYS_MS:
        for node_id in (1, 2):
            testbed.update_links(node_id, lat(delay_ms))
        times = round_trips_us(a, b)
        asked_us = 2000 * delay_ms
        seen_us = mean(times)
        error_us = seen_us - reference_us - asked_us
        print(
            f"{delay_ms:>15.1f} ms {asked_us:>9.0f} us {seen_us:>9.0f} us {quantiles(times, n=20)[-1]:>9.0f} us "
            f"{error_us:>6.0f} us {(seen_us - reference_us) / asked_us:>13.4f}"
        )


def one_way_us(a: Guest, b: Guest) -> list[float]:
    """Of frames a millisecond apart, in order of size."""

    def send() -> None:
        be_punctual()
        for number in range(ONE_WAY_FRAMES):
            a.send(number)
            time.sleep(0.001)

    sender = threading.Thread(target=send)
    sender.start()
    found = b.numbers(3, stop_after=ONE_WAY_FRAMES)
    sender.join()
    return sorted(after_ms * 1000 for _, after_ms, _ in found)


def print_one_way(testbed: Testbed, a: Guest, b: Guest, unshaped: tuple[Guest, Guest], condition: str) -> None:
    """What a path takes in the median that was never shaped, under the same condition, is taken off: a port that was
    stays in the cable, which takes its own cost off delays."""
    reference_us = median(one_way_us(*unshaped))
    testbed.update_links(2, LinkModel())
    print(f"\n{condition}; the unshaped path: {reference_us:.0f} us")
    print(f"{'lat one way':>18} {'frames':>7} {'median - lat':>13} {'p99 - lat':>13} {'worst - lat':>13} {'goal':>10}")
    for delay_ms in ONE_WAY_MS:
        testbed.update_links(1, lat(delay_ms))
        found = [one - reference_us - 1000 * delay_ms for one in one_way_us(a, b)]
        goal_us = max(20, 2 * delay_ms)
        middle, p99, worst = found[len(found) // 2], found[len(found) * 99 // 100], found[-1]
        met = "met" if abs(middle) <= goal_us else f"missed ({goal_us:.0f})"
        print(f"{delay_ms:>15.1f} ms {len(found):>7} {middle:>10.0f} us {p99:>10.0f} us {worst:>10.0f} us {met:>10}")


@contextlib.contextmanager
def full_load() -> Iterator[None]:
    """On all processors, at ordinary priority."""
    argv = [sys.executable, "-c", "while True: pass"]
    burning = [subprocess.Popen(argv) for _ in range(os.cpu_count() or 1)]
    try:
        yield
    finally:
        for one in burning:
            one.kill()
            one.wait()


def print_virtual() -> None:
    """In virtual time: of so many frames, what is lost, and in runs of which mean length."""
    print(f"\n{'of 10^6 frames':>18} {'asked':>10} {'lost':>10} {'99.9 %':>8} {'runs':>8} {'asked':>8} {'99.9 %':>8}")
    for loss_ppm, burst in ((1_000, 0), (10_000, 0), (100_000, 0), (10_000, 8), (200_000, 3)):
        sequence = ImpairmentSequence(Direction(loss_ppm=loss_ppm, burst_frames=burst, seed=2026))
        fates = [sequence.next().copies for _ in range(VIRTUAL_FRAMES)]
        share = loss_ppm / 1e6
        lost = fates.count(0)
        runs = sum(1 for one, after in itertools.pairwise([*fates, 1]) if not one and after)
        length = burst or 1 / (1 - share)
        # losses of a chain are not independent: their spread is wider by (1 + r) / (1 - r), r: from one to the next
        apart = 1 - 1 / length - share / (1 - share) / length if burst else 0.0
        spread = math.sqrt(VIRTUAL_FRAMES * share * (1 - share) * (1 + apart) / (1 - apart))
        of_runs = math.sqrt(length * (length - 1) / runs)
        marks = [
            "within" if abs(off) <= Z_999 * by else "OUTSIDE"
            for off, by in ((lost - VIRTUAL_FRAMES * share, spread), (lost / runs - length, of_runs))
        ]
        print(
            f"{f'loss, burst={burst}':>18} {share:>10.2%} {lost / VIRTUAL_FRAMES:>10.3%} {marks[0]:>8} "
            f"{lost / runs:>8.3f} {length:>8.3f} {marks[1]:>8}"
        )


def print_rates(testbed: Testbed, a: Guest, b: Guest) -> None:
    testbed.update_links(2, LinkModel())
    print(f"\n{'bw':>18} {'measured':>17} {'measured / asked':>17}")
    for rate_bps in RATES_BPS:
        testbed.update_links(1, LinkModel(up=Direction(rate_bps=rate_bps)))
        seen_bps = measured_rate_bps(a, b, min(10_000, max(40, rate_bps // 10 // 8 // FRAME_BYTES)))
        print(f"{rate_bps / 1e6:>13.0f} Mbps {seen_bps / 1e6:>12.3f} Mbps {seen_bps / rate_bps:>17.4f}")


def print_shares(testbed: Testbed, a: Guest, b: Guest) -> None:
    """Each share beside what was asked; a deviation of 1 is what chance alone makes of so many frames."""
    print(f"\n{'of ' + str(FRAMES) + ' frames':>18} {'asked':>10} {'measured':>10} {'deviations':>11}")
    for word, share in SHARES:
        testbed.update_links(1, parse_options(LinkModel(), ["lat=20ms", f"{word}={share:%}"]))
        found = exchange(a, b, FRAMES, pause_s=0.0002)
        seen = SEEN[word](found) / FRAMES
        spread = math.sqrt(share * (1 - share) / FRAMES)
        print(f"{word:>18} {share:>10.2%} {seen:>10.2%} {(seen - share) / spread:>11.2f}")


def print_jitter(testbed: Testbed, a: Guest, b: Guest) -> None:
    """A delay spread evenly over +-j has a standard deviation of j / sqrt(3)."""
    print(f"\n{'lat=20ms, jitter':>18} {'mean':>12} {'deviation':>12} {'theory':>12} {'least':>12} {'most':>12}")
    for jitter_ms in JITTERS_MS:
        testbed.update_links(1, parse_options(lat(20), [f"jitter={jitter_ms:g}ms"]))
        found = exchange(a, b, PINGS * 4, pause_s=2.1 * jitter_ms / 1000)  # too far apart to wait for each other
        delays = [after_ms for _, after_ms, _ in found]
        row = (mean(delays), stdev(delays), jitter_ms / math.sqrt(3), min(delays), max(delays))
        print(f"{jitter_ms:>15.1f} ms " + " ".join(f"{value:>9.3f} ms" for value in row))


def main() -> None:
    if ctypes.CDLL(None).unshare(CLONE_NEWNET) != 0:
        raise SystemExit("a network namespace is wanted: run as root")
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    be_punctual()
    no_netem = Netlink().probe_netem()
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        testbed = Testbed(CABLE if no_netem else KERNEL, Path(folder))
        stack.callback(testbed.close)
        print(f"back-end: {testbed.backend}; {no_netem or 'netem'}\n")
        a, b = testbed.node(1), testbed.node(2)
        print_delays(testbed, a, b)
        print_rates(testbed, a, b)
        print_shares(testbed, a, b)
        print_jitter(testbed, a, b)
        print_virtual()
        unshaped = testbed.node(3, MEASURE), testbed.node(4, MEASURE)
        print_one_way(testbed, a, b, unshaped, "idle")
        with full_load():
            print_one_way(testbed, a, b, unshaped, "all processors busy")
        for node_id in range(201, 201 + OTHER_PORTS):
            testbed.attach(node_id, lat(10), OTHERS)
        print_one_way(testbed, a, b, unshaped, f"beside {OTHER_PORTS} other ports")
        state = testbed.emulation.cable.show()
        if state is not None:
            print(f"\ncable: real-time {state.realtime}, own cost taken off {state.overhead_us:.0f} us")


if __name__ == "__main__":
    main()
