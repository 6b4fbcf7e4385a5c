"""Unpack tars that users or their nodes have sent.

By GNU tar, and into an empty folder only: there it follows no symbolic link, and strips names that lead out of it.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Container, Sequence
from pathlib import Path

from services.kit.subprocesses import DIE_WITH_PARENT, ProgramFailed, follow
from walt.contracts import file_attributes
from walt.contracts.errors import InvalidRequest, LimitReached

LIMIT_S = 1800
STDERR_CHARS = 1000  # tar reports file after file; the end will do
BLOCK_BYTES, SPARE_BLOCKS = 512, 2048  # of `ulimit -f`; the spare ones are for what tar writes to its stderr
RECORD_BYTES = 10_240  # of tar, which counts those that it has read, unpacked
END_AT_CHECKPOINT = "--checkpoint-action=exec=kill -s XCPU $PPID"  # that of tar itself
EXTRACT = (
    *("tar", "--extract", "--numeric-owner", "--same-owner", "--same-permissions", "--delay-directory-restore"),
    *file_attributes.TAR_OPTIONS,
)


def unpack_compressed(archive: Path, folder: Path, options: Sequence[str], limit_bytes: int | None) -> None:
    """The tar may be compressed, and a compressed one may claim any size: it is unpacked up to the limit. Without a
    limit the caller has to watch the disk."""
    limited = [] if limit_bytes is None else [f"--checkpoint={limit_bytes // RECORD_BYTES + 1}", END_AT_CHECKPOINT]
    _follow([*EXTRACT, *limited, *options, "--file", str(archive), "--directory", str(folder)])


def unpack(archive: Path, folder: Path, names: Container[str] | None = None) -> None:
    """A tar of which the top level holds nothing but `names`, if they are given. It is read as it is, not decompressed;
    and no file in it may be larger than the tar, as sparse ones can claim to be."""
    limited = 'ulimit -f "$1"; shift; exec "$@" < "$0"'  # tar decompresses what it opens, but not its standard input
    blocks = archive.stat().st_size // BLOCK_BYTES + SPARE_BLOCKS
    _follow(["sh", "-c", limited, str(archive), str(blocks), *EXTRACT, "--file", "-", "--directory", str(folder)])
    for name in os.listdir(folder):
        if names is not None and name not in names:
            raise InvalidRequest(f"what was sent holds '{name}', which does not belong there")


def _follow(argv: Sequence[str]) -> None:
    try:
        follow([*DIE_WITH_PARENT, *argv], print, timeout=LIMIT_S)
    except ProgramFailed as failure:
        if failure.status == -signal.SIGXCPU:
            raise LimitReached("what was sent is larger than what image.space has left (walt user show)") from None
        reason = (
            "a file in it claims to be larger" if failure.status == -signal.SIGXFSZ else failure.stderr[-STDERR_CHARS:]
        )
        raise InvalidRequest(f"what was sent cannot be unpacked: {reason}") from None
