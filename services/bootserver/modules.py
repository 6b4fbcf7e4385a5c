"""Kernel modules of an image, unpacked: a busybox loads none that are compressed."""

from __future__ import annotations

import gzip
import lzma
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from services.bootserver import initrd, rooted
from services.bootserver.initrd import Index, Modules
from services.contracts.errors import Failed
from services.kit.commands import stream


def read(tree: Path, version: str, wanted: Sequence[str]) -> tuple[Modules, dict[str, bytes]]:
    """These modules with all they need, and their content by path; LookupError names a missing one."""
    home = f"lib/modules/{version}"
    needed = [_file(tree, f"{home}/modules.{name}").read_text() for name in ("dep", "builtin")]
    found = initrd.resolve(
        wanted, Index(*needed, *(_text(tree, f"{home}/modules.{name}") for name in ("alias", "softdep")))
    )
    files = {_plain(path): _content(_file(tree, f"{home}/{path}")) for path in found.files}
    return replace(found, lines=tuple(map(_plain, found.lines)), files=tuple(files)), files


def _file(tree: Path, path: str) -> Path:
    file = rooted.find_file(tree, path)
    if file is None:
        raise LookupError(f"{path} is missing")
    return file


def _text(tree: Path, path: str) -> str:
    file = rooted.find_file(tree, path)
    return file.read_text() if file else ""


def _content(path: Path) -> bytes:
    try:
        return _READERS.get(path.suffix, Path.read_bytes)(path)
    except (lzma.LZMAError, EOFError, Failed) as error:
        raise LookupError(f"{path.name} cannot be unpacked: {error}") from None


_READERS: dict[str, Callable[[Path], bytes]] = {
    ".gz": lambda path: gzip.decompress(path.read_bytes()),
    ".xz": lambda path: lzma.decompress(path.read_bytes()),
    ".zst": lambda path: b"".join(stream(["zstd", "--quiet", "--decompress", "--stdout", str(path)])),
}


def _plain(text: str) -> str:
    for suffix in _READERS:
        text = text.replace(f".ko{suffix}", ".ko")
    return text
