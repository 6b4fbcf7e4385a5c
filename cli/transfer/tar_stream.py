"""The entries of a tar stream that is not trusted, one after another, in little memory whatever the stream claims."""

from __future__ import annotations

import math
import tarfile
from collections.abc import Iterator
from typing import Any

from walt.contracts.errors import Failed

from .pack import BUFFER_BYTES

MAX_HEADER_BYTES = 2**24  # of one entry: names, attributes, and the map of a sparse file
BROKEN = (tarfile.TarError, ValueError, LookupError, ArithmeticError, RecursionError)  # what tarfile makes of any bytes


def entries(source: Any) -> Iterator[tuple[tarfile.TarInfo, tarfile.TarFile]]:
    """Each with the archive, from which its content can be read before the next one is asked for. Failed, or one of
    BROKEN."""
    stream: Any = _Meter(source)
    with tarfile.open(mode="r|", fileobj=stream, bufsize=BUFFER_BYTES) as tar:
        while True:
            tar.members = []  # type: ignore[attr-defined]  # it would keep all
            stream.limit = tar.offset + BUFFER_BYTES + MAX_HEADER_BYTES
            member = tar.next()
            if member is None:
                return
            stream.limit = math.inf
            yield member, tar


class _Meter:
    """tarfile keeps all of a header, which may claim any size: no more than the limit is given to it."""

    def __init__(self, source: Any) -> None:
        self.limit: float = MAX_HEADER_BYTES
        self._source = source
        self._taken = 0

    def read(self, size: int) -> bytes:
        if self._taken > self.limit:
            raise Failed(
                f"the archive has an entry with more than {MAX_HEADER_BYTES} bytes beside its content: refused"
            )
        piece: bytes = self._source.read(size)
        self._taken += len(piece)
        return piece
