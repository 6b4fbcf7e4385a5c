"""What netemu makes of the answers of the cable."""

import socket
import threading
from pathlib import Path

import pytest

from services.contracts.errors import Failed
from services.contracts.links import LinkModel
from services.netemu.cable.control import Cable
from services.netemu.cable.words import socket_path


@pytest.fixture
def answer(tmp_path: Path):
    """Has a cable that answers each request with these bytes, then hangs up."""
    path = socket_path(tmp_path)
    path.parent.mkdir(parents=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(path))
    listener.listen()

    def serve(data: bytes) -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(65536)
            connection.sendall(data)

    threads = []

    def answering(data: bytes) -> Cable:
        threads.append(threading.Thread(target=serve, args=(data,)))
        threads[-1].start()
        return Cable(tmp_path)

    yield answering
    for thread in threads:
        thread.join()
    listener.close()


@pytest.mark.parametrize("data", [b"", b'{"pid": 1, "por'])
def test_a_cable_that_ends_in_the_middle_of_its_answer_does_not_run(answer, data):
    assert answer(data).show() is None


def test_what_the_cable_cannot_do_names_the_tap(answer):
    with pytest.raises(Failed, match="the cable cannot take vn1e2: Too many open files"):
        answer(b'{"error": "Too many open files"}\n').set_port("vn1e2", LinkModel())
