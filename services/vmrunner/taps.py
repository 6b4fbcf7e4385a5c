"""Open the taps that netemu made, for qemu."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import struct

from services.contracts.errors import Failed

TUNSETIFF = 0x400454CA  # linux/if_tun.h
IFF_TAP = 0x0002
IFF_NO_PI = 0x1000
IFF_VNET_HDR = 0x4000


def open_tap(name: str) -> int:
    """A descriptor of the existing tap; Failed when it is not there or already in use."""
    try:
        socket.if_nametoindex(name)  # TUNSETIFF would make a new one, connected to nothing
    except OSError:
        raise Failed(f"the tap {name} does not exist") from None
    descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.ioctl(descriptor, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TAP | IFF_NO_PI | IFF_VNET_HDR))
    except OSError as error:
        os.close(descriptor)
        why = "another process has it open" if error.errno == errno.EBUSY else error.strerror
        raise Failed(f"the tap {name} cannot be opened: {why}") from None
    return descriptor
