"""What a service starts does not see what the service knows."""

import os
import time

import pytest

from services.console.session import child_process
from services.kit import subprocesses
from services.kit.subprocesses import ProgramFailed, child_environment, follow, run, stream
from services.netemu.cable import control
from services.vmrunner.qemu import processes
from walt.contracts.errors import Failed

SECRET = "the-services-password"


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    monkeypatch.setenv("WALT_AMQP_URI", f"amqp://walt-services:{SECRET}@127.0.0.1//")
    monkeypatch.setenv("WALT_DATABASE_URL", f"postgresql://walt:{SECRET}@127.0.0.1/walt")
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere")
    monkeypatch.setenv("TMPDIR", "/tmp")


def launched_as_qemu(tmp_path):
    with open(tmp_path / "output", "w+") as output, open(os.devnull) as null:
        processes._launch(["env"], (null.fileno(), output.fileno(), output.fileno()), ())
    return (tmp_path / "output").read_text()


def followed(tmp_path):
    lines = []
    follow(["env"], lines.append, timeout=10)
    return "\n".join(lines)


def started_as_cable(tmp_path, monkeypatch):
    """The program prints its environment and ends."""
    monkeypatch.setattr(control, "PROGRAM", "this")
    monkeypatch.setattr(control.sys, "executable", str(tmp_path / "python"))
    (tmp_path / "python").write_text("#!/bin/sh\nenv\n")
    (tmp_path / "python").chmod(0o755)
    with pytest.raises(control.Failed, match="the cable ended with status 0"):
        control.CableClient(tmp_path / "run").start()
    (log,) = tmp_path.rglob("*.log")
    return log.read_text()


STARTERS = {
    "run": lambda tmp_path: run(["env"]),
    "follow": followed,
    "stream": lambda tmp_path: b"".join(stream(["env"])).decode(),
    "qemu": launched_as_qemu,
    "ssh and ping": lambda tmp_path: child_process.run(["env"], 10, 10_000)[1],
}


@pytest.mark.parametrize("starter", STARTERS)
def test_no_program_sees_the_services_password(starter, tmp_path):
    output = STARTERS[starter](tmp_path)
    assert f"PATH={os.environ['PATH']}" in output.splitlines() and "TMPDIR=/tmp" in output.splitlines()
    assert SECRET not in output and "WALT_" not in output and "DOCKER_" not in output


def test_the_cable_does_not_see_it(tmp_path, monkeypatch):
    output = started_as_cable(tmp_path, monkeypatch)
    assert "PATH=" in output and SECRET not in output


def test_what_is_named_is_inherited_and_what_is_given_is_added():
    environment = child_environment("DOCKER_HOST", "NOT_SET_ANYWHERE", TERM="vt100")
    assert (environment["DOCKER_HOST"], environment["TERM"]) == ("unix:///nowhere", "vt100")
    assert environment["LANG"] == "C.UTF-8" and "NOT_SET_ANYWHERE" not in environment


COMPLAIN = "yes no | head -c 999999 >&2; echo end >&2; "


def test_what_a_program_prints_is_bounded(monkeypatch):
    """A tool that works on what a user has made may complain about each of millions of things."""
    monkeypatch.setattr(subprocesses, "OUTPUT_BYTES", 100_000)
    lines = []
    with pytest.raises(ProgramFailed) as failed:
        follow(["sh", "-c", f"yes | head -c 1000000; {COMPLAIN} exit 3"], lines.append, timeout=30)
    assert (len(lines), failed.value.status) == (500_000, 3)
    assert len(failed.value.stderr) < subprocesses.STDERR_BYTES and failed.value.stderr.endswith("no\nend")
    with pytest.raises(Failed, match="status 3: [no\n]{1000,}end$"):
        run(["sh", "-c", f"{COMPLAIN} exit 3"])
    with pytest.raises(Failed, match="it prints more than 100000 bytes"):
        run(["sh", "-c", "yes | head -c 1000000"])
    assert run(["sh", "-c", f"{COMPLAIN} cat"], stdin="x" * 90_000) == "x" * 90_000
    follow(["sh", "-c", "printf %200000s"], lines.append, timeout=30)
    assert len(lines[-1]) <= subprocesses.LINE_BYTES


def test_a_program_that_takes_too_long_is_killed():
    """Also one that has closed its output, does not read, or leaves a child behind."""
    for script in ("sleep 60", "exec >&- 2>&-; sleep 60", "sleep 7 & exec sleep 60"):
        begin = time.monotonic()
        with pytest.raises(Failed, match="no end after 0.3 s"):
            run(["sh", "-c", script], timeout=0.3, stdin="x" * 10**6)
        with pytest.raises(ProgramFailed) as failed:
            follow(["sh", "-c", script], print, timeout=0.3)
        assert failed.value.status == -9 and time.monotonic() - begin < 30
