"""What an AF_PACKET socket tells of a frame, as the frame was on the port. Pure."""

from __future__ import annotations

import struct
from collections.abc import Iterable

from services.netemu.capture import pcapng

SOL_SOCKET, SO_TIMESTAMPNS = 1, 35
SOL_PACKET, PACKET_AUXDATA = 263, 8
PACKET_OUTGOING = 4  # the host's view: it sends what the node receives
TP_STATUS_VLAN_VALID, TP_STATUS_VLAN_TPID_VALID = 1 << 4, 1 << 6
MAC_ADDRESSES = 12  # bytes; the tag comes after them
VLAN = 0x8100

Ancillary = Iterable[tuple[int, int, bytes]]

_TIME = struct.Struct("qq")
_AUXDATA = struct.Struct("=IIIHHHH")


def direction_of(packet_type: int) -> int:
    """Of the node's interface, as a capture inside of the node shows it."""
    return pcapng.INBOUND if packet_type == PACKET_OUTGOING else pcapng.OUTBOUND


def arrival(frame: bytes, ancillary: Ancillary) -> tuple[int, bytes]:
    """When the kernel saw it (ns since 1970), and the frame with the VLAN tag that the kernel took off it."""
    time_ns = 0
    for level, kind, data in ancillary:
        if (level, kind) == (SOL_SOCKET, SO_TIMESTAMPNS):
            seconds, nanoseconds = _TIME.unpack(data)
            time_ns = seconds * 1_000_000_000 + nanoseconds
        elif (level, kind) == (SOL_PACKET, PACKET_AUXDATA):
            frame = _tagged(frame, data)
    return time_ns, frame


def _tagged(frame: bytes, auxdata: bytes) -> bytes:
    status, _, _, _, _, tag, protocol = _AUXDATA.unpack(auxdata)
    if not status & TP_STATUS_VLAN_VALID:
        return frame
    protocol = protocol if status & TP_STATUS_VLAN_TPID_VALID else VLAN
    return frame[:MAC_ADDRESSES] + struct.pack("!HH", protocol, tag) + frame[MAC_ADDRESSES:]
