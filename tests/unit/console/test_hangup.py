import signal
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.console.hangup import Group, announced, order

LINE = b"walt-group:4711\n"


@given(st.binary(max_size=40), st.binary(max_size=40), st.lists(st.integers(0, 100), max_size=6))
def test_line_is_taken_out_however_it_comes(before, after, cuts):
    before = before.replace(b"walt", b"")
    data = (before + b"\n" if before else b"") + LINE + after
    group, rest, begin = Group(), b"", 0
    for end in [*sorted(cuts), len(data)]:
        rest += group.hear(data[begin:end])
        begin = max(begin, end)
    assert (group.number, rest) == (4711, data.replace(LINE, b"", 1))


@pytest.mark.parametrize(
    "data", [b"sh: not found\n", b"walt-group:x\n", b"walt-group:0\n", b"wal\n", b"no end", b"walt-group is"]
)
def test_without_it_everything_passes(data):
    group = Group()
    assert (group.hear(data), group.number) == (data, None)


@pytest.mark.parametrize("shell", ["bash", "dash", "busybox sh"])
def test_any_shell_tells_its_process_group_and_runs_the_command_as_it_is(shell):
    line = " ".join(announced(["echo $$ '  a;b'; read x; exit 3"]))
    done = subprocess.run(["setsid", "-w", *shell.split(), "-c", line], input=b"", capture_output=True)
    group = Group()
    assert group.hear(done.stderr) == b""
    assert (done.stdout, done.returncode) == (b"%d   a;b\n" % group.number, 3)


@pytest.mark.parametrize("shell", ["bash", "dash", "busybox sh"])
def test_any_shell_ends_the_whole_group(shell):
    command = subprocess.Popen(["sh", "-c", "sleep 100; sleep 100"], start_new_session=True)
    try:
        subprocess.run([*shell.split(), "-c", " ".join(order(command.pid))], check=True, timeout=10)
        assert command.wait(10) == -signal.SIGHUP
    finally:
        command.kill()
