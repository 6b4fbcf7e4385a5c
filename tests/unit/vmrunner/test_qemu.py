"""The command line of qemu."""

from dataclasses import replace

import pytest

from services.vmrunner.qemu import command_line
from services.vmrunner.qemu.command_line import QemuFiles
from tests.support.specs import HOME_NET, WALT_NET, spec
from walt.contracts.nodes import Disk, machine_uuid
from walt.contracts.settings import NodeConfig


def argv(node=None, files=None, **changes):
    options = {
        "command_line": "console=ttyS0 quiet",
        "pid_file": "/run/5/pid",
        "accelerator": "tcg",
    }
    files = files or QemuFiles(kernel=10, initrd=11, monitor=13, taps={2: 14, 3: 15})
    return command_line.command("qemu-x", node or spec(), files, **{**options, **changes})


def values(words, option):
    return [value for name, value in zip(words, words[1:], strict=False) if name == option]


@pytest.mark.parametrize(
    ("changes", "option", "value"),
    [
        ({"ram_bytes": 2**31}, "-m", "2048M"),
        ({"cpu_cores": 8}, "-smp", "8"),
        ({"name": "a"}, "-name", "a"),
    ],
)
def test_settings(changes, option, value):
    assert values(argv(spec(**changes)), option) == [value]


def test_nothing_but_what_is_named():
    words = argv()
    assert words[0] == "qemu-x"
    assert {"-nodefaults", "-no-user-config", "-no-reboot", "-S"} <= set(words)
    assert values(words, "-display") == ["none"] and values(words, "-vga") == ["none"]
    (sandbox,) = values(words, "-sandbox")
    assert sandbox == "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"


def test_the_line_has_no_monitor():
    words = argv()
    line, monitor = values(words, "-chardev")
    assert line == "stdio,id=line,signal=off"
    assert values(words, "-serial") == ["chardev:line"]
    assert monitor == "socket,id=qmp,fd=13,server=on,wait=off"
    assert values(words, "-mon") == ["chardev=qmp,mode=control"] and "-monitor" not in words


def test_interfaces_are_pinned_to_their_slots():
    words = argv(spec(interfaces=(WALT_NET, HOME_NET)))
    assert values(words, "-netdev") == ["tap,id=network0,fd=14,vhost=off", "tap,id=network7,fd=15,vhost=off"]
    as_on_a_wire = "guest_csum=off,guest_tso4=off,guest_tso6=off,guest_ecn=off,guest_ufo=off"
    assert [one for one in values(words, "-device") if "net" in one] == [
        f"virtio-net-pci,id=network0-slot2,netdev=network0,mac=52:54:00:00:00:01,addr=0x2,romfile=,speed=1000,duplex=full,{as_on_a_wire}",
        f"virtio-net-pci,id=network7-slot3,netdev=network7,mac=52:54:00:00:00:02,addr=0x3,romfile=,speed=1000,duplex=full,{as_on_a_wire}",
    ]


def test_boot_files():
    words = argv()
    assert values(words, "-kernel") == ["/proc/self/fd/10"]
    assert values(words, "-initrd") == ["/proc/self/fd/11"]
    assert values(words, "-append") == ["console=ttyS0 quiet"]
    assert "-initrd" not in argv(files=QemuFiles(10, None, 13, {2: 14}))


@pytest.mark.parametrize(
    ("accelerator", "accel", "cpu"), [("tcg", "tcg,thread=multi,tb-size=128", "max"), ("kvm", "kvm", "host")]
)
def test_accelerator(accelerator, accel, cpu):
    words = argv(accelerator=accelerator)
    assert (values(words, "-accel"), values(words, "-cpu")) == ([accel], [cpu])


def test_identity():
    node = spec(registry="a" * 32)
    words = argv(node)
    assert values(words, "-uuid") == [str(node.machine_uuid)]
    assert values(words, "-smbios") == [f"type=1,serial=walt-node-5,uuid={node.machine_uuid}"]


def test_identity_is_stable_and_no_other_nodes():
    node = spec(registry="a" * 32)
    later = replace(node, name="renamed", boot=9, version=12, owner="bob", host="other")
    assert later.machine_uuid == node.machine_uuid
    others = [replace(node, id=6), replace(node, registry="b" * 32), replace(node, registry="")]
    assert len({one.machine_uuid for one in (node, *others)}) == 4
    assert str(machine_uuid("", 1)) == "69e730be-742a-52bc-9338-f91b1eeb3c4b"


def test_user():
    words = command_line.as_user(64901, ["q"])
    assert words[:6] == ["setsid", "--fork", "nice", "-n", "5", "setpriv"] and words[-1] == "q"
    assert {"--reuid=64901", "--regid=64901", "--clear-groups", "--no-new-privs", "--inh-caps=-all"} < set(words)


DISKS = (Disk(11, 10**9, "none"), Disk(7, 10**12, "ext4"))


def with_disks():
    return argv(spec(disks=DISKS), QemuFiles(10, 11, 13, {2: 14}, disks=(20, 21)))


def test_disks_are_in_order_on_a_bus_of_their_own():
    words = with_disks()
    assert values(words, "-add-fd") == ["fd=20,set=1", "fd=21,set=2"]
    assert [one for one in values(words, "-device") if "blk" in one or "bridge" in one] == [
        "pci-bridge,id=disks,chassis_nr=1,shpc=off,addr=0x1e",
        "virtio-blk-pci,drive=vda,serial=walt-11,bus=disks,addr=0x1,werror=report,rerror=report",
        "virtio-blk-pci,drive=vdb,serial=walt-7,bus=disks,addr=0x2,werror=report,rerror=report",
    ]
    files = [one for one in values(words, "-blockdev") if one.startswith("driver=file")]
    assert [one.split(",")[2] for one in files] == ["filename=/dev/fdset/1", "filename=/dev/fdset/2"]
    assert all("discard=unmap" in one for one in values(words, "-blockdev"))
    assert "pci-bridge" not in " ".join(argv())


def test_the_root_is_the_last_disk_and_nobody_writes_to_it():
    words = argv(spec(disks=DISKS), QemuFiles(10, 11, 13, {2: 14}, disks=(20, 21), root=22))
    assert values(words, "-device")[-1] == "virtio-blk-pci,drive=root,serial=walt-root,bus=disks,addr=0x1f"
    assert "fd=22,set=31" in values(words, "-add-fd")
    assert all("read-only=on" in one for one in values(words, "-blockdev") if "root" in one)
    alone = argv(files=QemuFiles(10, 11, 13, {2: 14}, root=22))
    assert values(alone, "-device")[-2:] == [values(words, "-device")[-4], values(words, "-device")[-1]]


def test_persist_is_a_disk_behind_those_of_the_spec():
    words = argv(spec(disks=DISKS), QemuFiles(10, 11, 13, {2: 14}, disks=(20, 21), persist=23, root=22))
    device = values(words, "-device")[-2]
    assert device.startswith("virtio-blk-pci,drive=persist,serial=walt-persist,bus=disks,addr=0x1e,")
    assert "fd=23,set=30" in values(words, "-add-fd")
    alone = values(argv(files=QemuFiles(10, 11, 13, {2: 14}, persist=23)), "-device")
    assert [one.split(",")[0] for one in alone[-2:]] == ["pci-bridge", "virtio-blk-pci"]


def test_fault_18_interfaces_keep_their_places_whatever_disks_there_are():
    places = [[one for one in values(words, "-device") if "net" in one] for words in (argv(), with_disks())]
    assert places[0] == places[1]


def test_fault_27_a_node_of_defaults_has_a_command_line():
    config = NodeConfig()
    node = spec(cpu_cores=config.cpu_cores, ram_bytes=config.ram_bytes, boot_delay_s=config.boot_delay_s)
    words = argv(node)
    assert (values(words, "-m"), values(words, "-smp")) == (["512M"], ["4"])


@pytest.mark.parametrize("initrd", [11, None])
def test_files_have_other_numbers_in_another_process(initrd):
    here = QemuFiles(kernel=10, initrd=initrd, monitor=13, taps={2: 14, 5: 9}, disks=(31, 30), persist=50, root=40)
    there = here.numbered_from(200)
    assert there.descriptors() == tuple(range(200, 200 + len(here.descriptors())))
    number = dict(zip(here.descriptors(), there.descriptors(), strict=True))
    assert there == QemuFiles(
        kernel=number[10],
        initrd=initrd and number[initrd],
        monitor=number[13],
        taps={2: number[14], 5: number[9]},
        disks=(number[31], number[30]),
        persist=number[50],
        root=number[40],
    )


def test_a_pid_file_only_where_one_is_spec():
    assert values(argv(), "-pidfile") == ["/run/5/pid"] and "-pidfile" not in argv(pid_file=None)
