"""The command line of qemu."""

import pytest

from services.vmrunner import qemu
from services.vmrunner.qemu import Files
from tests.unit.vmrunner.sample import HOME_NET, WALT_NET, wanted


def argv(node=None, files=None, **changes):
    options = {
        "command_line": "console=ttyS0 quiet",
        "pid_file": "/run/5/pid",
        "accelerator": "tcg",
    }
    files = files or Files(kernel=10, initrd=11, monitor=13, taps={2: 14, 3: 15})
    return qemu.command("qemu-x", node or wanted(), files, **{**options, **changes})


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
    assert values(argv(wanted(**changes)), option) == [value]


def test_nothing_but_what_is_named():
    words = argv()
    assert words[0] == "qemu-x"
    assert {"-nodefaults", "-no-user-config", "-no-reboot"} <= set(words)
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
    words = argv(wanted(interfaces=(WALT_NET, HOME_NET)))
    assert values(words, "-netdev") == ["tap,id=net2,fd=14,vhost=off", "tap,id=net3,fd=15,vhost=off"]
    assert [one for one in values(words, "-device") if "net" in one] == [
        "virtio-net-pci,netdev=net2,mac=52:54:00:00:00:01,addr=0x2,romfile=",
        "virtio-net-pci,netdev=net3,mac=52:54:00:00:00:02,addr=0x3,romfile=",
    ]


def test_boot_files():
    words = argv()
    assert values(words, "-kernel") == ["/proc/self/fd/10"]
    assert values(words, "-initrd") == ["/proc/self/fd/11"]
    assert values(words, "-append") == ["console=ttyS0 quiet"]
    assert "-initrd" not in argv(files=Files(10, None, 13, {2: 14}))


@pytest.mark.parametrize(
    ("accelerator", "accel", "cpu"), [("tcg", "tcg,thread=multi,tb-size=128", "max"), ("kvm", "kvm", "host")]
)
def test_accelerator(accelerator, accel, cpu):
    words = argv(accelerator=accelerator)
    assert (values(words, "-accel"), values(words, "-cpu")) == ([accel], [cpu])


def test_user():
    assert qemu.as_user(0, ["q"]) == ["setsid", "--fork", "q"]
    words = qemu.as_user(64901, ["q"])
    assert words[:3] == ["setsid", "--fork", "setpriv"] and words[-1] == "q"
    assert {"--reuid=64901", "--regid=64901", "--clear-groups", "--no-new-privs", "--inh-caps=-all"} < set(words)
