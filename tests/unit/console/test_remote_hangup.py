import signal
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.console.session.remote_hangup import ProcessGroupFinder, hangup_argv, with_marker

LINE = b"walt-group:4711\n"


@given(st.binary(max_size=40), st.binary(max_size=40), st.lists(st.integers(0, 100), max_size=6))
def test_the_marker_is_taken_out_however_it_is_split(before, after, cuts):
    before = before.replace(b"walt", b"")
    data = (before + b"\n" if before else b"") + LINE + after
    finder, rest, begin = ProcessGroupFinder(), b"", 0
    for end in [*sorted(cuts), len(data)]:
        rest += finder.filter(data[begin:end])
        begin = max(begin, end)
    assert (finder.group, rest) == (4711, data.replace(LINE, b"", 1))


@pytest.mark.parametrize(
    "data", [b"sh: not found\n", b"walt-group:x\n", b"walt-group:0\n", b"wal\n", b"no end", b"walt-group is"]
)
def test_without_a_marker_everything_passes(data):
    finder = ProcessGroupFinder()
    assert (finder.filter(data), finder.group) == (data, None)


@pytest.mark.parametrize("shell", ["bash", "dash", "busybox sh"])
def test_any_shell_prints_its_process_group_and_runs_the_command_unchanged(shell):
    line = " ".join(with_marker(["echo $$ '  a;b'; read x; exit 3"]))
    done = subprocess.run(["setsid", "-w", *shell.split(), "-c", line], input=b"", capture_output=True)
    finder = ProcessGroupFinder()
    assert finder.filter(done.stderr) == b""
    assert (done.stdout, done.returncode) == (f"{finder.group}   a;b\n".encode(), 3)


@pytest.mark.parametrize("shell", ["bash", "dash", "busybox sh"])
def test_any_shell_hangs_up_the_whole_group(shell):
    command = subprocess.Popen(["sh", "-c", "sleep 100; sleep 100"], start_new_session=True)
    try:
        subprocess.run([*shell.split(), "-c", " ".join(hangup_argv(command.pid))], check=True, timeout=10)
        assert command.wait(10) == -signal.SIGHUP
    finally:
        command.kill()
