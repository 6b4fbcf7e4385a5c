"""Does the NFS server answer, and does it export these folders? An open port proves neither: each folder is looked up,
as a mount would do (NFSv4.2, RFC 8881 and 7862), in a session that is ended again.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterable

NFS_PORT = 2049
_PROGRAM, _VERSION, _COMPOUND, _MINOR = 100003, 4, 1, 2
_LAST_FRAGMENT = 0x80000000
_MAX_RECORD = 2**16

_LOOKUP, _PUTROOTFH, _EXCHANGE_ID, _CREATE_SESSION, _DESTROY_SESSION, _SEQUENCE, _DESTROY_CLIENTID = (
    15,
    24,
    42,
    43,
    44,
    53,
    57,
)
_WHY = {2: "no such folder", 13: "no access"}


class _ProtocolError(Exception):
    """The other side does not speak NFS, or refuses."""


def query_fault(address: str, paths: Iterable[str] = (), port: int = NFS_PORT, timeout_s: float = 2.0) -> str:
    """'' when the server answers and exports all of these to us, else why not."""
    try:
        with socket.create_connection((address, port), timeout_s) as connection:
            connection.settimeout(timeout_s)
            return _look_up(_Server(connection), [path.strip("/").split("/") for path in paths])
    except OSError as error:
        return str(error) or type(error).__name__
    except (_ProtocolError, struct.error) as error:
        return f"not an answer to an NFS call: {error}"


def _look_up(server: _Server, paths: list[list[str]]) -> str:
    client_id, sequence = struct.unpack_from(">QI", server.done(_exchange_id()))
    session = server.done(_create_session(client_id, sequence))[:16]
    fault = ""
    for number, path in enumerate(paths, 1):
        begin = _operation(_SEQUENCE, session, struct.pack(">4I", number, 0, 0, 0))
        lookups = (_operation(_LOOKUP, _opaque(name.encode())) for name in path)
        status, _ = server.call(begin, _operation(_PUTROOTFH), *lookups)
        if status:
            fault = f"/{'/'.join(path)} is not exported: {_WHY.get(status, f'status {status}')}"
            break
    server.call(_operation(_DESTROY_SESSION, session))
    server.call(_operation(_DESTROY_CLIENTID, struct.pack(">Q", client_id)))
    return fault


class _Server:
    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection

    def done(self, operation: bytes) -> bytes:
        """What comes of this one operation."""
        status, result = self.call(operation)
        if status:
            raise _ProtocolError(f"status {status}")
        return result

    def call(self, *operations: bytes) -> tuple[int, bytes]:
        """The status of the last operation that was tried, and what the first gives."""
        xid = int.from_bytes(os.urandom(4), "big")
        self._connection.sendall(_record(xid, operations))
        (header,) = struct.unpack(">I", self._receive(4))
        size = header & ~_LAST_FRAGMENT
        if not header & _LAST_FRAGMENT or size > _MAX_RECORD:
            raise _ProtocolError("a record of another kind")
        return _results(xid, self._receive(size))

    def _receive(self, size: int) -> bytes:
        got = b""
        while len(got) < size:
            piece = self._connection.recv(size - len(got))
            if not piece:
                raise _ProtocolError("it hung up")
            got += piece
        return got


def _record(xid: int, operations: tuple[bytes, ...]) -> bytes:
    """A COMPOUND call by root (AUTH_SYS)."""
    credentials = struct.pack(">I", 0) + _opaque(b"walt") + struct.pack(">3I", 0, 0, 0)
    message = struct.pack(">6I", xid, 0, 2, _PROGRAM, _VERSION, _COMPOUND)
    message += struct.pack(">I", 1) + _opaque(credentials) + struct.pack(">2I", 0, 0)
    message += _opaque(b"") + struct.pack(">2I", _MINOR, len(operations)) + b"".join(operations)
    return struct.pack(">I", _LAST_FRAGMENT | len(message)) + message


def _results(xid: int, reply: bytes) -> tuple[int, bytes]:
    """Of an accepted, successful reply: xid, REPLY, MSG_ACCEPTED, verifier (none), SUCCESS, and our empty tag."""
    *head, status, tag_size, _ = struct.unpack_from(">9I", reply)
    if head != [xid, 1, 0, 0, 0, 0] or tag_size:
        raise _ProtocolError("no reply to it")
    return status, reply[9 * 4 + 2 * 4 :]  # after the first operation's number and status


def _operation(number: int, *arguments: bytes) -> bytes:
    return struct.pack(">I", number) + b"".join(arguments)


def _opaque(content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + content + bytes(-len(content) % 4)


def _exchange_id() -> bytes:
    """A client of its own at each call."""
    verifier, owner = os.urandom(8), b"walt-" + os.urandom(8).hex().encode()
    return _operation(_EXCHANGE_ID, verifier, _opaque(owner), struct.pack(">3I", 0, 0, 0))


def _create_session(client_id: int, sequence: int) -> bytes:
    channel = struct.pack(">7I", 0, 4096, 4096, 0, 16, 1, 0)  # bytes of a call and of its answer, operations in it
    callback = struct.pack(">3I", 0, 1, 0)  # of none, without credentials
    return _operation(_CREATE_SESSION, struct.pack(">Q2I", client_id, sequence, 0), channel, channel, callback)
