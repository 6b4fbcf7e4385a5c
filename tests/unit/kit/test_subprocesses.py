"""What a service starts does not see what the service knows."""

import os

import pytest

from services.console.session import child_process
from services.kit.subprocesses import child_environment, follow, run, stream
from services.netemu.cable import control
from services.vmrunner.qemu import processes

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
