"""Does the NFS server answer? A NULL call (RFC 5531) on its port: what an open port alone does not prove."""

from __future__ import annotations

import os
import socket
import struct

NFS_PORT = 2049
_PROGRAM, _VERSION, _NULL = 100003, 4, 0
_LAST_FRAGMENT = 0x80000000


def call(xid: int) -> bytes:
    """A NULL call as one record; without credentials."""
    message = struct.pack(">10I", xid, 0, 2, _PROGRAM, _VERSION, _NULL, 0, 0, 0, 0)
    return struct.pack(">I", _LAST_FRAGMENT | len(message)) + message


def accepts(xid: int, record: bytes) -> bool:
    """Whether this record is an accepted, successful reply: xid, REPLY, MSG_ACCEPTED, verifier (none), SUCCESS."""
    return len(record) >= 28 and struct.unpack(">6I", record[4:28]) == (xid, 1, 0, 0, 0, 0)


def ping(address: str, port: int = NFS_PORT, timeout_s: float = 2.0) -> str:
    """'' when the server answers, else why not."""
    xid = int.from_bytes(os.urandom(4), "big")
    try:
        with socket.create_connection((address, port), timeout_s) as connection:
            connection.settimeout(timeout_s)
            connection.sendall(call(xid))
            return "" if accepts(xid, connection.recv(1024)) else "not an answer to an NFS call"
    except OSError as error:
        return str(error) or type(error).__name__
