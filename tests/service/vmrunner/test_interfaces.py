"""Interfaces that come and go while their machine runs: vmrunner, between netemu and qemu."""

from __future__ import annotations

import os
import signal
import subprocess
from dataclasses import replace

from tests.support.specs import HOME_NET, WALT_NET

LAB = replace(HOME_NET, slot=4, mac="52:54:00:00:00:03", network=replace(HOME_NET.network, id=9, name="lab"))


def told(platform, command: str) -> list[str]:
    return [one for one in platform.monitor_commands(5) if one.startswith(f"{command},")]


def added(platform) -> list[str]:
    return [one.split("id=")[1].split(",")[0] for one in told(platform, "device_add")]


def attached(platform, netemu) -> list[int]:
    return [report["slot"] for report in netemu.list_ports() if report["node_id"] == 5]


def test_one_comes_at_once_and_goes_when_the_guest_lets_it(platform, peers):
    platform.boot(interfaces=(WALT_NET,))
    pid = platform.qemus()[5]
    platform.put(interfaces=(WALT_NET, HOME_NET))
    platform.wait(lambda: added(platform) == ["network7-slot3"], "it is plugged in")
    assert peers.netemu.live[-1] == 5 and attached(platform, peers.netemu) == [2, 3]
    platform.put(interfaces=(WALT_NET, replace(LAB, slot=3)))
    platform.wait(lambda: told(platform, "netdev_del"), "its tap is closed")
    platform.wait(lambda: attached(platform, peers.netemu) == [2], "its port is gone")
    assert told(platform, "device_del")[0] == "device_del,id=network7-slot3"
    platform.settle()
    assert added(platform) == ["network7-slot3"], "its slot is not free yet"
    os.kill(pid, signal.SIGHUP)
    platform.wait(lambda: added(platform)[1:] == ["network9-slot3"], "the other has the slot")
    assert (platform.last().state, platform.last().run, platform.qemus()[5]) == ("booted", 1, pid)


def test_what_stays_is_not_touched_and_what_moves_waits(platform, peers):
    platform.boot(interfaces=(WALT_NET, HOME_NET, LAB))
    platform.put(interfaces=(WALT_NET, replace(LAB, slot=3)))
    platform.wait(lambda: attached(platform, peers.netemu) == [2, 4], "the port of one is gone")
    assert told(platform, "device_del") == ["device_del,id=network7-slot3"] and added(platform) == []


def test_a_vmrunner_that_was_away_makes_it_good(platform, peers):
    platform.boot(interfaces=(WALT_NET, HOME_NET))
    platform.process.kill()
    platform.put(interfaces=(WALT_NET, HOME_NET, LAB))
    platform.process.start()
    platform.wait_until_it_answers()
    platform.wait(lambda: added(platform) == ["network9-slot4"], "it is plugged in")


def test_one_that_cannot_come_is_tried_again(platform, peers):
    """Its tap is in use."""
    platform.boot(interfaces=(WALT_NET,))
    tap = peers.taps[5, 3]
    holder = subprocess.Popen(
        ["python3", "-c", f"from services.kit import tun; tun.open_tap({tap!r}, blocking=True); print('has'); input()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert holder.stdout.readline() == b"has\n"
    platform.put(interfaces=(WALT_NET, HOME_NET))
    platform.wait(lambda: "cannot follow" in platform.process.log.read_text(), "it is said")
    assert added(platform) == []
    holder.communicate(b"\n")
    platform.wait(lambda: added(platform) == ["network7-slot3"], "it is plugged in")
    assert told(platform, "netdev_add")[0].startswith("netdev_add,type=tap,id=network7,fd=tap")
