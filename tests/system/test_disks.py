"""Disks and /persist of a node: what is written is found again, or is gone, as it should be; nothing is lost
silently."""

import json
import subprocess
from pathlib import Path

import pytest

from tests.support.wait import wait_until

HYBRID = "300M[template=hybrid-boot-p]"
DISKS = f"disks={HYBRID},64M[template=ext4],32M"
GROWN = f"disks={HYBRID},16M,128M[template=ext4],32M"
PLACES = {  # where something is written, and the command that reads it again when the disks are GROWN
    "the root of the hybrid disk": ("echo root > /root/kept", "cat /root/kept", "root"),
    "/persist": ("echo persist > /persist/kept", "cat /persist/kept", "persist"),
    "the file system of a template": (
        "mount -t ext4 /dev/vdb1 /mnt && echo data > /mnt/kept && umount /mnt",
        "mount -t ext4 -o ro /dev/vdc1 /mnt; cat /mnt/kept; umount /mnt",
        "data",
    ),
    "a bare disk": ("echo bare > /dev/vdc", "head -c 4 /dev/vdd", "bare"),
}


def on(walt, command, user="alice", check=True):
    return walt("node", "run", "keeper", "--", command, user=user, check=check, timeout=240)


def config(walt, *settings, check=True, user="alice"):
    return walt("node", "config", "keeper", *settings, check=check, user=user)


def disks(walt):
    return "disks=" + json.loads(walt("node", "config", "keeper", "-o", "json").stdout)["keeper"]["disks"]


@pytest.fixture(scope="module", autouse=True)
def keeper(walt):
    settings = ("boot.delay=0", "cpu.cores=1", "ram=256M", DISKS)
    walt("node", "create", "keeper", *(word for one in settings for word in ("-c", one)), "--wait", timeout=240)
    yield
    for user in ("alice", "bob"):
        walt("node", "remove", "keeper", "--force", user=user, check=False)


def test_hybrid_boot_tells_its_copying_on_the_console(walt):
    printed = walt("node", "console", "keeper", "--log").stdout
    assert "%" in printed.partition("walt-init")[2]
    assert "hybrid boot (persistent)" in printed


@pytest.fixture(scope="module")
def written(walt):
    on(walt, " && ".join(write for write, _, _ in PLACES.values()))


@pytest.mark.parametrize(
    "less", [f"disks={HYBRID},64M[template=ext4]", f"disks={HYBRID},32M[template=ext4],32M", "disks=none"]
)
def test_what_would_destroy_data_is_refused(written, walt, less):
    refused = config(walt, "ram=300M", less, check=False)
    assert refused.status == 4
    assert "--force" in refused.stderr
    assert "vd" in refused.stderr
    assert disks(walt) == DISKS


def test_remove_and_release_ask_for_force(written, walt, terminal):
    for command in ("remove", "release"):
        refused = walt("node", command, "keeper", check=False)
        assert refused.status == 4
        assert "--force" in refused.stderr
    asked = terminal("node", "remove", "keeper")
    asked.wait_for(b"[y/N]")
    asked.type(b"n\r")
    assert asked.process.wait(10) != 0
    assert disks(walt) == DISKS


@pytest.fixture(scope="module")
def rebooted(written, walt):
    """With its disks grown, and one more among them."""
    config(walt, GROWN)
    walt("node", "reboot", "keeper", "--wait", timeout=240)


def test_a_reboot_keeps_what_was_written(rebooted, walt):
    found = {place: on(walt, read).stdout.strip() for place, (_, read, _) in PLACES.items()}
    assert found == {place: text for place, (_, _, text) in PLACES.items()}


def test_fault_10_disks_grow_and_are_inserted_without_loss(rebooted, walt):
    """And none of it lost: the test above."""
    assert on(walt, "cat /sys/block/vdc/size").stdout.strip() == str(128_000_000 // 512)
    assert on(walt, "tr -d '\\0' < /dev/vdb | wc -c").stdout.strip() == "0"


def test_users_of_the_host_read_none_of_it(rebooted, platform):
    """Nor anything else that is secret: of what can be read, all is addresses, public keys, and what nodes boot."""
    state = platform.instance.state
    nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    argv = [*nobody, "find", str(state), "-type", "f", "-readable"]
    found = subprocess.run(argv, capture_output=True, text=True, check=False).stdout.split()
    readable = {Path(one).relative_to(state) for one in found}
    assert {one.parts[0] for one in readable} == {"bootserver", "dns", "instance.json", "public-methods"}
    assert {one.suffix for one in readable if one.parts[1:2] == ("keys",)} == {".pub"}
    assert not [one for one in readable if one.parts[1:2] in (("persist",), ("transfers",))]


def test_fault_11_the_next_owner_reads_nothing_of_the_former_one(rebooted, walt):
    walt("node", "release", "keeper", "--force")
    walt("node", "acquire", "keeper", user="bob")
    walt("node", "wait", "keeper", user="bob", timeout=240)
    assert on(walt, "tr -d '\\0' < /dev/vdd | wc -c", user="bob").stdout.strip() == "0"
    assert on(walt, "ls -A /root/kept /persist", user="bob", check=False).stdout.split() == ["/persist:", "lost+found"]
    assert "kept" not in on(walt, "mount -t ext4 /dev/vdc1 /mnt && ls /mnt && umount /mnt", user="bob").stdout
    on(walt, "echo mine > /persist/of-bob", user="bob")


def test_removed_with_force_nothing_is_left(walt, platform):
    walt("node", "remove", "keeper", "--force", user="bob")
    left = platform.instance.state
    wait_until(lambda: not list(left.glob("vmrunner/*/disks/*")), 30, "its disks are gone")
    wait_until(lambda: not list(left.rglob("of-bob")), 30, "what its owners kept is gone")


def test_an_administrator_gives_back_what_was_removed(walt):
    """The disk to another node of its owner, at its next boot; /persist too."""
    settings = ("-c", "boot.delay=0", "-c", "cpu.cores=1", "-c", "ram=128M")
    walt("node", "create", "lost", *settings, "-c", "disks=16M", "--wait", timeout=240)
    write = "echo kept > /dev/vda && echo notes > /persist/notes && sync"
    walt("node", "run", "lost", "--", write, timeout=240)
    walt("node", "remove", "lost", "--force")
    wait_until(lambda: len(in_trash(walt, "lost")) == 2)
    assert {one["owner"] for one in in_trash(walt, "lost")} == {"alice"}
    assert walt("trash", "show", check=False).status == 5
    walt("node", "create", "found", *settings, "--wait", timeout=240)
    for one in in_trash(walt, "lost"):
        walt("trash", "restore", one["id"], "found", user="root")
    walt("node", "reboot", "found", "--wait", timeout=240)
    read = walt("node", "run", "found", "--", "head -c 4 /dev/vda; cat /persist/notes", timeout=240).stdout
    walt("node", "remove", "found", "--force")
    assert read == "keptnotes\n" and in_trash(walt, "lost") == []


def in_trash(walt, node):
    rows = json.loads(walt("trash", "show", "-o", "json", user="root").stdout)
    return [row for row in rows if row["node"] == node]
