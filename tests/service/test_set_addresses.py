"""What bootserver runs in a node whose addresses change, on real interfaces of a network namespace."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.bootserver.addresses.guest_program import PROGRAM
from services.bootserver.platform_block import block

MAC, OTHER_MAC = "52:54:00:00:00:02", "52:54:00:00:00:03"
MAKE = f"""\
mount -t sysfs sys /sys && mount --bind "$1" /etc && mkdir /etc/walt
ip link add ens3 address {MAC} type veth peer name far3 && ip link set ens3 up && ip link set far3 up
ip link add ens4 address {OTHER_MAC} type veth peer name far4 && ip link set ens4 up && ip link set far4 up
ip link add br0 address {MAC} type bridge && ip link set ens3 master br0
echo made && exec cat
"""


class Guest:
    """A root with /etc, and two interfaces. shell: of the program."""

    def __init__(self, etc: Path, shell: list[str]) -> None:
        self.etc = etc
        self.list = etc / "walt/addresses"
        self.hosts = etc / "hosts"
        self._shell = shell
        argv = ["unshare", "--net", "--mount", "sh", "-ec", MAKE, "sh", str(etc)]
        self._holder = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._holder.stdout.readline() == "made\n"

    def close(self) -> None:
        self._holder.communicate()

    def run(self, *argv: str) -> str:
        enter = ["nsenter", "--target", str(self._holder.pid), "--net", "--mount"]
        return subprocess.run([*enter, *argv], check=True, stdout=subprocess.PIPE, text=True, timeout=20).stdout

    def set(self, *pairs: str, hosts: str = "") -> str:
        """pairs: 'MAC ADDRESS'"""
        words = [word for pair in pairs for word in pair.split()]
        return self.run(*self._shell, "-c", PROGRAM, "set-addresses", hosts, *words)

    def addresses(self, interface: str = "ens3") -> list[str]:
        lines = self.run("ip", "-o", "addr", "show", "dev", interface, "scope", "global").splitlines()
        return sorted(line.split()[3] for line in lines)


@pytest.fixture(params=[["sh"], ["busybox", "sh"]], ids=["dash", "busybox"])
def guest(tmp_path: Path, request) -> Iterator[Guest]:
    (tmp_path / "etc").mkdir()
    guest = Guest(tmp_path / "etc", request.param)
    yield guest
    guest.close()


def test_what_the_platform_has_set_follows_and_is_set_once(guest):
    assert guest.set(f"{MAC} 10.64.0.1/24", f"{MAC} fd77::1/64", f"{OTHER_MAC} 10.64.1.1/24") == ""
    assert (guest.addresses(), guest.addresses("ens4")) == (["10.64.0.1/24", "fd77::1/64"], ["10.64.1.1/24"])
    assert guest.addresses("br0") == []  # it has the MAC address of ens3 too
    for _ in range(2):
        assert guest.set(f"{MAC} 10.64.0.9/24", f"{MAC} fd77::1/64") == ""
        assert (guest.addresses(), guest.addresses("ens4")) == (["10.64.0.9/24", "fd77::1/64"], [])
    assert guest.list.read_text() == "ens3 10.64.0.9/24\nens3 fd77::1/64\n"
    assert guest.set() == "" and guest.addresses() == [] and guest.list.read_text() == ""


def test_what_the_user_has_typed_is_never_touched(guest):
    """The kernel removes secondary addresses of a subnet with the first."""
    guest.set(f"{MAC} 10.64.0.1/24")
    guest.run("ip", "addr", "add", "10.64.0.77/24", "dev", "ens3")
    guest.run("ip", "addr", "add", "192.168.55.2/24", "dev", "ens3")
    guest.run("ip", "route", "add", "10.9.0.0/16", "via", "10.64.0.254")
    guest.set(f"{MAC} 10.64.0.2/24")
    assert guest.addresses() == ["10.64.0.2/24", "10.64.0.77/24", "192.168.55.2/24"]
    assert "10.9.0.0/16" in guest.run("ip", "route")
    promote = Path("/proc/sys/net/ipv4/conf/ens3/promote_secondaries")
    assert guest.run("cat", str(promote)) == "0\n"
    guest.set(f"{MAC} 10.64.0.77/24")  # asked for later: it is there, and stays its user's
    assert guest.list.read_text() == ""
    guest.set()
    assert guest.addresses() == ["10.64.0.77/24", "192.168.55.2/24"]


def test_an_address_with_another_prefix_takes_the_place_of_the_former(guest):
    guest.set(f"{MAC} fd77::1/64", f"{MAC} 10.64.0.1/24")
    assert guest.set(f"{MAC} fd77::1/48", f"{MAC} 10.64.0.1/16") == ""
    assert guest.addresses() == ["10.64.0.1/16", "fd77::1/48"]


def test_what_cannot_be_set_is_said_and_the_rest_is_set(guest):
    guest.run("sysctl", "-q", "-w", "net.ipv6.conf.ens3.disable_ipv6=1")
    said = guest.set("52:54:00:00:00:99 10.64.9.1/24", f"{MAC} fd77::1/64", f"{MAC} 10.64.0.1/24").splitlines()
    assert said[0] == "walt: 52:54:00:00:00:99 10.64.9.1/24 no interface has the MAC address 52:54:00:00:00:99"
    assert said[1].startswith(f"walt: {MAC} fd77::1/64 ens3 cannot have it: ") and len(said) == 2
    assert guest.addresses() == ["10.64.0.1/24"]


def test_the_block_in_hosts_is_replaced_and_lines_of_the_user_stay(guest):
    old = block("127.0.0.1 localhost\n")
    guest.hosts.write_text(f"1.1.1.1 first\n# walt: begin\n2.2.2.2 mine\n{old}9.9.9.9 last")
    guest.hosts.chmod(0o640)
    guest.set(hosts=block("10.64.0.1 vnode1.home-net\n").rstrip("\n"))
    new = block("10.64.0.1 vnode1.home-net\n")
    assert guest.hosts.read_text() == f"1.1.1.1 first\n2.2.2.2 mine\n{new}9.9.9.9 last\n"
    assert guest.hosts.stat().st_mode & 0o777 == 0o640
    guest.hosts.write_text("1.1.1.1 first\n")
    guest.set(hosts="x")
    assert guest.hosts.read_text() == "1.1.1.1 first\n"
    guest.hosts.unlink()
    guest.hosts.symlink_to("elsewhere")
    guest.set(hosts="x")
    assert guest.hosts.is_symlink()


def test_a_new_interface_is_named_after_its_slot_and_up(guest):
    mac = "52:54:00:00:00:05"
    late = f"sleep 1; ip link add eth0 address {mac} type veth peer name far5; ip link set far5 up"
    guest.run("sh", "-c", f"({late}) >/dev/null 2>&1 &")
    assert guest.set(f"{mac} +ens5", f"{mac} 10.64.5.1/24", f"{MAC} 10.64.0.1/24") == ""
    assert (guest.addresses("ens5"), guest.addresses()) == (["10.64.5.1/24"], ["10.64.0.1/24"])
    assert "state UP" in guest.run("ip", "link", "show", "ens5")


def test_a_new_interface_that_has_a_name_of_its_own_keeps_it(guest):
    guest.run("ip", "link", "set", "ens4", "down")
    guest.run("ip", "link", "set", "ens4", "name", "mine")
    assert guest.set(f"{OTHER_MAC} +ens4") == ""
    assert "state UP" in guest.run("ip", "link", "show", "mine")


def test_a_new_interface_that_does_not_come_is_said_and_the_rest_is_set(guest):
    missing = "52:54:00:00:00:09"
    said = guest.set(f"{missing} +ens9", f"{missing} 10.64.9.1/24", f"{MAC} 10.64.0.1/24").splitlines()
    no = f"no interface has the MAC address {missing}"
    assert said == [f"walt: {missing} +ens9 {no}", f"walt: {missing} 10.64.9.1/24 {no}"]
    assert guest.addresses() == ["10.64.0.1/24"]
