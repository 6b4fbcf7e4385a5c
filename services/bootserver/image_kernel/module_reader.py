"""Kernel modules of an image, uncompressed: busybox's modprobe loads no others. An image is its user's: what is read
of it is bounded, each file and all of them together."""

from __future__ import annotations

import contextlib
import gzip
import lzma
import zlib
from collections.abc import Callable, Generator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from services.bootserver.image_kernel import chroot_paths, initrd
from services.bootserver.image_kernel.initrd import Index, Modules
from services.kit.subprocesses import stream
from walt.contracts.errors import Failed

LIMIT_BYTES = 100_000_000  # of one file; the largest modules have 10 MB
TOTAL_LIMIT_BYTES = 200_000_000  # of all; those of Debian's cloud kernel have 6 MB
PIECE_BYTES = 2**18
SUFFIXES = (".gz", ".xz", ".zst")
_OPENERS: dict[str, Callable[..., Any]] = {".gz": gzip.open, ".xz": lzma.open}


def read(tree: Path, version: str, wanted: Sequence[str]) -> tuple[Modules, dict[str, bytes]]:
    """These modules with all they need, and the content of their files by path. LookupError names what is missing, too
    large or damaged."""
    reader = _Reader(tree, f"lib/modules/{version}")
    index = Index(*map(reader.text, ("modules.dep", "modules.builtin")),
                  *map(reader.text_if_there, ("modules.alias", "modules.softdep")))  # fmt: skip
    found = initrd.resolve(wanted, index)
    files = {_uncompressed(path): reader.content(path) for path in found.files}
    return replace(found, lines=tuple(map(_uncompressed, found.lines)), files=tuple(files)), files


class _Reader:
    """Files of one folder of the image, until TOTAL_LIMIT_BYTES are read."""

    def __init__(self, tree: Path, folder: str) -> None:
        self._tree = tree
        self._folder = folder
        self._left = TOTAL_LIMIT_BYTES

    def text(self, name: str) -> str:
        return self.content(name).decode(errors="replace")

    def text_if_there(self, name: str) -> str:
        return self.text(name) if chroot_paths.find_file(self._tree, f"{self._folder}/{name}") else ""

    def content(self, name: str) -> bytes:
        path = chroot_paths.find_file(self._tree, f"{self._folder}/{name}")
        if path is None:
            raise LookupError(f"{self._folder}/{name} is missing")
        content = bytearray()
        try:
            with contextlib.closing(_pieces(path)) as pieces:
                for piece in pieces:
                    content += piece
                    self._take(path.name, len(content), len(piece))
        except (lzma.LZMAError, zlib.error, EOFError, Failed) as error:
            raise LookupError(f"{path.name} cannot be unpacked: {error}") from None
        return bytes(content)

    def _take(self, name: str, file_bytes: int, piece_bytes: int) -> None:
        self._left -= piece_bytes
        if file_bytes > LIMIT_BYTES:
            raise LookupError(f"{name} is larger than {LIMIT_BYTES / 1e6:.0f} MB")
        if self._left < 0:
            raise LookupError(f"the modules it needs are larger than {TOTAL_LIMIT_BYTES / 1e6:.0f} MB")


def _pieces(path: Path) -> Generator[bytes, None, None]:
    if path.suffix == ".zst":
        yield from stream(["zstd", "--quiet", "--decompress", "--stdout", str(path)])
        return
    with _OPENERS.get(path.suffix, open)(path, "rb") as file:
        while piece := file.read(PIECE_BYTES):
            yield piece


def _uncompressed(text: str) -> str:
    """Paths, or a line of them, as the initrd has them: without the suffix of a compression."""
    for suffix in SUFFIXES:
        text = text.replace(f".ko{suffix}", ".ko")
    return text
