"""A machine that is not ours, plugged into walt-net: it boots by the iPXE of its own ROM, and is a node like others.

A plain qemu stands for it. Nothing of the platform knows that it is one: it has a cable, and nobody but its guest to
tell it to reboot.
"""

import json
import subprocess
import time

import pytest

from tests.support.wait import wait_until

MAC = "52:54:00:1a:2b:3c"
NAME = "pc-5254001a2b3c"
CABLE = "pc0"
BOOT_S = 150
PERSIST_AWAY_S = 10  # 60 were tried too


@pytest.fixture
def machine(platform, walt):
    """Switched on; forgotten at the end."""
    network = f"tap,id=net,ifname={CABLE},script=no,downscript=no"
    argv = ["qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none", "-vga", "none"]
    argv += ["-accel", "tcg", "-cpu", "max", "-smp", "2", "-m", "768", "-boot", "order=n"]
    argv += ["-netdev", network, "-device", f"virtio-net-pci,netdev=net,mac={MAC}"]
    for command in (f"tuntap add dev {CABLE} mode tap", f"link set {CABLE} master walt-net up"):
        assert platform.inside("ip", *command.split()).status == 0
    process = subprocess.Popen([*platform.instance.enter, *argv])
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        platform.inside("ip", "link", "delete", CABLE)
        walt("node", "acquire", NAME, "--force", check=False)
        walt("node", "remove", NAME, "--force", check=False)


def view(walt):
    nodes = json.loads(walt("node", "show", "all-nodes", "-o", "json").stdout)
    return next((one for one in nodes if one["name"] == NAME), None)


def becomes(walt, state, limit_s=BOOT_S):
    def known():
        one = view(walt)
        return one is not None and one["state"] == state

    wait_until(known, limit_s, f"{NAME} is {state}", pause_s=0.5)


def on(walt, command, **options):
    return walt("node", "run", NAME, "--", command, **options).stdout


def keeps_persist_while_its_server_restarts(walt, platform):
    """It waits, and no write fails or is lost."""
    assert "/dev/etherd/e" in on(walt, "grep ' /persist ' /proc/mounts")
    write = "for n in $(seq 60); do echo $n; sync /persist/count || echo failed; sleep 0.1; done >/persist/count"
    on(walt, f"setsid sh -c '{write}' >/dev/null 2>&1 </dev/null &")
    wait_until(lambda: on(walt, "cat /persist/count", check=False), 10, "it is written to")
    platform.stop("persist")
    time.sleep(PERSIST_AWAY_S)
    checks = json.loads(walt("doctor", "-o", "json", check=False).stdout)
    assert [one["status"] for one in checks if one["subject"] == "disks of machines"] == ["fail"]
    assert on(walt, "echo alive").strip() == "alive"
    platform.resume("persist")
    wait_until(lambda: on(walt, "tail -n 1 /persist/count").strip() == "60", 60, "the writer ends")
    assert on(walt, "cat /persist/count").split() == [str(n) for n in range(1, 61)]
    walt("node", "reboot", NAME, "--wait", timeout=BOOT_S)
    assert on(walt, "tail -n 1 /persist/count").strip() == "60"


def test_a_machine_that_boots_is_a_node_for_whoever_acquires_it(machine, walt, platform):
    becomes(walt, "booted")
    node = view(walt)
    assert (node["owner"], node["type"], node["image"], node["mac"]) == ("", "physical", "default", MAC)
    (line,) = [line for line in walt("node", "show", "--all").stdout.splitlines() if NAME in line]
    assert all(word in line for word in ("(free)", "physical", node["ip"]))

    assert walt("node", "acquire", NAME).stderr.count("\n") == 1  # it listens: there is nothing to add
    walt("node", "reboot", NAME, "--wait", timeout=BOOT_S)
    assert walt("node", "run", NAME, "--", "hostname").stdout == f"{NAME}\n"
    keeps_persist_while_its_server_restarts(walt, platform)
    for argv, why in (
        (("console", NAME), "has no console"),
        (("reboot", NAME, "--hard"), "--hard"),
        (("start", NAME), "switch it on"),
    ):
        refused = walt("node", *argv, check=False)
        assert (refused.status, why in refused.stderr, NAME in refused.stderr) == (4, True, True)
    assert walt("node", "config", NAME, "ram=1G", check=False).status == 2
    assert walt("node", "config", NAME).stdout == "netsetup=LAN\n"

    walt("node", "boot", NAME, "full")
    becomes(walt, "booting")  # it has fetched that image's script and its kernel
    assert view(walt)["image"] == "full"
    assert "it is booting" in walt("node", "release", NAME).stderr
    assert (view(walt)["owner"], view(walt)["image"]) == ("", "default")

    kinds = [event["kind"] for event in json.loads(walt("log", "show", NAME, "-o", "json").stdout)]
    assert [kind for kind in kinds if kind != "state"] == ["register", "acquire", "reboot", "reboot", "boot", "release"]
    assert machine.poll() is None  # it was never switched off
