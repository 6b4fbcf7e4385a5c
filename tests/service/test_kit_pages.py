"""Pages of a service over real HTTP: errors as status codes, files by their content, and clients that are no good
neighbours."""

from __future__ import annotations

import socket
from dataclasses import replace

import pytest
import requests

from services.kit.bus import app as kit_app
from services.kit.environment import environment
from services.kit.web import pages
from services.kit.web.pages import page
from tests.support.wait import wait_until
from walt.contracts.errors import Denied, NotFound


class Library:
    name = "library"

    @page("GET", "/books/<int:number>")
    def book(self, request, number):
        if number > 9:
            raise NotFound(f"there is no book {number}")
        return pages.text(f"book {number} for {request.remote_addr}")

    @page("GET", "/forbidden")
    def forbidden(self, request):
        raise Denied("not you")

    @page("GET", "/broken")
    def broken(self, request):
        raise ZeroDivisionError

    @page("GET", "/file")
    def file(self, request):
        return pages.content(request, "digest", self.path)


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@pytest.fixture(scope="module")
def url(amqp_uri, tmp_path_factory):
    Library.path = tmp_path_factory.mktemp("pages") / "file"
    Library.path.write_bytes(b"x" * 10**6)
    address = f"127.0.0.1:{free_port()}"
    env = replace(environment(), variables={"WALT_HTTP_ADDRESS": address})
    container = kit_app.container(Library, env)
    container.start()
    yield f"http://{address}"
    container.stop()


def test_a_page(url):
    answer = requests.get(f"{url}/books/7", timeout=5)
    assert (answer.status_code, answer.text) == (200, "book 7 for 127.0.0.1")


@pytest.mark.parametrize(
    ("path", "status", "text"),
    [
        ("/books/10", 404, "there is no book 10\n"),
        ("/forbidden", 403, "not you\n"),
        ("/books/x", 404, None),
        ("/nothing", 404, None),
    ],
)
def test_errors_are_status_codes(url, path, status, text):
    answer = requests.get(url + path, timeout=5)
    assert answer.status_code == status
    assert text is None or answer.text == text


def test_a_fault_of_ours_shows_no_traceback(url):
    answer = requests.get(f"{url}/broken", timeout=5)
    assert answer.status_code == 500
    assert "ZeroDivision" not in answer.text and "Traceback" not in answer.text


def test_a_method_that_a_page_does_not_have(url):
    assert requests.post(f"{url}/books/7", timeout=5).status_code == 405


def test_a_file_and_who_has_it_already(url):
    first = requests.get(f"{url}/file", timeout=5)
    assert len(first.content) == 10**6 and first.headers["ETag"] == '"digest"'
    again = requests.get(f"{url}/file", headers={"If-None-Match": '"digest"'}, timeout=5)
    assert (again.status_code, again.content) == (304, b"")
    assert int(requests.head(f"{url}/file", timeout=5).headers["Content-Length"]) == 10**6


def test_clients_that_break_off_end_nothing(url):
    host, port = url.removeprefix("http://").split(":")
    for nonsense in (b"", b"GET /file HTTP/1.1\r\nHost: x\r\n\r\n", b"\xff\xff\r\n\r\n", b"GET / HTTP/9\r\n"):
        with socket.create_connection((host, int(port))) as connection:
            connection.sendall(nonsense)
    wait_until(lambda: requests.get(f"{url}/books/1", timeout=5).status_code == 200)
