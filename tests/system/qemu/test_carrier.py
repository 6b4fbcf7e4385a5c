"""The carrier of an interface, as its guest finds it, and the frames that do not pass without one."""

from __future__ import annotations

import itertools
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import replace

import pytest

from services.netemu.kernel.taps import persistent_tap
from tests.support.specs import HOME_NET, spec
from tests.support.wait import wait_until
from tests.system.qemu.rig import NODE
from walt.contracts.links import LinkModel

TAP = "wtest"
WITH = replace(HOME_NET, slot=2)
WITHOUT = replace(WITH, link=LinkModel(no_carrier=True))
FRAME = b"\xff" * 6 + bytes.fromhex("525400000099") + b"\x88\xb5" + b"walt" * 20
SENT = 20
LOOK = "sh echo {n}: $(/bin/busybox cat /sys/class/net/eth0/carrier /sys/class/net/eth0/statistics/rx_packets) end\n"


@pytest.fixture
def tap() -> Iterator[str]:
    with persistent_tap(TAP):
        pass
    try:
        subprocess.run(["sysctl", "-q", f"net.ipv6.conf.{TAP}.disable_ipv6=1"], check=True)  # it sends nothing itself
        subprocess.run(["ip", "link", "set", TAP, "up"], check=True)
        yield TAP
    finally:
        subprocess.run(["ip", "link", "delete", TAP], check=True)


@pytest.fixture
def look(line):
    """(its carrier, frames that it has received), as the guest says now."""
    numbers = itertools.count()

    def look() -> tuple[int, int]:
        n = next(numbers)
        line.type(LOOK.format(n=n).encode())
        line.wait(b"end\r\n", times=n + 1)
        words = line.seen.decode().rpartition(f"{n}: ")[2].split()
        return int(words[0]), int(words[1])

    return look


def send() -> None:
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as packets:
        packets.bind((TAP, 0))
        for _ in range(SENT):
            packets.send(FRAME)


def becomes(look, carrier: int) -> None:
    wait_until(lambda: look()[0] == carrier, 10, f"the carrier is {carrier}")


def test_carrier_from_the_first_look_live_and_after_an_adoption(start, launcher, line, look, tap):
    vm = start(spec(interfaces=(WITHOUT,), ram_bytes=128 * 2**20, cpu_cores=1), [tap])
    line.wait(b"READY")
    line.type(b"modules\n")
    line.wait(b"LOADED")
    line.type(b"sh /bin/busybox ip link set eth0 up\n")
    line.wait(b"DONE")
    send()
    assert look() == (0, 0)
    vm.set_carriers((WITH,))
    becomes(look, 1)
    send()
    wait_until(lambda: look()[1] == SENT, 10, "it receives them")
    vm.set_carriers((WITHOUT,))
    becomes(look, 0)
    send()
    assert look() == (0, SENT)

    vm._monitor.close()  # as when vmrunner ends; a monitor serves one client at a time
    successor = launcher.adopt(NODE)
    successor.set_carriers((WITH,))
    successor.watch(lambda: None)
    becomes(look, 1)
    send()
    wait_until(lambda: look()[1] == 2 * SENT, 10, "those sent meanwhile are gone, and new ones arrive")
