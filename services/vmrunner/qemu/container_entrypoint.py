"""The entry point of a VM's container: receives open files and an argv from vmrunner, and executes it.

`python3 container_entrypoint.py SOCKET FIRST`. SOCKET is an abstract one of the network namespace that both share.
Through it comes the argv, each argument ended by a NUL byte, and with it the files: standard input, output and error,
then those that get the numbers FIRST, FIRST + 1, … So the container needs no folder, no device and no right of its own.

The image (WALT_VM_IMAGE) needs the packages qemu-system-x86 and python3-minimal (hence no json here), and this one file
as its ENTRYPOINT ["python3", "-I", "/opt/walt/container_entrypoint.py"]: the rest of the code may change without it.
"""

from __future__ import annotations

import array
import os
import socket
import sys

MAX_FILES = 253  # SCM_MAX_FD of the kernel


def receive(connection: socket.socket) -> tuple[bytes, list[int]]:
    """All there is to read, and the files that came with it."""
    files, text = array.array("i"), b""
    while True:
        data, ancillary, _, _ = connection.recvmsg(65536, socket.CMSG_SPACE(MAX_FILES * files.itemsize))
        for _, _, numbers in ancillary:
            files.frombytes(numbers)
        if not data:
            return text, list(files)
        text += data


def main() -> None:
    name, first = sys.argv[1], int(sys.argv[2])
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(f"\0{name}")
        text, files = receive(connection)
    for file, number in zip(files, (0, 1, 2, *range(first, first + len(files))), strict=False):
        os.dup2(file, number)
        os.close(file)
    argv = text.split(b"\0")[:-1]
    os.execvp(argv[0], argv)


if __name__ == "__main__":
    main()
