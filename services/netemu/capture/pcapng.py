"""Blocks of a pcapng file of Ethernet frames (draft-ietf-opsawg-pcapng), with times in nanoseconds. Pure.

A file is a section_header, an interface_description, packets, and interface_statistics at the end.
"""

from __future__ import annotations

import struct

SECTION_HEADER = 0x0A0D0D0A
INTERFACE_DESCRIPTION = 1
INTERFACE_STATISTICS = 5
ENHANCED_PACKET = 6

BYTE_ORDER_MAGIC = 0x1A2B3C4D
UNKNOWN_LENGTH = 2**64 - 1
LINKTYPE_ETHERNET = 1
NANOSECONDS = 9  # a time is so many tenths of a second, multiplied so often

INBOUND, OUTBOUND = 1, 2  # of epb_flags

_END = b"\0\0\0\0"
_COMMENT = 1
_SHB_USERAPPL = 4
_IF_NAME, _IF_DESCRIPTION, _IF_TSRESOL, _IF_FILTER = 2, 3, 9, 11
_EPB_FLAGS = 2
_ISB_STARTTIME, _ISB_ENDTIME, _ISB_IFRECV, _ISB_IFDROP = 2, 3, 4, 5
_LIBPCAP_FILTER = b"\0"  # the text of one comes after it

_PACKET = struct.Struct("<IIIIIII")
_FLAGS_AND_LENGTH = {
    direction: struct.pack("<HHI", _EPB_FLAGS, 4, direction) + _END for direction in (INBOUND, OUTBOUND)
}
_PACKET_BYTES = _PACKET.size + 12 + 4  # beside the frame and its padding


def section_header(comment: str) -> bytes:
    options = _option(_COMMENT, comment.encode()) + _option(_SHB_USERAPPL, b"walt")
    return _block(SECTION_HEADER, struct.pack("<IHHQ", BYTE_ORDER_MAGIC, 1, 0, UNKNOWN_LENGTH), options)


def interface_description(name: str, description: str, capture_filter: str = "") -> bytes:
    """The interface with the number 0; its frames are whole, whatever their size."""
    options = _option(_IF_NAME, name.encode()) + _option(_IF_DESCRIPTION, description.encode())
    options += _option(_IF_TSRESOL, bytes([NANOSECONDS]))
    if capture_filter:
        options += _option(_IF_FILTER, _LIBPCAP_FILTER + capture_filter.encode())
    return _block(INTERFACE_DESCRIPTION, struct.pack("<HHI", LINKTYPE_ETHERNET, 0, 0), options)


def packet(time_ns: int, frame: bytes, direction: int) -> bytes:
    size = len(frame)
    padding = -size % 4
    length = _PACKET_BYTES + size + padding
    head = _PACKET.pack(ENHANCED_PACKET, length, 0, time_ns >> 32, time_ns & 0xFFFFFFFF, size, size)
    return b"".join((head, frame, bytes(padding), _FLAGS_AND_LENGTH[direction], length.to_bytes(4, "little")))


def interface_statistics(start_ns: int, end_ns: int, seen: int, dropped: int) -> bytes:
    """seen: frames that the filter let through; dropped: those of them that are not in the file."""
    options = _option(_ISB_STARTTIME, _time(start_ns)) + _option(_ISB_ENDTIME, _time(end_ns))
    options += _option(_ISB_IFRECV, struct.pack("<Q", seen)) + _option(_ISB_IFDROP, struct.pack("<Q", dropped))
    return _block(INTERFACE_STATISTICS, struct.pack("<I", 0) + _time(end_ns), options)


def _time(time_ns: int) -> bytes:
    return struct.pack("<II", time_ns >> 32, time_ns & 0xFFFFFFFF)


def _option(code: int, value: bytes) -> bytes:
    return struct.pack("<HH", code, len(value)) + value + bytes(-len(value) % 4)


def _block(kind: int, body: bytes, options: bytes) -> bytes:
    length = 12 + len(body) + len(options) + len(_END)
    return b"".join((struct.pack("<II", kind, length), body, options, _END, struct.pack("<I", length)))
