"""What goes wrong while a boot file is fetched names its URL, and leaves nothing in the cache."""

from __future__ import annotations

import hashlib
import os
import shutil
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from services.vmrunner.boot import cache
from services.vmrunner.boot.cache import BootFileCache
from walt.contracts.errors import Failed

CONTENT = b"kernel"
ETAG = f'ETag: "{hashlib.sha256(CONTENT).hexdigest()}"\r\n'
GOOD = f"HTTP/1.0 200 OK\r\n{ETAG}Content-Length: 6\r\n\r\n".encode()


def ignore(*_: int) -> None:
    pass


class Server:
    """Answers each request with the next of these bytes; None: it keeps silent."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self.answers: list[bytes | None] = []
        self.requests: list[bytes] = []
        self.url = f"http://127.0.0.1:{listener.getsockname()[1]}/vmlinuz"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        open_ones = []
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.requests.append(connection.recv(65536))
            answer = self.answers.pop(0)
            if answer is None:
                open_ones.append(connection)
                continue
            connection.sendall(answer)
            connection.close()


@pytest.fixture
def server() -> Iterator[Server]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield Server(listener)
        listener.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (GOOD + b"ker", "its content does not match its ETag"),
        (GOOD + b"kernal", "its content does not match its ETag"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nker", "cut short"),
        (b"HTTP/1.0 404 Not Found\r\n\r\n", "404 Not Found"),
        (b"HTTP/1.0 302 Found\r\nLocation: http://127.0.0.1:1/\r\n\r\n", "302 Found"),
        (b"nonsense\r\n", "this is not HTTP"),
        (b"", "Remote end closed connection without response"),
        (GOOD.replace(b"Content-Length: 6", b"Content-Length: 9") + CONTENT[:3], "its content does not match"),
        (None, "timed out"),
    ],
)
def test_a_file_that_does_not_come(tmp_path, server, monkeypatch, answer, why):
    monkeypatch.setattr(cache, "TIMEOUT_S", 0.3)
    store = BootFileCache(tmp_path)
    server.answers = [GOOD, answer]
    with pytest.raises(Failed) as failed:
        store.file(server.url, ignore)
    assert str(failed.value).startswith(f"{server.url}: ") and why in str(failed.value)
    assert [path for path in tmp_path.iterdir() if not path.name.startswith(".")] == []
    server.answers = [GOOD, GOOD + CONTENT]
    assert store.file(server.url, ignore).path.read_bytes() == CONTENT


def test_a_download_goes_on_where_it_was_cut_short(tmp_path, server):
    (tmp_path / f".{hashlib.sha256(CONTENT).hexdigest()}").write_bytes(CONTENT[:2])
    server.answers = [GOOD, b"HTTP/1.1 206 Partial Content\r\nContent-Length: 4\r\n\r\n" + CONTENT[2:]]
    fetched = BootFileCache(tmp_path).file(server.url, ignore)
    assert fetched.path.read_bytes() == CONTENT
    assert b"Range: bytes=2-" in server.requests[-1]
    assert list(tmp_path.iterdir()) == [fetched.path]


def test_a_file_that_does_not_fit_is_not_begun(tmp_path, server, monkeypatch):
    monkeypatch.setattr(cache, "RESERVE_BYTES", 1 << 60)
    server.answers = [GOOD]
    with pytest.raises(Failed, match="MB of disk space left"):
        BootFileCache(tmp_path).file(server.url, ignore)
    assert list(tmp_path.iterdir()) == []


def test_the_least_recently_used_goes_when_the_cache_is_full(tmp_path, server, monkeypatch):
    monkeypatch.setattr(cache, "MAX_CACHE_BYTES", 20)
    for name, age_s in (("new", 10), ("used", 7200), ("old", 9000)):
        (tmp_path / name).write_bytes(b"x" * 8)
        os.utime(tmp_path / name, (time.time() - age_s,) * 2)
    server.answers = [GOOD, GOOD + CONTENT]
    assert BootFileCache(tmp_path).file(server.url, ignore).path.name == hashlib.sha256(CONTENT).hexdigest()
    assert {path.name for path in tmp_path.iterdir()} == {"new", hashlib.sha256(CONTENT).hexdigest()}


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n#!ipxe", "cut short"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2000000\r\n\r\n" + b"x" * 2_000_000, "not a script"),
    ],
)
def test_a_script_that_does_not_come(tmp_path, server, answer, why):
    server.answers = [answer]
    with pytest.raises(Failed, match=why) as failed:
        BootFileCache(tmp_path).text(server.url, ignore)
    assert str(failed.value).startswith(f"{server.url}: ")


class Superseded(Exception):
    pass


def test_a_download_ends_when_its_boot_does(tmp_path, server):
    def superseded(*_: int) -> None:
        raise Superseded

    server.answers = [GOOD, GOOD + CONTENT]
    with pytest.raises(Superseded):
        BootFileCache(tmp_path).file(server.url, superseded)
    assert [path.stat().st_size for path in tmp_path.iterdir()] == [0], "what a later boot goes on with"


def test_a_file_without_an_end_does_not_fill_the_disk(tmp_path, server, monkeypatch):
    monkeypatch.setattr(cache, "MAX_FILE_BYTES", 5)
    server.answers = [GOOD, GOOD + CONTENT]
    with pytest.raises(Failed, match="longer than 5 bytes"):
        BootFileCache(tmp_path).file(server.url, ignore)
    assert list(tmp_path.iterdir()) == []


def test_what_others_have_fetched_makes_room(tmp_path, server, monkeypatch):
    """Who boots many images keeps nobody else from booting."""
    for name, age_s in (("new", 10), ("used", 7200), ("old", 9000)):
        (tmp_path / name).write_bytes(b"x" * 8)
        os.utime(tmp_path / name, (time.time() - age_s,) * 2)
    usage = shutil.disk_usage(tmp_path)

    def free(folder):
        taken = sum(path.stat().st_size for path in folder.iterdir())
        return usage._replace(free=cache.RESERVE_BYTES + 20 - taken)

    monkeypatch.setattr(cache.shutil, "disk_usage", free)
    server.answers = [GOOD, GOOD + CONTENT]
    fetched = BootFileCache(tmp_path).file(server.url, ignore)
    assert {path.name for path in tmp_path.iterdir()} == {"new", fetched.path.name}
