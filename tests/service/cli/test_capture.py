"""`walt network capture`: where the frames go, and every way in which it ends. The capture itself is a stand-in."""

import os
import signal
import subprocess
import time

import pytest

from tests.service.cli.command import ROOT, read_until
from tests.support.wait import wait_until

WIRESHARK = """#!/bin/sh
echo "$@" > "{folder}/arguments"
{then}
"""


def lines_of(path):
    return path.read_bytes().splitlines() if path.exists() else []


def interrupted(process, limit_s=10):
    """What it says, and how it ends, when the user presses ctrl-c."""
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=limit_s)
    return process.returncode, errors.decode()


def test_into_a_file_until_ctrl_c(walt, vnode, tmp_path):
    path = tmp_path / "x.pcapng"
    words = ("network", "capture", vnode, "home-net", "-w", str(path), "--filter", "tcp port 80")
    process = walt.start(*words, stderr=subprocess.PIPE)
    wait_until(lambda: len(lines_of(path)) > 5)
    status, errors = interrupted(process)
    assert status == 0
    first, *pieces, last = lines_of(path)
    assert first == b"home-net tcp port 80 0" and last == b"the end"
    assert errors.splitlines()[0] == f"capturing {vnode} on home-net; ctrl-c ends it"
    assert errors.splitlines()[-1] == f"{len(pieces)} frames captured, 0 not captured"


def test_ends_by_itself_after_count_frames(walt, vnode, tmp_path, folder):
    path = tmp_path / "x.pcapng"
    before = set(folder.glob("closed-*"))
    done = walt("network", "capture", vnode, "walt-net", "-w", str(path), "--count", "3")
    assert done.returncode == 0
    assert lines_of(path) == [b"walt-net  3", b"piece 0", b"piece 1", b"piece 2", b"the end"]
    wait_until(lambda: set(folder.glob("closed-*")) > before, 10)


def test_into_a_pipe(walt, vnode):
    for write in (("-w", "-"), ()):
        done = walt("network", "capture", vnode, "home-net", *write, "--count", "2")
        assert (done.returncode, done.stdout) == (0, b"home-net  2\npiece 0\npiece 1\nthe end\n")


def test_ends_quietly_when_nobody_reads_it_any_more(walt, vnode):
    command = " ".join(walt.argv("network", "capture", vnode, "home-net", "-w", "-"))
    script = f"({command}; echo status $? >&2) | head -2"
    done = subprocess.run(["bash", "-c", script], cwd=ROOT, env=walt.env, capture_output=True, timeout=30)
    assert done.stdout == b"home-net  0\npiece 0\n"
    assert done.stderr.decode().splitlines() == [f"capturing {vnode} on home-net; ctrl-c ends it", "status 0"]


def test_sigterm_ends_it_as_ctrl_c_does(walt, vnode, tmp_path):
    path = tmp_path / "x.pcapng"
    process = walt.start("network", "capture", vnode, "home-net", "-w", str(path), stderr=subprocess.PIPE)
    wait_until(lambda: lines_of(path))
    process.terminate()
    assert process.wait(10) == 0 and lines_of(path)[-1] == b"the end"
    process.stderr.close()


def test_terminal_gets_no_frames(walt, vnode):
    for write in (("-w", "-"), ()):
        with walt.on_terminal("network", "capture", vnode, "home-net", *write) as (process, master, _):
            said = read_until(master, b"\n").decode()
            assert process.wait(10) == 2
        assert "standard output is a terminal; use -w FILE or --wireshark" in said


def test_with_a_ring_the_file_is_written_at_the_end(walt, vnode, tmp_path):
    """The stand-in sends no frames; what has none is an empty file."""
    path = tmp_path / "x.pcapng"
    process = walt.start(
        "network", "capture", vnode, "home-net", "-w", str(path), "--ring", "5", stderr=subprocess.PIPE
    )
    assert process.stderr.readline().decode() == f"capturing {vnode} on home-net; ctrl-c ends it\n"
    status, errors = interrupted(process)
    assert (status, path.read_bytes()) == (0, b"")
    assert errors.splitlines()[-1] == "0 frames of the last 5 s written, 0 were before them"
    assert walt("network", "capture", vnode, "home-net", "--wireshark", "--ring", "5").returncode == 2


def test_what_is_refused_makes_no_file(walt, vnode, tmp_path):
    path = tmp_path / "x.pcapng"
    done = walt("network", "capture", vnode, "home-net", "-w", str(path), "--filter", "wrong")
    assert done.returncode == 2 and done.stderr.startswith(b"walt: filter 'wrong': syntax error")
    assert walt("network", "capture", "nobody", "home-net", "-w", str(path)).returncode == 3
    assert walt("network", "capture", vnode, "home-net", "-w", str(path), "--count", "0").returncode == 2
    assert walt("network", "capture", vnode, "home-net", "-w", str(path), "--wireshark").returncode == 2
    assert not path.exists()


def test_file_that_cannot_be_written(walt, vnode, tmp_path, folder):
    before = set(folder.glob("closed-*"))
    done = walt("network", "capture", vnode, "home-net", "-w", str(tmp_path / "none/x"))
    assert done.returncode == 1 and b"none/x cannot be written: No such file or directory" in done.stderr
    wait_until(lambda: set(folder.glob("closed-*")) > before, 10)
    done = walt("network", "capture", vnode, "home-net", "-w", "/dev/full")
    assert done.returncode == 1 and b"/dev/full cannot be written: No space left on device" in done.stderr


@pytest.fixture
def wireshark(walt, tmp_path):
    """wireshark(what it does) puts one into the PATH; its standard input is `frames`."""

    def make(then):
        program = tmp_path / "bin/wireshark"
        program.parent.mkdir()
        program.write_text(WIRESHARK.format(folder=tmp_path, then=then))
        program.chmod(0o755)
        walt.env["PATH"] = f"{program.parent}:{os.environ['PATH']}"

    return make


def test_wireshark_gets_the_frames(walt, vnode, wireshark, tmp_path):
    """It goes on when the capture has ended."""
    wireshark(f'cat > "{tmp_path}/frames"; sleep 1; touch "{tmp_path}/lived-on"')
    process = walt.start("network", "capture", vnode, "home-net", "--wireshark", stderr=subprocess.PIPE)
    wait_until(lambda: len(lines_of(tmp_path / "frames")) > 3)
    status, errors = interrupted(process)
    assert status == 0 and "frames captured, 0 not captured" in errors
    assert (tmp_path / "arguments").read_text() == "-k -i -\n"
    wait_until((tmp_path / "lived-on").exists, 10)
    assert lines_of(tmp_path / "frames")[-1] == b"the end"


def test_closing_wireshark_ends_the_capture(walt, vnode, wireshark, tmp_path):
    wireshark("head -2 > /dev/null")
    process = walt.start("network", "capture", vnode, "home-net", "--wireshark", stderr=subprocess.PIPE)
    assert process.wait(15) == 0
    process.stderr.close()


def test_wireshark_that_does_not_start(walt, vnode, wireshark):
    wireshark("exit 7")
    done = walt("network", "capture", vnode, "home-net", "--wireshark")
    assert (done.returncode, done.stderr.splitlines()[-1]) == (1, b"walt: wireshark ended with status 7")


def test_without_wireshark_nothing_begins(walt, vnode, tmp_path):
    walt.env["PATH"] = str(tmp_path)
    done = walt("network", "capture", vnode, "home-net", "--wireshark")
    assert done.returncode == 1 and b"wireshark is not installed on this computer" in done.stderr


def test_says_when_it_is_lost(walt, vnode, fakes, tmp_path):
    path = tmp_path / "x.pcapng"
    process = walt.start("network", "capture", vnode, "home-net", "-w", str(path), stderr=subprocess.PIPE)
    wait_until(lambda: lines_of(path))
    fakes["console"].kill()
    fakes["console"].start()
    before = time.monotonic()
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 125 and time.monotonic() - before < 20
    assert errors.decode().splitlines()[-1] == f"walt: the capture of {vnode} is lost: no such session"
