"""console with the real programs at its edge: OpenSSH's sshd on loopback, and a line that qemu itself drives."""

import contextlib
import os
import shutil
import socket
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from tests.service.console.world import SERVICE, VM_UID
from tests.support.wait import wait_until
from walt.contracts import console
from walt.contracts.bootserver import NodeAccess
from walt.contracts.errors import EXIT_SESSION_LOST, Failed

SSHD = "/usr/sbin/sshd"
QEMU = "qemu-system-x86_64"

# Prints 0000, 0001, … on the serial port for ever, and <X> for each byte X that it gets. 16-bit x86:
BOOT_SECTOR = bytes.fromhex(
    "31db"  # start: xor bx,bx
    "fa"  # cli
    "b90400"  # next: mov cx,4
    "c1c304"  # hex: rol bx,4
    "88d8240f3c0a720204070430"  # al = hex digit of bl
    "e82200"  # call put
    "e2ec"  # loop hex
    "b00ae81b00"  # newline
    "43"  # inc bx
    "bafd03eca80174db"  # nothing received: jz next
    "baf803ec88c4"  # in al,dx; mov ah,al
    "b03ce80700"  # put '<'
    "88e0e80200"  # put it
    "ebc9"  # jmp next
    "50bafd03eca82074fb"  # put: push ax; wait until the transmitter is empty
    "baf80358eec3"  # mov dx,3f8; pop ax; out dx,al; ret
)


@pytest.fixture
def sshd(folder, bootserver, monkeypatch, require):
    """sshd on a port of its own with keys of its own; ssh is told the port by a wrapper."""
    require("sshd", Path(SSHD).exists(), "openssh-server is not installed")
    for name in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], check=True)
    os.chmod(folder, 0o755)  # sshd wants the way to authorized_keys writable by root only
    with contextlib.closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = {
        "ListenAddress": f"127.0.0.1:{port}",
        "HostKey": folder / "host",
        "AuthorizedKeysFile": folder / "user.pub",
        "PidFile": "none",
        "UsePAM": "no",
        "StrictModes": "no",
        "PermitRootLogin": "prohibit-password",
    }
    Path("/run/sshd").mkdir(exist_ok=True)
    argv = [SSHD, "-D", "-e", "-f", "/dev/null", *(f"-o{name}={value}" for name, value in options.items())]
    with (folder / "sshd.log").open("w") as log:
        daemon = subprocess.Popen(argv, stderr=log)
    (folder / "ssh").write_text(f'#!/bin/sh\nexec ssh -p {port} "$@"\n')
    os.chmod(folder / "ssh", 0o755)
    host_key = " ".join((folder / "host.pub").read_text().split()[:2])
    access = NodeAccess("127.0.0.1", "root", (folder / "user").read_text(), host_key)
    monkeypatch.setattr(bootserver, "access", access)

    def is_open():
        with contextlib.suppress(OSError), contextlib.closing(socket.create_connection(("127.0.0.1", port), 1)):
            return True
        return False

    wait_until(is_open)
    yield
    daemon.terminate()
    daemon.wait()
    for name in ("host", "host.pub", "user", "user.pub"):
        (folder / name).unlink()


def test_command_over_real_ssh(service, sshd, user):
    one = user()
    one.open("open_shell", node="vnode1", command=["cat; echo problem >&2; exit 9"])
    one.send(console.DATA, b"through ssh\n")
    one.send(console.END_OF_INPUT)
    assert one.wait_for_exit() == 9
    assert (one.data("out"), one.data("err")) == (b"through ssh\n", b"problem\n")
    assert one.notices() == []


def test_command_of_a_service_over_real_ssh(service, services, sshd):
    end = services.call(f"{SERVICE}.run_command", 1, ["echo out; echo err >&2; exit 3"], 10)
    assert (end["status"], sorted(end["output"].split())) == (3, ["err", "out"])
    with pytest.raises(Failed, match=r"'sleep 60' on 127\.0\.0\.1: no end within 1 s"):
        services.call(f"{SERVICE}.run_command", 1, ["sleep 60"], 1)


def test_shell_over_real_ssh_has_the_users_terminal(service, sshd, user):
    one = user()
    one.open("open_shell", node="vnode1", terminal={"term": "vt220", "rows": 33, "columns": 99})
    one.send(console.DATA, b"stty size; echo kind=$TERM\n")
    one.wait(lambda: b"33 99\r\n" in one.data() and b"kind=vt220\r\n" in one.data())
    one.send(console.RESIZE, b"44 111")
    one.send(console.DATA, b"until stty size | grep '44 111'; do sleep 0.1; done; exit 4\n")
    assert one.wait_for_exit() == 4
    assert b"44 111\r\n" in one.data()


def test_node_with_another_host_key_is_not_trusted(service, sshd, user, bootserver, monkeypatch, folder):
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / "other")], check=True)
    other = " ".join((folder / "other.pub").read_text().split()[:2])
    monkeypatch.setattr(bootserver, "access", replace(bootserver.access, host_key=other))
    one = user()
    one.open("open_shell", node="vnode1", command=["true"])
    assert one.wait_for_exit() == EXIT_SESSION_LOST
    assert "Host key verification failed" in one.notices()[0]


def qemu(line):
    disk = Path(line["log"]).parent.parent.parent / "counter.img"
    disk.write_bytes(BOOT_SECTOR.ljust(510, b"\0") + b"\x55\xaa")
    disk.chmod(0o644)
    # fmt: off
    argv = [
        "setpriv", f"--reuid={VM_UID}", f"--regid={VM_UID}", "--clear-groups",
        QEMU, "-nodefaults", "-no-user-config", "-display", "none", "-accel", "tcg", "-m", "16",
        "-drive", f"file={disk},format=raw,if=ide,snapshot=on",
        "-chardev", "stdio,id=line,signal=off",
        "-serial", "chardev:line",
    ]
    # fmt: on
    with open(line["log"], "ab") as output, open(os.open(line["input"], os.O_RDWR), "rb", buffering=0) as input_:
        return subprocess.Popen(argv, stdin=input_, stdout=output)


def test_real_qemu_over_a_restart_of_console(service, prepare_line, user, require):
    require("qemu", shutil.which(QEMU) is not None, f"{QEMU} is not installed")
    line = prepare_line()
    vm = qemu(line)
    try:
        one = user()
        one.open("open_line", node="vnode1")
        one.wait(lambda: one.data().count(b"\n") > 50, 20)
        service.end(9)
        printed = os.path.getsize(line["log"])
        wait_until(lambda: os.path.getsize(line["log"]) > printed + 1000)
        service.start()
        service.wait_until_ready()
        one.open("open_line", node="vnode1", offset=one.offset())
        seen = one.data().count(b"\n")
        one.wait(lambda: one.data().count(b"\n") > seen + 500, 20)
        numbers = one.data().split(b"\n")[:-1]
        assert numbers == [b"%04X" % (number % 65536) for number in range(len(numbers))]
        one.wait(lambda: one.send(console.DATA, b"K") or b"<K" in one.data())
        with open(line["log"], "rb") as log:
            assert log.read(one.offset()) == one.data()
    finally:
        vm.kill()
        vm.wait()
