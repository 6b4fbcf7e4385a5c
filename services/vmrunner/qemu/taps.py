"""Open the taps that netemu made, for qemu."""

from __future__ import annotations

import errno
import socket

from services.kit import tun
from walt.contracts.errors import Failed


def open_tap(name: str) -> int:
    """A descriptor of the existing tap; Failed when it does not exist or is in use."""
    try:
        socket.if_nametoindex(name)  # `tun.open_tap` would make a new one, connected to nothing
    except OSError:
        raise Failed(f"the tap {name} does not exist") from None
    try:
        return tun.open_tap(name, blocking=True)
    except OSError as error:
        reason = "another process has it open" if error.errno == errno.EBUSY else error.strerror
        raise Failed(f"the tap {name} cannot be opened: {reason}") from None
