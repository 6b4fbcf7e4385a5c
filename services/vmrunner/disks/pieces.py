"""A sparse file as the pieces of it that are not all zero, at multiples of PIECE_BYTES."""

from __future__ import annotations

import base64
import errno
import hashlib
import os
import zlib
from pathlib import Path

from walt.contracts.errors import Failed
from walt.contracts.vmrunner import MovingPiece

PIECE_BYTES = 2**20
BLOCK_BYTES = 4096  # as the file system allocates them: those that are all zero take no space
SAMPLE_BYTES, WORTH = 2**15, 0.9
LOOKED_PIECES = 64  # of zeros that were written: so many in one answer
END = -1


def read(path: Path, offset: int) -> MovingPiece:
    """The first one at or after this multiple of PIECE_BYTES."""
    with path.open("rb", buffering=0) as file:
        for _ in range(LOOKED_PIECES):
            offset = _next_data(file.fileno(), offset)
            if offset == END:
                break
            content = os.pread(file.fileno(), PIECE_BYTES, offset)
            if content.strip(b"\0"):
                data = base64.b64encode(zlib.compress(content, _level(content))).decode()
                return MovingPiece(offset, data, _digest(content), offset + PIECE_BYTES)
            offset += PIECE_BYTES
    return MovingPiece(0, "", "", offset)


def write(file: int, piece: MovingPiece) -> None:
    """Failed when it is not what was read at its host."""
    try:
        unpacked = zlib.decompressobj()
        content = unpacked.decompress(base64.b64decode(piece.data), PIECE_BYTES)
    except (ValueError, zlib.error) as error:
        raise Failed(f"the piece at {piece.offset} cannot be read: {error}") from None
    if piece.offset < 0 or _digest(content) != piece.digest:
        raise Failed(f"the piece at {piece.offset} is damaged")
    for start in range(0, len(content), BLOCK_BYTES):
        block = content[start : start + BLOCK_BYTES]
        if block.strip(b"\0") and os.pwrite(file, block, piece.offset + start) != len(block):
            raise Failed(f"the piece at {piece.offset} cannot be written whole")


def check(file: int, offset: int, digest: str) -> None:
    """Failed when this is not what is there."""
    if _digest(os.pread(file, PIECE_BYTES, offset)) != digest:
        raise Failed(f"what was written at {offset} is not there")


def _next_data(file: int, offset: int) -> int:
    """A multiple of PIECE_BYTES; END."""
    try:
        return max(offset, os.lseek(file, offset, os.SEEK_DATA) // PIECE_BYTES * PIECE_BYTES)
    except OSError as error:
        if error.errno == errno.ENXIO:
            return END
        raise


def _level(content: bytes) -> int:
    """0 where the beginning tells that compression would gain little."""
    sample = content[:SAMPLE_BYTES]
    return 1 if len(zlib.compress(sample, 1)) < WORTH * len(sample) else 0


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
