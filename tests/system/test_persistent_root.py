"""A root that lasts (hybrid-boot-p) is that of an ordinary Debian: lines of its user in /etc stay, through a reboot, a
power-off and the saving as an image."""

from __future__ import annotations

import pytest

from tests.support.wait import wait_until

LIMIT_S = 400
FSTAB = """\
LABEL=walt-ext4 /data ext4 defaults,noatime 0 2
/data /also none bind,x-systemd.requires-mounts-for=/data 0 0
scratch /scratch tmpfs size=1M,mode=0700 0 0
LABEL=missing /missing ext4 nofail,x-systemd.device-timeout=1s 0 2
"""


@pytest.fixture(scope="module")
def lasting(walt):
    disks = "disks=1G[template=hybrid-boot-p],64M[template=ext4]"
    settings = ("-c", "boot.delay=0", "-c", "cpu.cores=2", "-c", disks)
    walt("node", "create", "lasting", "--image", "full", *settings, "--wait", timeout=LIMIT_S)
    run(
        walt,
        "ssh-keygen -q -t ed25519 -N '' -C own.pub -f /root/own && cat /root/own.pub >> .ssh/authorized_keys"
        " && echo 10.9.9.9 mine >> /etc/hosts && sed -i '1i options rotate' /etc/resolv.conf"
        f" && printf '{FSTAB}' >> /etc/fstab && mkdir /data /also /scratch /missing",
    )
    yield "lasting"
    for node in ("lasting", "heir"):
        walt("node", "remove", node, "--force", check=False)
    walt("image", "remove", "heritage", "--force", check=False)


def run(walt, command, node="lasting"):
    return walt("node", "run", node, "--", command, timeout=LIMIT_S).stdout


# One session for all of it: each takes seconds on an emulated processor.
LINES = """\
grep -c '10.9.9.9 mine' /etc/hosts
grep -c 'options rotate' /etc/resolv.conf
grep -c own.pub .ssh/authorized_keys
getent hosts mine $(hostname) server | wc -l
cat /etc/hosts /etc/resolv.conf .ssh/authorized_keys | grep -c '^# walt'
ssh -i /root/own -o StrictHostKeyChecking=no -o BatchMode=yes root@localhost echo in
"""
MOUNTS = "cat /data/kept; for one in /data /also /scratch; do findmnt -n -o SOURCE $one; done"


def check_lines(walt, node="lasting"):
    """Each line of the user once, beside the platform's of this node."""
    assert run(walt, LINES, node).split() == ["1", "1", "1", "3", "6", "in"]


def check_mounts(walt):
    wait_until(lambda: run(walt, "systemctl is-active local-fs.target || true").strip() == "active", 90, "fstab", 2)
    assert run(walt, MOUNTS).split() == ["kept", "/dev/vdb1", "/dev/vdb1", "scratch"]


def test_lines_and_file_systems_of_its_user_are_there_after_a_reboot(lasting, walt):
    run(walt, "systemctl daemon-reload && systemctl start local-fs.target && echo kept > /also/kept")
    walt("node", "reboot", "lasting", "--wait", timeout=LIMIT_S)
    check_mounts(walt)
    check_lines(walt)


def test_and_after_a_power_off_from_inside(lasting, walt):
    walt("node", "run", "lasting", "--", "poweroff", timeout=LIMIT_S, check=False)
    walt("node", "wait", "lasting", "--for", "stopped", timeout=120)
    walt("node", "start", "lasting", "--wait", timeout=LIMIT_S)
    check_mounts(walt)
    check_lines(walt)


def test_fault_b6_an_image_has_the_lines_of_the_user_and_not_the_platforms(lasting, walt):
    run(walt, "sed -i /walt-ext4/d /etc/fstab; sed -i /bind/d /etc/fstab")
    walt("node", "save", "lasting", "heritage", timeout=LIMIT_S)
    walt("node", "create", "heir", "--image", "heritage", "-c", "boot.delay=0", "--wait", timeout=LIMIT_S)
    check_lines(walt, "heir")
    assert run(walt, "grep -c lasting /etc/hosts; grep -c ^scratch /etc/fstab", "heir").split() == ["0", "1"]
