"""Serial lines: what is printed reaches every viewer, what is typed reaches the VM, over any restart."""

import contextlib
import os
import random
import signal
import socket
import subprocess
import sys

import pytest

from services.kit import tasks
from tests.service.console.world import VM_UID
from tests.support.wait import wait_until
from walt.contracts import console
from walt.contracts.errors import Failed, InvalidRequest, NotFound


def test_several_viewers_see_the_same_from_power_on(power_on, user, folder):
    power_on().print(b"first boot\n")
    wait_until(lambda: (folder / "lines/1/line.log").read_bytes() == b"first boot\n")
    vm = power_on()
    vm.print(b"second boot\n")
    early, late = user(), user()
    assert early.open("open_line", node="vnode1")["offset"] == len(b"first boot\n")
    early.wait(lambda: early.data() == b"second boot\n")
    late.open("open_line", node="vnode1", read_only=True)
    vm.print(b"login: ")
    for one in (early, late):
        one.wait(lambda one=one: one.data() == b"second boot\nlogin: ")
        assert one.offset() == len(b"first boot\nsecond boot\nlogin: ")


def test_offset_and_no_follow(power_on, user, folder):
    power_on().print(b"0123456789")
    wait_until(lambda: (folder / "lines/1/line.log").read_bytes() == b"0123456789")
    viewer = user()
    opened = viewer.open("open_line", node="vnode1", offset=4, follow=False)
    assert (opened["offset"], opened["live_from"]) == (4, 10)
    assert viewer.wait_for_exit() == 0
    assert viewer.data() == b"456789"
    with pytest.raises(InvalidRequest, match="offset 11 is not in the line; allowed: 0 to 10"):
        user().open("open_line", node="vnode1", offset=11)


def test_line_whose_power_on_cannot_be_recorded(prepare_line, folder):
    prepare_line()
    info = folder / "lines" / "1" / "line.json"
    info.unlink()
    info.mkdir()
    with pytest.raises(Failed, match=r"console line in .*/1 cannot be written: Is a directory"):
        prepare_line()


def test_keystrokes_arrive_in_order_and_whole(power_on, user):
    """Every byte value, and what a multiplexed monitor of qemu would take for itself."""
    vm, viewer = power_on(), user()
    viewer.open("open_line", node="vnode1")
    rng = random.Random(1)
    pieces = [b"\x01c", b"\x01x", b"\x1b[A", *(rng.randbytes(rng.randint(1, 300)) for _ in range(300))]
    for piece in pieces:
        viewer.send(console.DATA, piece)
    wait_until(lambda: len(vm.input) >= sum(map(len, pieces)))
    assert vm.input == b"".join(pieces)


def test_input_of_a_read_only_viewer_is_refused_once(power_on, user):
    vm, viewer = power_on(), user()
    viewer.open("open_line", node="vnode1", read_only=True)
    viewer.send(console.DATA, b"reboot\n")
    viewer.send(console.DATA, b"reboot\n")
    viewer.send_until_acknowledged()
    assert len(viewer.notices()) == 1 and "read-only" in viewer.notices()[0]
    assert vm.input == b""


def test_input_without_a_vm_is_dropped_with_a_notice(prepare_line, power_on, user):
    prepare_line()
    viewer = user()
    viewer.open("open_line", node="vnode1")
    viewer.send(console.DATA, b"lost\n")
    viewer.wait(viewer.notices)
    assert viewer.notices() == ["no VM of vnode1 takes input now: it was dropped"]
    vm = power_on()
    wait_until(lambda: viewer.send(console.DATA, b"kept\n") or b"kept" in vm.input)
    assert b"lost" not in vm.input


def test_bootloader_steps_and_vm_share_the_line(prepare_line, power_on, user):
    vm, viewer = power_on(), user()
    viewer.open("open_line", node="vnode1")
    line = prepare_line()
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as runner:
        runner.connect(line["socket"])
        runner.sendall(b"boot in 1 s\n")
        viewer.wait(lambda: viewer.data() == b"boot in 1 s\n")
        viewer.send(console.DATA, b"key")
        wait_until(lambda: vm.input == b"key")
        runner.shutdown(socket.SHUT_WR)
        assert runner.recv(100) == b"", "input is for the VM only"
    vm.print(b"kernel\n")
    viewer.wait(lambda: viewer.data() == b"boot in 1 s\nkernel\n")
    with open(line["log"], "ab") as appended:
        appended.write(b"late step\n")
    viewer.wait(lambda: viewer.data().endswith(b"kernel\nlate step\n"))
    with open(line["log"], "rb") as log:
        assert log.read() == viewer.data()


def test_only_console_and_root_reach_the_line(prepare_line):
    line = prepare_line()
    for path in line.values():
        status = os.stat(path)
        assert (status.st_uid, status.st_mode & 0o777) == (os.geteuid(), 0o600)
    script = f"import os, socket, sys; os.setuid(int(sys.argv[1])); socket.socket(1).connect({line['socket']!r})"
    assert subprocess.run([sys.executable, "-c", script, str(os.geteuid())]).returncode == 0
    for other in (VM_UID, 65534):
        done = subprocess.run([sys.executable, "-c", script, str(other)], capture_output=True)
        assert b"PermissionError" in done.stderr


@pytest.mark.parametrize("signal_number", [signal.SIGKILL, signal.SIGTERM])
def test_restart_of_console_loses_and_doubles_nothing(power_on, service, user, signal_number):
    vm, viewer = power_on(), user()
    viewer.open("open_line", node="vnode1")
    printed, stop = [], tasks.Signal()

    def print_lines():
        while not stop.is_set():
            printed.append(b"line %d\n" % len(printed))
            vm.print(printed[-1])
            tasks.sleep(0.01)

    printing = tasks.spawn(print_lines)
    viewer.wait(lambda: len(viewer.data()) > 1000)
    service.end(signal_number)
    count = len(printed)
    wait_until(lambda: len(printed) > count + 20)
    service.start()
    service.wait_until_ready()
    with pytest.raises(NotFound):
        viewer.request("keep_session", session=viewer.session)
    viewer.open("open_line", node="vnode1", offset=viewer.offset())
    count = len(viewer.received)
    viewer.wait(lambda: len(viewer.received) > count + 10)
    stop.set()
    printing.wait()
    viewer.wait(lambda: viewer.data().endswith(printed[-1]))
    assert viewer.data() == b"".join(printed)
    viewer.send(console.DATA, b"still here\n")
    wait_until(lambda: vm.input.endswith(b"still here\n"))


def test_burst_of_10_mb_arrives_in_order_beside_a_slow_viewer(power_on, user):
    vm, fast, slow = power_on(), user(), user()
    fast.open("open_line", node="vnode1")
    slow.open("open_line", node="vnode1", listen=False)
    burst = b"".join(b"%09d\n" % number for number in range(1_000_000))
    printing = tasks.spawn(vm.print, burst)
    fast.wait(lambda: fast.received_bytes >= len(burst), 60)
    printing.wait()
    assert fast.data() == burst
    slow.listen()
    slow.wait(lambda: slow.received_bytes >= len(burst), 60)
    assert slow.data() == burst


def test_a_viewer_that_vanishes_ends_its_session(power_on, user):
    vm, viewer, other = power_on(), user(), user()
    viewer.open("open_line", node="vnode1")
    viewer.close()
    vm.print(b"anybody?\n")
    other.session = viewer.session
    other.wait(lambda: not other.has_session())
    other.open("open_line", node="vnode1")
    other.wait(lambda: other.data() == b"anybody?\n")
