"""Interfaces that come and go while the node runs, on a real platform."""

from __future__ import annotations

import json

import pytest

from tests.support.wait import wait_until

SETTINGS = ("boot.delay=0", "cpu.cores=1", "ram=256M")
LIMIT_S = 60


@pytest.fixture(scope="module", autouse=True)
def nodes(walt):
    for name, networks in (("vnode1", "walt-net"), ("vnode2", "walt-net,home-net")):
        settings = (*SETTINGS, f"networks={networks}")
        walt("node", "create", name, *(word for one in settings for word in ("-c", one)))
    walt("node", "wait", "vnode1,vnode2", timeout=240)
    yield
    for name in ("vnode1", "vnode2"):
        walt("node", "remove", name, "--force")


def on(walt, command, check=True):
    return walt("node", "run", "vnode1", "--", command, check=check, timeout=240)


def interfaces(walt):
    return set(on(walt, "ls /sys/class/net").stdout.split()) - {"lo"}


def boot_id(walt):
    return on(walt, "cat /proc/sys/kernel/random/boot_id").stdout


def config(walt, networks):
    """What the command says beside that it is done."""
    return walt("node", "config", "vnode1", f"networks={networks}").stderr


def reaches_the_other(walt):
    return on(walt, "ping -c 2 -W 2 vnode2.home-net", check=False).status == 0


def states(walt):
    rows = json.loads(walt("network", "show", "vnode1", "-o", "json").stdout)
    return {(one["network"], one["interface"]): one["state"] for one in rows}


def test_they_come_and_go_with_their_names_addresses_and_links(walt):
    before = boot_id(walt)
    assert "next boot" not in config(walt, "walt-net,home-net[lat=20ms],lab[addr=none]")
    wait_until(lambda: reaches_the_other(walt), LIMIT_S, "the other node answers", 1)
    assert interfaces(walt) == {"ens2", "ens3", "ens4"}
    times = on(walt, "ping -c 5 vnode2.home-net").stdout
    assert float(times.rpartition(" = ")[2].split("/")[1]) > 19.0, times
    up = "cat /sys/class/net/ens4/operstate"
    wait_until(lambda: on(walt, up).stdout == "up\n", LIMIT_S, "the one without an address is up", 1)
    assert states(walt) == {(name, f"ens{n}"): "up" for n, name in ((2, "walt-net"), (3, "home-net"), (4, "lab"))}
    notes = config(walt, "walt-net,lab[addr=none]")
    assert "vnode1: networks takes effect at the next boot" in notes, "ens4 becomes ens3"
    wait_until(lambda: interfaces(walt) == {"ens2", "ens4"}, LIMIT_S, "one is gone", 1)
    wait_until(lambda: len(states(walt)) == 2, LIMIT_S, "and its port", 1)
    assert states(walt)["lab", "ens4"] == "it is ens3 from the next boot on"
    assert "next boot" not in config(walt, "walt-net")
    wait_until(lambda: interfaces(walt) == {"ens2"}, LIMIT_S, "both are gone", 1)
    config(walt, "walt-net,home-net")
    wait_until(lambda: reaches_the_other(walt), LIMIT_S, "the other node answers again", 1)
    assert interfaces(walt) == {"ens2", "ens3"} and boot_id(walt) == before


def test_a_vmrunner_that_was_away_makes_it_good(walt, platform):
    before = boot_id(walt)
    platform.stop("vmrunner")
    try:
        config(walt, "walt-net,home-net,lab")
    finally:
        platform.resume("vmrunner")
    wait_until(lambda: interfaces(walt) == {"ens2", "ens3", "ens4"}, LIMIT_S, "it is there", 1)
    assert boot_id(walt) == before
    walt("node", "reboot", "vnode1", "--wait", timeout=240)
    assert interfaces(walt) == {"ens2", "ens3", "ens4"} and reaches_the_other(walt)
