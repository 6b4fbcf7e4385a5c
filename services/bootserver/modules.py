"""Kernel modules of an image, unpacked: a busybox loads none that are compressed. No file of a user's fills our memory."""

from __future__ import annotations

import contextlib
import gzip
import lzma
import zlib
from collections.abc import Callable, Generator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from services.bootserver import initrd, rooted
from services.bootserver.initrd import Index, Modules
from services.contracts.errors import Failed
from services.kit.commands import stream

LIMIT_BYTES = 100_000_000  # of one file; the largest modules have 10 MB
PIECE_BYTES = 2**18
SUFFIXES = (".gz", ".xz", ".zst")
_OPENERS: dict[str, Callable[..., Any]] = {".gz": gzip.open, ".xz": lzma.open}


def read(tree: Path, version: str, wanted: Sequence[str]) -> tuple[Modules, dict[str, bytes]]:
    """These modules with all they need, and their content by path; LookupError names a missing one."""
    home = f"lib/modules/{version}"
    needed = [_text(_file(tree, f"{home}/modules.{name}")) for name in ("dep", "builtin")]
    others = (rooted.find_file(tree, f"{home}/modules.{name}") for name in ("alias", "softdep"))
    found = initrd.resolve(wanted, Index(*needed, *(_text(file) if file else "" for file in others)))
    files = {_plain(path): _content(_file(tree, f"{home}/{path}")) for path in found.files}
    return replace(found, lines=tuple(map(_plain, found.lines)), files=tuple(files)), files


def _file(tree: Path, path: str) -> Path:
    file = rooted.find_file(tree, path)
    if file is None:
        raise LookupError(f"{path} is missing")
    return file


def _text(path: Path) -> str:
    return _content(path).decode(errors="replace")


def _content(path: Path) -> bytes:
    content = bytearray()
    try:
        with contextlib.closing(_pieces(path)) as pieces:
            for piece in pieces:
                content += piece
                if len(content) > LIMIT_BYTES:
                    raise LookupError(f"{path.name} is larger than {LIMIT_BYTES / 1e6:.0f} MB")
    except (lzma.LZMAError, zlib.error, EOFError, Failed) as error:
        raise LookupError(f"{path.name} cannot be unpacked: {error}") from None
    return bytes(content)


def _pieces(path: Path) -> Generator[bytes, None, None]:
    if path.suffix == ".zst":
        yield from stream(["zstd", "--quiet", "--decompress", "--stdout", str(path)])
        return
    with _OPENERS.get(path.suffix, open)(path, "rb") as file:
        while piece := file.read(PIECE_BYTES):
            yield piece


def _plain(text: str) -> str:
    for suffix in SUFFIXES:
        text = text.replace(f".ko{suffix}", ".ko")
    return text
