"""The line of a console that says why a system did not boot."""

from __future__ import annotations

import pytest

from services.vmrunner.lifecycle.console_clue import MAX_CHARACTERS, clue

PANIC = "Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0)"
PANIC_LINES = f"[    1.234567] {PANIC}\r\n[    1.234999] CPU: 0 PID: 1 Comm: swapper/0\r\n[    1.5] ---[ end ]---\r\n"
EMERGENCY = (
    "[FAILED] Failed to start \x1b[0;1;39msystemd-fsck@.service\x1b[0m.\r\n"
    "[\x1b[0;1;38;5;185mDEPEND\x1b[0m] Dependency failed for \x1b[0;1;39mdata.mount\x1b[0m - /data.\r\n"
    "You are in emergency mode. After logging in, type ...\r\nGive root password for maintenance\r\n"
)


@pytest.mark.parametrize(
    ("written", "found"),
    [
        (PANIC_LINES, PANIC),
        (EMERGENCY, "Dependency failed for data.mount - /data."),
        ("walt-init: FAILED: image small cannot be copied\r\nwalt-init: rebooting in 10 s\r\n",
         "walt-init: FAILED: image small cannot be copied"),
        ("You are in rescue mode. Type\r\n", "You are in rescue mode. Type"),
        ("[  9.1] Out of memory: Killed process 300 (apt) total-vm:1kB\r\n",
         "Out of memory: Killed process 300 (apt) total-vm:1kB"),
        ("Debian GNU/Linux 12 vnode1 ttyS0\r\nvnode1 login: ", ""),
        ("", ""),
    ],
)  # fmt: skip
def test_fault_b48_the_console_knows_the_reason(written, found):
    assert clue(written.encode()) == found


def test_only_what_was_written_since_the_power_on_counts():
    assert clue(f"{PANIC_LINES}\r\nwalt-boot: power-on 2\r\nwalt-boot: starting the kernel\r\nlogin: ".encode()) == ""
    assert clue(f"walt-boot: starting the kernel\r\n{PANIC_LINES}".encode()) == PANIC


def test_hostile_bytes_become_printable_and_bounded():
    found = clue(b"walt-init: FAILED: \xff\x1b[31m\x07\xe2\x80\xae" + b"x" * 10_000 + b"\r\n")
    assert found.isprintable() and len(found) == MAX_CHARACTERS
    assert clue(bytes(range(256)) * 64) == ""
