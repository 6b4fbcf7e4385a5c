"""The token of a further host: one word, which says all, and whatever else is refused."""

import base64
import zlib

import pytest

from walt.contracts import host_token
from walt.contracts.errors import InvalidRequest
from walt.contracts.host_token import HostToken

URI = "amqp://walt-host-lab2:secret@lab.example.org:5672//"
TOKEN = HostToken("lab2", URI, "lab1", "10.0.0.0/22")


def test_what_is_encoded_is_decoded():
    word = host_token.encode(TOKEN)
    assert host_token.decode(f" {word}\n") == TOKEN
    assert len(word.split()) == 1 and "secret" not in repr(TOKEN)


def packed(content: bytes) -> str:
    return "walt-host-1." + base64.urlsafe_b64encode(zlib.compress(content)).decode().rstrip("=")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "secret",
        "walt-host-1.",
        "walt-host-1.secret",
        "walt-host-1.é",
        host_token.encode(TOKEN)[:-9],
        host_token.encode(TOKEN)[9:],
        packed(b"[]"),
        packed(b"{}"),
        packed(b'{"host": 1}'),
        packed(b"\xff"),
        packed(b"0" * 10**8),
        "walt-host-1." + "a" * 10**6,
    ],
)
def test_anything_else_is_refused_and_not_repeated(text):
    with pytest.raises(InvalidRequest) as refused:
        host_token.decode(text)
    assert "secret" not in str(refused.value)
