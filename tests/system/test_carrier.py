"""The carrier of an interface, on a real platform: pulled out and put back live, kept over reboots and restarts."""

from __future__ import annotations

import json

import pytest

from tests.support.wait import wait_until

SETTINGS = ("boot.delay=0", "cpu.cores=1", "ram=256M")
LIMIT_S = 60


@pytest.fixture(scope="module", autouse=True)
def nodes(walt):
    """vnode1 boots with its cable pulled out."""
    for name, link in (("vnode1", "[carrier=down]"), ("vnode2", "")):
        settings = (*SETTINGS, f"networks=walt-net,home-net{link}")
        walt("node", "create", name, *(word for one in settings for word in ("-c", one)))
    walt("node", "wait", "vnode1,vnode2", timeout=240)
    yield
    for name in ("vnode1", "vnode2"):
        walt("node", "remove", name, "--force")


def on(walt, command, check=True):
    return walt("node", "run", "vnode1", "--", command, check=check, timeout=240)


def carrier(walt):
    """As the guest sees it; an interface that is not up tells none."""
    return on(walt, "ip link set ens3 up; cat /sys/class/net/ens3/carrier").stdout.strip()


def becomes(walt, wanted):
    wait_until(lambda: carrier(walt) == wanted, LIMIT_S, f"the carrier is {wanted}", 1)


def reaches_the_other(walt):
    return on(walt, "ping -c 2 -W 2 vnode2.home-net", check=False).status == 0


def shown(walt):
    rows = json.loads(walt("network", "show", "vnode1", "-o", "json").stdout)
    (row,) = [one for one in rows if one["network"] == "home-net"]
    return row["asked"], row["state"]


def test_no_carrier_from_the_first_moment(walt):
    assert carrier(walt) == "0" and not reaches_the_other(walt)
    assert on(walt, "cat /sys/class/net/ens3/carrier_up_count").stdout.strip() == "0"
    assert shown(walt) == ("carrier=down", "no carrier")


def test_put_in_and_pulled_out_live(walt):
    boot_id = on(walt, "cat /proc/sys/kernel/random/boot_id").stdout
    done = walt("network", "link", "vnode1", "home-net", "carrier=up")
    assert done.stderr == "vnode1: the link to home-net is plain\n"
    becomes(walt, "1")
    wait_until(lambda: reaches_the_other(walt), LIMIT_S, "the other node answers", 1)
    assert shown(walt) == ("", "up")
    walt("network", "link", "vnode1", "home-net", "lat=5ms", "carrier=down")
    becomes(walt, "0")
    assert not reaches_the_other(walt)
    walt("node", "config", "vnode1", "networks=walt-net,home-net[lat=5ms]")
    becomes(walt, "1")
    wait_until(lambda: reaches_the_other(walt), LIMIT_S, "the other node answers again", 1)
    assert on(walt, "cat /proc/sys/kernel/random/boot_id").stdout == boot_id


def test_it_survives_both_agents_and_what_changed_meanwhile_is_made_good(walt, platform):
    walt("network", "link", "vnode1", "home-net", "carrier=down")
    becomes(walt, "0")
    for agent in ("vmrunner", "netemu"):
        platform.kill(agent)
    assert carrier(walt) == "0" and not reaches_the_other(walt)
    platform.stop("vmrunner")
    try:
        walt("network", "link", "vnode1", "home-net", "carrier=up")
        assert carrier(walt) == "0"
    finally:
        platform.resume("vmrunner")
    becomes(walt, "1")
    wait_until(lambda: reaches_the_other(walt), LIMIT_S, "the other node answers", 1)


def test_it_is_kept_over_a_reboot(walt):
    walt("network", "link", "vnode1", "home-net", "carrier=down")
    walt("node", "reboot", "vnode1", "--wait", timeout=240)
    assert carrier(walt) == "0" and not reaches_the_other(walt)
    assert on(walt, "cat /sys/class/net/ens3/carrier_up_count").stdout.strip() == "0"
