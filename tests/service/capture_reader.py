"""Who reads a capture: `python -m tests.service.capture_reader ADDRESS KEY FILE`, in the namespace of netemu.

It reads once a line has come on standard input, and asks for the end when that has ended. Prints the CaptureEnd.
"""

import select
import socket
import sys
from pathlib import Path

from walt.contracts.netemu import CAPTURE_END, CAPTURE_MESSAGE_BYTES


def main() -> None:
    address, key, path = sys.argv[1:]
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    connection.connect(f"\0{address}")
    connection.send(key.encode())
    sys.stdin.readline()
    data, is_asked = b"", False
    while True:
        ready, _, _ = select.select([connection, *([] if is_asked else [sys.stdin])], [], [])
        if sys.stdin in ready and not sys.stdin.read():
            is_asked = True
            connection.shutdown(socket.SHUT_WR)
        if connection in ready:
            message = connection.recv(CAPTURE_MESSAGE_BYTES)
            if not message:
                raise SystemExit("turned away")
            if message[:1] == CAPTURE_END:
                break
            data += message[1:]
    Path(path).write_bytes(data)
    print(message[1:].decode())


if __name__ == "__main__":
    main()
