"""What links come through: restarts, kills, names that are taken, ends that are gone. Part of the suite of links."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

from pyroute2 import IPRoute

from services.netemu.kernel import netlink
from tests.links.rig import OTHERS, PLAIN, Testbed, assert_delay, interface_names, lat, one_delay, settle, stream
from walt.contracts.errors import Failed
from walt.contracts.links import Direction, LinkModel
from walt.contracts.netemu import CABLE

SEEDED = LinkModel(Direction(3000, loss_ppm=1, seed=1))


def check_restart_loses_nothing(testbed: Testbed) -> None:
    a, b = testbed.node(1, link=lat(20)), testbed.node(2)

    def restart() -> None:
        time.sleep(0.1)
        testbed.emulation = testbed.new_emulation()
        assert not testbed.attach_again(1), "the port was not adopted as it is"
        testbed.emulation.remove_orphans()
        testbed.emulation.repair()

    stream(a, b, restart)


def check_attach_is_idempotent(testbed: Testbed) -> None:
    testbed.node(1, link=lat(10))
    testbed.node(2)
    assert testbed.attach_again(1) == []
    assert testbed.attach_again(2) == []


def check_foreign_name_is_refused(testbed: Testbed) -> None:
    subprocess.run(["ip", "link", "add", "net5", "type", "bridge"], check=True)
    before = interface_names()
    try:
        testbed.node(1)
    except Failed as error:
        assert "net5" in str(error)
    else:
        raise AssertionError("a foreign net5 was taken over")
    assert interface_names() == before
    subprocess.run(["ip", "link", "del", "net5"], check=True)
    testbed.node(1)


def check_cleanup(testbed: Testbed) -> None:
    before = interface_names()
    testbed.node(1, link=lat(10))
    testbed.node(2, OTHERS, LinkModel(down=Direction(rate_bps=1_000_000)))
    testbed.node(3)
    for node_id in (1, 2, 3, 3, 99):
        testbed.emulation.detach(node_id)
    assert interface_names() == before, f"left behind: {interface_names() - before}"


def check_no_cable_is_no_link(testbed: Testbed) -> None:
    """A dead back-end never means an unshaped link; mended, frames pass again."""
    if testbed.backend != CABLE:
        return
    a, b = testbed.node(1, link=lat(5)), testbed.node(2)
    state = testbed.emulation.cable.show()
    assert state is not None
    os.kill(state.pid, signal.SIGKILL)
    os.waitpid(state.pid, 0)
    a.send(1)
    b.send(2)
    assert b.numbers(0.2) == [] and a.numbers(0.2) == [], "frames pass a dead cable"
    testbed.emulation.repair()
    time.sleep(0.1)
    a.send(3)
    (arrived,) = b.numbers(0.3, stop_after=1)
    assert arrived[0] == 3 and 4.5 < arrived[1] < 7


def check_killed_at_any_step(testbed: Testbed) -> None:
    """Whichever message to the kernel was the last, the next netemu makes the port whole, and leaves nothing behind."""
    testbed.attach(1, SEEDED)  # so that the cable is there, and not a child of who is killed
    testbed.emulation.detach(1)
    before = interface_names()
    for step in itertools.count(1):
        was_killed = _changes_until(testbed, step)
        testbed.emulation = testbed.new_emulation()
        testbed.emulation.repair()
        a, b = testbed.node(1, OTHERS, lat(20)), testbed.node(2, OTHERS)
        assert one_delay(a, b) > 15
        assert testbed.attach_again(1) == []
        for number, guest in enumerate((a, b), 1):
            guest.close()
            testbed.emulation.detach(number)
        testbed.emulation.remove_orphans()
        assert interface_names() == before, f"step {step} leaves {interface_names() ^ before}"
        if not was_killed:
            return


def _changes_until(testbed: Testbed, step: int) -> bool:
    """A process that makes a port, changes and removes it, killed before this message; False when it was not."""
    child = os.fork()
    if child == 0:
        with contextlib.suppress(BaseException):
            netlink.IPRoute = Doomed(step)
            testbed.attach(1, PLAIN, OTHERS)
            testbed.update_links(1, lat(1))
            testbed.update_links(1, SEEDED)
            testbed.emulation.detach(1)
            os._exit(0)
        os._exit(1)
    status = os.waitpid(child, 0)[1]
    assert status in (0, signal.SIGKILL), f"the process ended with status {status}"
    return status != 0


class Doomed:
    """In place of IPRoute: whoever uses it is killed before the last of so many messages."""

    def __init__(self, messages: int) -> None:
        self._left = messages
        self._route: Any = None

    def __call__(self) -> Doomed:
        return self

    def __enter__(self) -> Doomed:
        self._route = IPRoute()
        return self

    def __exit__(self, *_: object) -> None:
        self._route.close()

    def __getattr__(self, method: str) -> Any:
        if method in ("link", "tc", "brport"):
            self._left -= 1
            if self._left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
        return getattr(self._route, method)


def check_an_end_that_is_gone_takes_no_time(testbed: Testbed) -> None:
    """Somebody removes an interface of the cable, which is told so for ever; the port is made anew at the next turn."""
    if testbed.backend != CABLE:
        return
    a, b = testbed.node(1, link=lat(5)), testbed.node(2)
    state = testbed.emulation.cable.show()
    assert state is not None
    subprocess.run(["ip", "link", "del", "cn1e2"], check=True)
    before_s = _cpu_s(state.pid)
    time.sleep(0.5)
    assert _cpu_s(state.pid) - before_s < 0.2, "the cable is busy with an interface that is gone"
    assert testbed.attach_again(1)
    settle(a)
    assert_delay(testbed, a, b, 5)


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
