"""What netemu makes of the answers of the cable, and with what priority that runs."""

import fcntl
import os
import socket
import threading
from pathlib import Path

import pytest

from services.netemu.cable.control import CableClient
from services.netemu.cable.process import become_realtime
from services.netemu.cable.protocol import lock_path, socket_path
from walt.contracts.errors import Failed
from walt.contracts.links import LinkModel


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

    def answering(data: bytes) -> CableClient:
        threads.append(threading.Thread(target=serve, args=(data,)))
        threads[-1].start()
        return CableClient(tmp_path)

    yield answering
    for thread in threads:
        thread.join()
    listener.close()


@pytest.mark.parametrize("data", [b"", b'{"pid": 1, "por'])
def test_a_cable_that_ends_in_the_middle_of_its_answer_does_not_run(answer, data):
    assert answer(data).show() is None


def test_fault_s13_a_cable_that_runs_and_does_not_answer_is_told_from_one_that_does_not_run(answer, tmp_path):
    assert CableClient(tmp_path / "elsewhere").show() is None
    with open(lock_path(tmp_path), "wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(Failed, match="the cable does not answer"):
            answer(b'{"pid": 1, "por').show()


def test_what_the_cable_cannot_do_names_the_tap(answer):
    with pytest.raises(Failed, match="the cable cannot take vn1e2: Too many open files"):
        answer(b'{"error": "Too many open files"}\n').set_port("vn1e2", LinkModel(), "ada")


def test_where_real_time_is_refused_the_cable_takes_the_next_best_priority(monkeypatch):
    taken = []

    def refuse(*_words: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "sched_setscheduler", refuse)
    monkeypatch.setattr(os, "setpriority", lambda *words: taken.append(words))
    assert not become_realtime()
    assert taken == [(os.PRIO_PROCESS, 0, -20)]
