"""Does the name server of walt-net answer? It is asked for the server's own name (RFC 1035)."""

from __future__ import annotations

import os
import socket
import struct

DNS_PORT = 53
_RECURSION_DESIRED, _ADDRESS, _INTERNET = 0x100, 1, 1
_RESPONSE, _CODE = 0x8000, 0xF
_HEADER = ">6H"


def question(number: int, name: str) -> bytes:
    """A question for the address of this name."""
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    header = struct.pack(_HEADER, number, _RECURSION_DESIRED, 1, 0, 0, 0)
    return header + labels + b"\0" + struct.pack(">2H", _ADDRESS, _INTERNET)


def fault(number: int, answer: bytes) -> str:
    """'' when this answers that question with an address, else why not."""
    if len(answer) < struct.calcsize(_HEADER):
        return "not an answer to a DNS question"
    got, flags, _, answers, _, _ = struct.unpack(_HEADER, answer[: struct.calcsize(_HEADER)])
    if got != number or not flags & _RESPONSE:
        return "not an answer to a DNS question"
    if flags & _CODE or not answers:
        return f"it does not know the server's own name (code {flags & _CODE})"
    return ""


def ping(address: str, name: str, port: int = DNS_PORT, timeout_s: float = 2.0) -> str:
    """'' when it answers with an address, else why not."""
    number = int.from_bytes(os.urandom(2), "big")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as connection:
        connection.settimeout(timeout_s)
        try:
            connection.connect((address, port))
            connection.send(question(number, name))
            return fault(number, connection.recv(512))
        except OSError as error:
            return str(error) or type(error).__name__
