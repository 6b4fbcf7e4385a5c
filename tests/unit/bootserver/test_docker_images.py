"""The process that fetches root file systems from the Docker Engine: what can be said to it, and how it ends."""

from __future__ import annotations

import json
import os
import socket
import threading

import pytest

from services.bootserver.docker_images import engine
from services.bootserver.docker_images.server import DockerImagesServer
from services.bootserver.workers.fetch_docker_image import fetch
from tests.support.wait import wait_until
from walt.contracts.errors import Failed, InvalidRequest, NotFound


@pytest.fixture
def server(tmp_path):
    with DockerImagesServer(tmp_path / "run/socket", peers=(os.getuid(),)) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def exports(monkeypatch):
    """References that were exported; as files of their names."""
    found = []

    def export(reference, target, say):
        found.append(reference)
        say("")
        say(f"pulling {reference}")
        target.write(reference.encode())
        target.flush()

    monkeypatch.setattr(engine, "export", export)
    return found


def test_an_image_comes_through_the_file_that_was_sent(server, exports, tmp_path, capsys):
    fetch(server.server_address, "export", "debian:12", tmp_path / "tar")
    assert (tmp_path / "tar").read_text() == "debian:12" and exports == ["debian:12"]
    assert capsys.readouterr().out == "pulling debian:12\n"


@pytest.mark.parametrize(("verb", "is_online"), [("build", False), ("build-online", True)])
def test_a_context_goes_to_the_engine_as_it_is(server, monkeypatch, tmp_path, verb, is_online):
    networks = []

    def build(context, target, say, has_network):
        networks.append(has_network)
        target.write(context.read())
        target.flush()

    monkeypatch.setattr(engine, "build", build)
    (tmp_path / "context").write_bytes(b"\xff\0 any bytes")
    fetch(server.server_address, verb, str(tmp_path / "context"), tmp_path / "tar")
    assert (tmp_path / "tar").read_bytes() == b"\xff\0 any bytes" and networks == [is_online]


class ImageApi:
    """Of the SDK: keeps how an image is built."""

    def __init__(self):
        self.options = {}

    def build(self, **options):
        self.options = options
        return iter(())


@pytest.mark.parametrize(("has_network", "mode"), [(False, "none"), (True, None)])
def test_fault_s19_commands_of_a_build_have_limits_and_no_network(has_network, mode):
    api = ImageApi()
    engine._build(api, None, "tag", [], print, has_network)
    assert api.options["network_mode"] == mode
    assert api.options["container_limits"].keys() == {"memory", "memswap", "cpushares"}


@pytest.mark.parametrize(
    ("fault", "raised", "message"),
    [
        (NotFound("there is no image 'x'"), NotFound, "there is no image 'x'"),
        (InvalidRequest("no"), InvalidRequest, "no"),
        (Failed("why"), Failed, "why"),
        (OSError(28, "No space left on device"), Failed, "No space left"),
        (RuntimeError("a secret"), Failed, "RuntimeError; see the log of docker-images"),
    ],
)
def test_faults_keep_their_class(server, monkeypatch, tmp_path, fault, raised, message):
    def fails(reference, target, say):
        raise fault

    monkeypatch.setattr(engine, "export", fails)
    with pytest.raises(raised, match=message) as found:
        fetch(server.server_address, "export", "x", tmp_path / "tar")
    assert type(found.value) is raised


def test_who_hangs_up_ends_the_work(server, monkeypatch, tmp_path):
    ended = threading.Event()

    def endless(reference, target, say):
        try:
            while True:
                say("")
        finally:
            ended.set()

    monkeypatch.setattr(engine, "export", endless)
    with (tmp_path / "tar").open("wb") as tar, socket.socket(socket.AF_UNIX) as connection:
        connection.connect(server.server_address)
        socket.send_fds(connection, [b'{"verb": "export", "reference": "x"}\n'], [tar.fileno()])
        connection.recv(10)
    assert ended.wait(10)


@pytest.mark.parametrize(
    ("line", "files"),
    [
        (b"", 1),
        (b"{\n", 1),
        (b"\xff\n", 1),
        (b"[" * 4096, 1),
        (b"7\n", 1),
        (b'{"verb": "run"}\n', 1),
        (b'{"verb": ["export"]}\n', 1),
        (b'{"verb": "export", "reference": "x"}\n', 0),
        (b'{"verb": "export", "reference": "x"}\n', 2),
        (b'{"verb": "export", "reference": "no//x"}\n', 1),
        (b'{"verb": "export", "reference": {"x": 1}}\n', 1),
        (b'{"verb": "export"}\n', 1),
    ],
)
def test_what_is_not_of_the_vocabulary_is_refused_and_keeps_no_file_open(server, exports, tmp_path, line, files):
    before = len(os.listdir("/proc/self/fd"))
    with (tmp_path / "tar").open("wb") as tar, socket.socket(socket.AF_UNIX) as connection:
        connection.connect(server.server_address)
        socket.send_fds(connection, [line or b"\n"], [tar.fileno()] * files)
        connection.shutdown(socket.SHUT_WR)
        with connection.makefile("rb") as answers:
            answer = json.loads(answers.readline())
    assert answer["status"] == InvalidRequest.exit_code and exports == []
    wait_until(lambda: len(os.listdir("/proc/self/fd")) <= before, 5, "its files are closed")


def test_other_users_are_not_served(tmp_path, exports):
    with DockerImagesServer(tmp_path / "socket", peers=(os.getuid() + 1,)) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        with pytest.raises((Failed, ConnectionError, BrokenPipeError)):
            fetch(str(tmp_path / "socket"), "export", "x", tmp_path / "tar")
        server.shutdown()
    assert exports == []


def test_no_process_is_said(tmp_path):
    with pytest.raises(Failed, match="does not answer .*No such file or directory.; allowed without it: a FILE.tar"):
        fetch(str(tmp_path / "none"), "export", "x", tmp_path / "tar")
