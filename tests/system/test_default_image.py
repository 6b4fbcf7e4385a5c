"""The default image for users, Debian with systemd, and in it the kernel back-end of the links."""

import io
import json
import shlex
import subprocess
import sys
import sysconfig
import tarfile
from pathlib import Path

import pytest

from tests.support.wait import wait_until
from tests.system.platform import CHECKOUT, WALT

# In an emulated machine each check takes seconds; the others are the same code, run on the host's back-end.
KERNEL_CHECKS = (
    "delay rate_up live_decrease isolation cleanup loss duplicate reorder corrupt limit jitter_keeps_the_order measured"
)

# Enabled by the preset, but not by their packages; masked by their packages.
DEBIANS_OWN = {
    "nftables.service",
    "ifupdown-wait-online.service",
    "systemd-network-generator.service",
    "systemd-networkd-wait-online@.service",
    "systemd-networkd.service",
    "systemd-networkd.socket",
    "systemd-sysext.service",
    "ssh.socket",
    "reboot.target",
    "remote-cryptsetup.target",
    "remote-veritysetup.target",
    "cryptdisks-early.service",
    "cryptdisks.service",
    "hwclock.service",
    "rc.service",
    "rcS.service",
    "x11-common.service",
}


@pytest.fixture(scope="module")
def debian(walt):
    """Two at once, as in the demo: nodes that boot together must not disturb each other."""
    settings = ("-c", "boot.delay=0", "-c", "networks=walt-net,side-net", "-c", "cpu.cores=2")
    disk = ("-c", "disks=300M[template=ext4]")
    walt("node", "create", "debian", "twin", "--image", "full", *settings, *disk, "--wait", timeout=400)
    walt("node", "remove", "twin", "--force")
    yield "debian"
    walt("node", "remove", "debian", "--force")


def run(walt, *words, **options):
    return walt("node", "run", "debian", "--", *words, **options).stdout


def test_is_a_real_debian(debian, walt):
    assert "VERSION_CODENAME=bookworm" in run(walt, "cat", "/etc/os-release")
    assert run(walt, "cat", "/proc/1/comm").strip() == "systemd"
    assert run(walt, "hostname").strip() == "debian"


def test_interfaces_have_the_names_of_the_blog(debian, walt):
    links = run(walt, "ip", "-o", "link")
    assert ": ens2:" in links
    assert ": ens3:" in links


def test_tools_of_the_experiment(debian, walt):
    run(walt, "python3", "-c", "pass")
    run(walt, "ping", "-c", "1", "127.0.0.1")


def test_root_is_logged_in_on_the_serial_console(debian, walt):
    wait_until(lambda: "root@debian" in walt("node", "console", "debian", "--log").stdout, 60, "root's prompt", 2)


def test_no_unit_failed(debian, walt):
    assert run(walt, "systemctl", "is-system-running", "--wait", check=False, timeout=180).strip() == "running"
    assert run(walt, "systemctl", "--failed", "--no-legend") == ""
    assert run(walt, "systemctl", "get-default").strip() == "graphical.target"
    assert run(walt, "systemctl", "is-active", "graphical.target").strip() == "active"


def test_units_are_those_of_debian_but_for_a_short_list(debian, walt):
    """docs/images.md names them."""
    listed = run(
        walt, "systemctl list-unit-files --no-legend --state=masked,disabled | awk '$3 == \"enabled\" {print $1}'"
    )
    assert set(listed.split()) - DEBIANS_OWN == {"systemd-repart.service", "e2scrub_reap.service", "bird.service"}
    assert run(walt, "find /etc/systemd -lname /dev/null").split() == ["/etc/systemd/system/systemd-repart.service"]


def test_fault_b13_the_locale_is_utf_8(debian, walt):
    assert run(walt, "locale charmap").strip() == "UTF-8"


def test_fault_b1_a_disk_is_mounted_by_its_label(debian, walt):
    line = "LABEL=walt-ext4 /data ext4 defaults 0 2"
    run(walt, f"echo '{line}' >> /etc/fstab && systemctl daemon-reload && systemctl start local-fs.target", timeout=120)
    assert run(walt, "findmnt -n -o SOURCE /data").strip() == "/dev/vda1"


def test_fault_b15_networkd_and_ifupdown_set_addresses(debian, walt):
    network = "[Match]\nName=ens3\n[Network]\nAddress=10.77.0.1/24\n"
    run(
        walt, f"printf '{network}' > /etc/systemd/network/ens3.network && systemctl start systemd-networkd", timeout=120
    )
    wait_until(lambda: "10.77.0.1/24" in run(walt, "ip -o address show ens3"), 60, "networkd's address", 2)
    run(walt, "rm /etc/systemd/network/ens3.network && systemctl stop systemd-networkd.socket systemd-networkd")
    run(walt, "printf 'iface ens3 inet static\n  address 10.78.0.1/24\n' > /etc/network/interfaces.d/ens3 && ifup ens3")
    assert "10.78.0.1/24" in run(walt, "ip -o address show ens3")


def test_fault_b15_modules_of_the_list_are_loaded(debian, walt):
    run(walt, "echo dummy >> /etc/modules && systemctl restart systemd-modules-load && test -d /sys/module/dummy")


RAW_RECEIVER = """
import socket, struct, sys
packets = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x800))
packets.bind(("ens2", 0))
packets.settimeout(60)
def total(data):
    words = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while words >> 16:
        words = (words & 0xffff) + (words >> 16)
    return words
print("ready", flush=True)
seen = []
while len(seen) < 5:
    frame = packets.recv(70000)[14:]
    if frame[9] == 17 and frame[22:24] == (5555).to_bytes(2):
        datagram = frame[20:20 + int.from_bytes(frame[24:26])]
        seen.append(total(frame[12:20] + struct.pack("!BBH", 0, 17, len(datagram)) + datagram) == 0xffff)
print(seen)
"""


def test_fault_b38_checksums_on_a_plain_link_are_complete(debian, walt, platform):
    """Those of the host's own kernel, which leaves them to the hardware where there is any."""
    (node,) = json.loads(walt("node", "show", debian, "-o", "json").stdout)
    receiver = platform.start("node", "run", debian, "--", f"python3 -c {shlex.quote(RAW_RECEIVER)}")
    assert receiver.stdout.readline() == b"ready\n"
    send = "import socket\nfor one in range(5): socket.socket(2, 2).sendto(bytes([one] * 300), ('%s', 5555))"
    platform.inside(sys.executable, "-c", send % node["ip"])
    assert receiver.communicate(timeout=60)[0] == b"[True, True, True, True, True]\n"


def test_fault_b10_every_user_may_ping(debian, walt):
    run(walt, "su", "nobody", "-s", "/bin/sh", "-c", "'ping -c 1 127.0.0.1'")


def test_fault_b16_static_device_nodes_are_there_and_load_their_modules(debian, walt):
    run(walt, "test -c /dev/net/tun && test -c /dev/fuse && test -c /dev/loop-control")
    assert run(walt, "stat", "-c", "%a", "/dev/net/tun", "/dev/fuse").split() == ["666", "666"]
    run(walt, "ip tuntap add tap9 mode tap && ip tuntap del tap9 mode tap")
    run(walt, "losetup", "--find")


def test_fault_b17_an_account_with_a_key_can_log_in(debian, walt):
    """Without a password, which means that it is locked for sshd without PAM."""
    run(
        walt,
        "useradd -m -s /bin/bash alice && install -d -o alice -m 700 ~alice/.ssh"
        " && ssh-keygen -q -t ed25519 -N '' -f /root/key && install -o alice /root/key.pub ~alice/.ssh/authorized_keys",
    )
    login = "ssh -i /root/key -o StrictHostKeyChecking=no -o BatchMode=yes alice@localhost id -un"
    assert run(walt, login).strip() == "alice"


def test_links_by_the_guests_kernel(debian, walt, platform, require):
    """The same behaviour suite as on the host, here on netem: this host's kernel may not have it, Debian's has."""
    archive = _suite()
    unpack = subprocess.run(
        [WALT, "node", "run", "debian", "--", "mkdir -p /suite && tar -x -C /suite"],
        input=archive,
        env=platform.environment("alice"),
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert unpack.returncode == 0, unpack.stderr
    done = walt(
        "node",
        "run",
        "debian",
        "--",
        f"cd /suite && python3 -m tests.links.suite kernel {KERNEL_CHECKS}",
        check=False,
        timeout=300,
    )
    assert done.status == 0, done.stdout + done.stderr
    assert done.stdout.count("ok ") == len(KERNEL_CHECKS.split()), done.stdout


def _suite() -> bytes:
    """A tar with what the suite imports: the sources, and pyroute2 from this environment."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for folder in ("services", "tests", "walt"):
            tar.add(CHECKOUT / folder, folder, filter=_sources_only)
        tar.add(Path(sysconfig.get_path("purelib")) / "pyroute2", "pyroute2", filter=_sources_only)
    return buffer.getvalue()


def _sources_only(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    wanted = member.isdir() or member.name.endswith(".py")
    return member if wanted and "__pycache__" not in member.name else None


def test_fault_b1_ssh_stays_when_a_disk_of_fstab_is_missing(debian, walt):
    """The last one: the node is in emergency mode afterwards."""
    line = "LABEL=missing /missing ext4 x-systemd.device-timeout=2s 0 2"
    run(walt, f"echo '{line}' >> /etc/fstab && systemctl daemon-reload")
    run(walt, "systemctl stop local-fs.target; systemctl start --no-block default.target local-fs.target", check=False)
    emergency = ("systemctl", "is-active", "emergency.target")
    wait_until(lambda: run(walt, *emergency, check=False).strip() == "active", 90, "emergency mode", 2)
    assert run(walt, "systemctl", "is-system-running", check=False).strip() == "maintenance"
