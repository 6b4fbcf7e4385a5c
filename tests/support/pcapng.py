"""A pcapng file as its specification reads it, written apart from what writes it."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

SECTION, INTERFACE, STATISTICS, PACKET = 0x0A0D0D0A, 1, 5, 6
FIXED = {SECTION: 16, INTERFACE: 8, STATISTICS: 12, PACKET: 20}  # bytes of a block before its options


@dataclass(frozen=True)
class Frame:
    time_ns: int
    data: bytes
    direction: int  # 1 inbound, 2 outbound


@dataclass
class CaptureFile:
    options: dict[int, dict[int, bytes]] = field(default_factory=dict)  # {kind of block: {code: value}}
    frames: list[Frame] = field(default_factory=list)

    @property
    def comment(self) -> str:
        return self.options[SECTION][1].decode()

    @property
    def statistics(self) -> tuple[int, int]:
        """Seen, dropped."""
        options = self.options[STATISTICS]
        return struct.unpack("<Q", options[4])[0], struct.unpack("<Q", options[5])[0]


def read(data: bytes) -> CaptureFile:
    """AssertionError where it is not as the specification wants it."""
    file = CaptureFile()
    for kind, body in blocks(data):
        _take(file, kind, body)
    return file


def blocks(data: bytes) -> list[tuple[int, bytes]]:
    """(kind, body), …"""
    found, place = [], 0
    while place < len(data):
        kind, length = struct.unpack_from("<II", data, place)
        assert length % 4 == 0 and place + length <= len(data)
        assert struct.unpack_from("<I", data, place + length - 4) == (length,)
        found.append((kind, data[place + 8 : place + length - 4]))
        place += length
    return found


def _take(file: CaptureFile, kind: int, body: bytes) -> None:
    fixed = body[: FIXED[kind]]
    if kind == PACKET:
        interface, high, low, captured, original = struct.unpack("<5I", fixed)
        assert interface == 0 and captured == original
        padded = captured + -captured % 4
        flags = options_of(body[20 + padded :])[2]
        file.frames.append(Frame(high << 32 | low, body[20 : 20 + captured], struct.unpack("<I", flags)[0]))
        return
    assert kind not in file.options and (kind == SECTION) == (not file.options), "each once, the section first"
    if kind == SECTION:
        assert struct.unpack("<IHHq", fixed) == (0x1A2B3C4D, 1, 0, -1)
    if kind == INTERFACE:
        assert struct.unpack("<HHI", fixed) == (1, 0, 0)
    file.options[kind] = options_of(body[FIXED[kind] :])


def options_of(data: bytes) -> dict[int, bytes]:
    found, place = {}, 0
    while place < len(data):
        code, length = struct.unpack_from("<HH", data, place)
        if code == 0:
            assert length == 0 and place + 4 == len(data)
            return found
        found[code] = data[place + 4 : place + 4 + length]
        place += 4 + length + -length % 4
    raise AssertionError("options without an end")
