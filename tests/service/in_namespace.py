"""A network namespace that reaches one TCP port of ours: `in_namespace.py PORT` prints the pid that holds it.

A socket stays in the namespace in which it was made: the listener is made inside, its connections go on from
outside. Ends when its stdin ends.
"""

import contextlib
import ctypes
import os
import socket
import subprocess
import sys
import threading

CLONE_NEWNET = 0x40000000


def forward(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    for end in (source, target):
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


def accept(listener: socket.socket, port: int) -> None:
    while True:
        inner, _ = listener.accept()
        outer = socket.create_connection(("127.0.0.1", port))
        for pair in ((inner, outer), (outer, inner)):
            threading.Thread(target=forward, args=pair, daemon=True).start()


def main() -> None:
    port = int(sys.argv[1])
    libc = ctypes.CDLL(None, use_errno=True)
    outside = os.open("/proc/self/ns/net", os.O_RDONLY)
    assert libc.unshare(CLONE_NEWNET) == 0
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    listener = socket.create_server(("127.0.0.1", port))
    holder = subprocess.Popen(["cat"])  # ends with our stdin, as we do
    assert libc.setns(outside, CLONE_NEWNET) == 0
    threading.Thread(target=accept, args=(listener, port), daemon=True).start()
    print(holder.pid, flush=True)
    holder.wait()


if __name__ == "__main__":
    main()
