"""Links that follow a trace."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence

from services.netemu.cable.protocol import traces_folder
from services.netemu.cable.trace import encode
from tests.links.rig import MS, Arrival, Testbed, one_delay
from walt.contracts.links import Direction, LinkModel
from walt.contracts.netemu import CABLE

NUMBER = 7


def follow(
    testbed: Testbed, columns: Mapping[str, Sequence[int]], loops: bool = True, start_us: int = 0, **options: int
) -> LinkModel:
    """The link, whose trace netemu has fetched."""
    folder = traces_folder(testbed.folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / str(NUMBER)).write_bytes(encode(columns, loops, start_us))
    return LinkModel(up=Direction(trace=NUMBER, **options))


def check_a_trace_paces(testbed: Testbed) -> None:
    """8 Mb/s for 300 ms, then nothing for 300 ms, again and again; 100 frames of 1000 B are 100 ms of it."""
    columns = {"keep_us": (300 * MS, 300 * MS), "rate_bps": (8_000_000, 0)}
    a, b = testbed.node(1, link=follow(testbed, columns, limit_frames=10_000)), testbed.node(2)
    assert testbed.port(1).backend == CABLE
    for number in range(450):
        a.send(number, size=1000)
    found = b.numbers(1.0)
    assert [number for number, *_ in found] == list(range(450))
    moments = [at for *_, at in found]
    gaps = sorted((later - before for before, later in zip(moments, moments[1:], strict=False)), reverse=True)
    assert 295e6 < gaps[0] < 310e6 and gaps[1] < 290e6 or 295e6 < gaps[1] < 310e6, f"pauses of {gaps[:3]} ns"
    passing_ms = (moments[-1] - moments[0]) / 1e6 - sum(gap / 1e6 - 1 for gap in gaps if gap > 200e6)
    assert abs(passing_ms - 449) < 5, f"450 kB at 8 Mb/s took {passing_ms:.1f} ms"


def check_a_trace_goes_on_while_the_link_changes(testbed: Testbed) -> None:
    """Nothing is delayed in its first 400 ms, all for 200 ms after; another option is changed meanwhile."""
    columns = {"keep_us": (400 * MS, 3_000 * MS), "latency_us": (0, 200 * MS)}
    link = follow(testbed, columns)
    a, b = testbed.node(1), testbed.node(2)
    testbed.update_links(1, link)
    assert one_delay(a, b) < 100
    testbed.update_links(1, follow(testbed, columns, latency_us=50 * MS))
    time.sleep(0.5)
    delay_ms = one_delay(a, b)
    assert 249 < delay_ms < 250 + testbed.slack_ms + 5, f"{delay_ms:.1f} ms"
    testbed.update_links(1, LinkModel())
    assert one_delay(a, b) < 100


def check_a_schedule_is_on_time_on_all_links(testbed: Testbed) -> None:
    """Half a second after its start, which comes a second after it is set, two links become 200 ms longer."""
    columns = {"keep_us": (500 * MS, 1_000 * MS), "latency_us": (0, 200 * MS)}
    now_ns, start_us = time.monotonic_ns(), time.time_ns() // 1000 + 1_000_000
    link = follow(testbed, columns, loops=False, start_us=start_us)
    a, b, c = testbed.node(1, link=link), testbed.node(2, link=link), testbed.node(3)
    changes_ns = now_ns + 1_500 * 1_000_000
    first = 10_000  # of the numbers of b
    found = list[Arrival]()
    reader = threading.Thread(target=lambda: found.extend(c.numbers(1.0)))
    reader.start()
    for number in range(2_000):
        a.send(number)
        b.send(first + number)
        time.sleep(0.001)
    reader.join()
    for numbers in (range(first), range(first, 2 * first)):
        sent = sorted((at - round(ms * 1e6), ms) for number, ms, at in found if number in numbers)
        changed = next(sent_ns for sent_ns, ms in sent if ms > 100)
        last = max(sent_ns for sent_ns, ms in sent if ms < 100)
        early_ms, late_ms = (changed - changes_ns) / 1e6, (last - changes_ns) / 1e6
        assert early_ms > -1, f"a frame sent {-early_ms:.2f} ms before the change is delayed"
        assert late_ms < 1, f"a frame sent {late_ms:.2f} ms after the change is not delayed"
