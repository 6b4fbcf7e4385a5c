"""What goes wrong while a boot file is fetched names its URL, and leaves nothing in the cache."""

from __future__ import annotations

import hashlib
import socket
import threading
from collections.abc import Iterator

import pytest

from services.contracts.errors import Failed
from services.vmrunner import cache
from services.vmrunner.cache import Cache

CONTENT = b"kernel"
ETAG = f'ETag: "{hashlib.sha256(CONTENT).hexdigest()}"\r\n'
GOOD = f"HTTP/1.0 200 OK\r\n{ETAG}Content-Length: 6\r\n\r\n".encode()


class Server:
    """Answers each request with the next of these bytes; None: it keeps silent."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self.answers: list[bytes | None] = []
        self.url = f"http://127.0.0.1:{listener.getsockname()[1]}/vmlinuz"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        open_ones = []
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            connection.recv(65536)
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
        (GOOD + b"ker", "what came is not what its ETag says"),
        (GOOD + b"kernal", "what came is not what its ETag says"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nker", "cut short"),
        (b"HTTP/1.0 404 Not Found\r\n\r\n", "404 Not Found"),
        (b"nonsense\r\n", "this is not HTTP"),
        (b"", "Remote end closed connection without response"),
        (GOOD.replace(b"Content-Length: 6", b"Content-Length: 9") + CONTENT[:3], "what came is not"),
        (None, "timed out"),
    ],
)
def test_a_file_that_does_not_come(tmp_path, server, monkeypatch, answer, why):
    monkeypatch.setattr(cache, "TIMEOUT_S", 0.3)
    store = Cache(tmp_path)
    server.answers = [GOOD, answer]
    with pytest.raises(Failed) as failed:
        store.file(server.url)
    assert str(failed.value).startswith(f"{server.url}: ") and why in str(failed.value)
    assert list(tmp_path.iterdir()) == []
    server.answers = [GOOD, GOOD + CONTENT]
    assert store.file(server.url).path.read_bytes() == CONTENT


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
        Cache(tmp_path).text(server.url)
    assert str(failed.value).startswith(f"{server.url}: ")
