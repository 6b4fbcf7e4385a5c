"""An AF_PACKET socket on the device of a port: every frame that the node sends or receives there, in copy.

What is not read in time is lost to the socket alone, and counted by it.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import socket
import struct
from collections.abc import Sequence

from walt.contracts.errors import Failed, InvalidRequest

Instruction = tuple[int, int, int, int]  # code, jt, jf, k: of classic BPF

RECEIVE_BUFFER_BYTES = 4 * 2**20
NOTHING: Sequence[Instruction] = ((6, 0, 0, 0),)  # return 0: no frame passes

_ETH_P_ALL = 3
_SOL_PACKET = 263
_PACKET_STATISTICS = 6
_PACKET_AUXDATA = 8
_SO_ATTACH_FILTER = 26
_SO_RCVBUFFORCE = 33
_SO_TIMESTAMPNS = 35
_TOO_LONG = (errno.ENOMEM, errno.ENOBUFS)


def open_packet_socket(device: str, program: Sequence[Instruction]) -> socket.socket:
    """Non-blocking. It hears nothing before its filter is in force; no instructions: all frames pass."""
    with contextlib.ExitStack() as undo:
        try:
            one = undo.enter_context(socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, 0))
            if program:
                attach_filter(one, program)
            one.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
            one.setsockopt(_SOL_PACKET, _PACKET_AUXDATA, 1)
            one.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, RECEIVE_BUFFER_BYTES)
            one.bind((device, _ETH_P_ALL))
        except OSError as error:
            raise Failed(f"the device {device} cannot be captured: {error.strerror}") from None
        undo.pop_all()
        return one


def attach_filter(one: socket.socket, program: Sequence[Instruction]) -> None:
    """InvalidRequest when the kernel does not take so long a program."""
    packed = b"".join(struct.pack("HBBI", *instruction) for instruction in program)
    memory = ctypes.create_string_buffer(packed, len(packed))
    try:
        one.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("HP", len(program), ctypes.addressof(memory)))
    except OSError as error:
        if error.errno not in _TOO_LONG:
            raise
        raise InvalidRequest(
            f"the filter is too long for the kernel: {len(program)} instructions; allowed: a shorter one"
        ) from None


def statistics(one: socket.socket) -> tuple[int, int]:
    """Frames that passed the filter since the last call, and how many of them were lost."""
    passed, lost = struct.unpack("II", one.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 8))
    return passed, lost
