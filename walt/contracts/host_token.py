"""The token with which a further host joins: all that its agents are told, as one word. Pure.

It holds a password. Whoever has it can be the agents of that host, until a new token is made for it or the host is
removed.
"""

from __future__ import annotations

import base64
import binascii
import json
import zlib
from dataclasses import asdict, dataclass, field

from walt.contracts.errors import InvalidRequest

_PREFIX = "walt-host-1."  # a kind of token, and its version
MAX_CHARS = 65_536


@dataclass(frozen=True)
class HostToken:
    """amqp_uri: of the broker, with the account of the host's agents; server: the name of the server's host; subnet: of
    walt-net."""

    host: str
    amqp_uri: str = field(repr=False)
    server: str
    subnet: str


def encode(token: HostToken) -> str:
    content = zlib.compress(json.dumps(asdict(token)).encode())
    return _PREFIX + base64.urlsafe_b64encode(content).decode().rstrip("=")


def decode(text: str) -> HostToken:
    """InvalidRequest, which does not repeat it."""
    word = text.strip()
    try:
        if not word.startswith(_PREFIX) or len(word) > MAX_CHARS:
            raise ValueError
        packed = word.removeprefix(_PREFIX)
        content = _inflate(base64.urlsafe_b64decode(packed + "=" * (-len(packed) % 4)))
        found = {name: _text(value) for name, value in json.loads(content).items()}
        return HostToken(**found)
    except (ValueError, TypeError, AttributeError, binascii.Error, zlib.error):
        raise InvalidRequest("this is not the token of a host; allowed: what 'walt host token HOST' prints") from None


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError
    return value


def _inflate(packed: bytes) -> bytes:
    unpacker = zlib.decompressobj()
    content = unpacker.decompress(packed, MAX_CHARS)
    if unpacker.unconsumed_tail:
        raise ValueError
    return content
