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


@pytest.fixture(scope="module")
def debian(walt):
    """Two at once, as in the demo: nodes that boot together must not disturb each other."""
    settings = ("-c", "boot.delay=0", "-c", "networks=walt-net,side-net", "-c", "cpu.cores=2")
    walt("node", "create", "debian", "twin", "--image", "full", *settings, "--wait", timeout=400)
    walt("node", "remove", "twin")
    yield "debian"
    walt("node", "remove", "debian")


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
    wait_until(lambda: run(walt, "systemctl", "is-system-running", check=False).strip() != "starting", 60, "started", 2)
    assert run(walt, "systemctl", "--failed", "--no-legend") == ""


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
