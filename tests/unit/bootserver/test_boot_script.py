"""The script uses only what vmrunner's interpreter knows; the seed has the owners and modes that sshd insists on."""

from __future__ import annotations

import io
import re
import tarfile
from dataclasses import replace

from services.bootserver.boot import boot_script
from services.bootserver.boot.boot_script import RootImage, SeedKeys
from services.bootserver.image_kernel.boot_files import BootFiles
from services.bootserver.site import make_site
from tests.support.specs import spec
from walt.contracts.bootserver import BootInterface, BootPlan, BootRequest

REQUEST = BootRequest(7, "vnode1", 3, "52:54:00:00:00:07", "192.168.172.10", "default")
SITE = make_site("192.168.172.0/22", 80)
KNOWN_VARIABLES = {"mac", "mac:hexhyp", "ip", "netmask", "gateway", "hostname", "name", "next-server"}
KNOWN_COMMANDS = {"echo", "set", "chain", "initrd", "kernel", "boot", "imgfree", "sleep", "sanhook"}


def test_first_address_of_walt_net_is_the_servers():
    site = make_site("192.168.172.0/22", 8080)
    assert (site.server, site.netmask, site.http_port) == ("192.168.172.1", "255.255.252.0", 8080)


FILES = BootFiles("aa11", "bb22", "cc33", "erofs", 2**20)


def test_plan():
    assert boot_script.boot_plan(REQUEST, SITE) == BootPlan(
        script_url="http://192.168.172.1/boot/7/script.ipxe",
        ip="192.168.172.10",
        netmask="255.255.252.0",
        gateway="192.168.172.1",
        server="192.168.172.1",
        persist_folder="",
    )


def test_another_port_shows_in_every_address():
    site = make_site("192.168.172.0/22", 8080)
    text = boot_script.script(REQUEST, RootImage("users/debian-1"), FILES, site)
    assert boot_script.boot_plan(REQUEST, site).script_url == "http://192.168.172.1:8080/boot/7/script.ipxe"
    assert text.count("http://${next-server}:8080/boot/") == 4


def test_script_names_kernel_and_initrd_by_content():
    lines = boot_script.script(REQUEST, RootImage("users/debian-1"), FILES, SITE).splitlines()
    assert lines[0] == "#!ipxe"
    assert {line.split()[0] for line in lines[1:]} <= KNOWN_COMMANDS
    assert set(re.findall(r"\$\{([^}]*)\}", "\n".join(lines))) <= KNOWN_VARIABLES
    assert "initrd http://${next-server}/boot/files/bb22/initrd" in lines
    (kernel,) = [line for line in lines if line.startswith("kernel ")]
    assert kernel.split()[1] == "http://${next-server}/boot/files/aa11/vmlinuz"
    for argument in (
        "console=ttyS0",
        "quiet",
        "mitigations=off",
        "no_timer_check",
        "panic=10",
        "walt.mac=52:54:00:00:00:07",
    ):
        assert argument in kernel.split()
    assert {"walt.image=debian-1", "walt.format=erofs", "walt.size=1152"} <= set(kernel.split())
    assert "walt.persist" not in kernel
    assert lines[-1] == "boot"


def test_root_is_a_disk_of_a_vm_and_in_the_memory_of_a_machine():
    root = "http://${next-server}/boot/files/cc33/root"
    assert f"sanhook {root}" in boot_script.script(REQUEST, RootImage("d"), FILES, SITE).splitlines()
    machine = replace(REQUEST, is_virtual=False)
    assert f"initrd {root} /root.erofs" in boot_script.script(machine, RootImage("d"), FILES, SITE).splitlines()


def test_a_machine_is_told_its_disk_for_persist():
    text = boot_script.script(REQUEST, RootImage("debian-1"), FILES, SITE, "e3.0")
    assert " walt.persist=e3.0\n" in text
    assert "walt.persist" not in boot_script.script(REQUEST, RootImage("debian-1"), FILES, SITE)


def test_seed():
    keys = SeedKeys("ssh-ed25519 AAAA walt\n", "PRIVATE\n", "ssh-ed25519 BBBB node\n")
    with tarfile.open(fileobj=io.BytesIO(boot_script.seed(REQUEST, keys, SITE))) as tar:
        members = {member.name: member for member in tar}
        text = {name: tar.extractfile(name).read().decode() for name in members if members[name].isfile()}
    assert {(member.uid, member.gid) for member in members.values()} == {(0, 0)}
    assert text["etc/hostname"] == "vnode1\n"
    assert "192.168.172.10 vnode1\n" in text["etc/hosts"]
    assert text["root/.ssh/authorized_keys"].splitlines()[1:-1] == keys.authorized.splitlines()
    assert text["etc/ssh/ssh_host_ed25519_key"] == keys.host_private
    assert members["etc/ssh/ssh_host_ed25519_key"].mode == 0o600
    assert members["root/.ssh"].mode == 0o700 and members["root/.ssh"].isdir()
    assert members["root/.ssh/authorized_keys"].mode == 0o600
    assert "etc/machine-id" not in members  # from a vmrunner of the version before


def test_seed_has_the_addresses_of_the_node_on_the_networks_of_its_owner():
    interfaces = (
        BootInterface(3, "home-net", ("10.64.0.1/24", "fd77::1/64")),
        BootInterface(5, "lab", ("10.1.0.9/16",)),
    )
    seed = boot_script.seed(replace(REQUEST, interfaces=interfaces), SeedKeys("a", "b", "c"), SITE)
    with tarfile.open(fileobj=io.BytesIO(seed)) as tar:
        text = {name: tar.extractfile(name).read().decode() for name in ("etc/hosts", "etc/walt/addresses")}
    assert text["etc/walt/addresses"] == "ens3 10.64.0.1/24\nens3 fd77::1/64\nens5 10.1.0.9/16\n"
    with tarfile.open(fileobj=io.BytesIO(boot_script.seed(REQUEST, SeedKeys("a", "b", "c"), SITE))) as tar:
        assert tar.getmember("etc/walt/addresses").size == 0, "no address of an earlier boot stays on a root that lasts"
    assert "10.64.0.1 vnode1.home-net\nfd77::1 vnode1.home-net\n10.1.0.9 vnode1.lab\n" in text["etc/hosts"]


def test_seed_has_the_machine_id_that_the_dmi_of_the_node_says():
    node = spec(registry="a" * 32)
    seed = boot_script.seed(BootRequest.of(node, 1), SeedKeys("a", "b", "c"), SITE)
    with tarfile.open(fileobj=io.BytesIO(seed)) as tar:
        member = tar.getmember("etc/machine-id")
        assert tar.extractfile(member).read().decode() == node.machine_uuid.hex + "\n"
    assert (member.mode, member.size) == (0o444, 33)
