"""Kernels and initrds, fetched once for all nodes: one file per content, named by the server's ETag (its SHA-256)."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import os
import re
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from services.contracts.errors import Failed
from services.vmrunner.ipxe import Fetched

TIMEOUT_S = 15.0
CHUNK_BYTES = 1 << 18
MAX_SCRIPT_BYTES = 1 << 20
UNUSED_DAYS = 30

_SHA256 = re.compile(r"[0-9a-f]{64}")


class Cache:
    """Where the bootloader fetches from (see ipxe.Fetcher)."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._turns: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
        folder.mkdir(parents=True, exist_ok=True)
        for leftover in folder.glob(".*"):
            leftover.unlink()

    def text(self, url: str) -> str:
        with _opened(url, "GET") as reply:
            content = reply.read(MAX_SCRIPT_BYTES + 1)
        if len(content) > MAX_SCRIPT_BYTES:
            raise Failed(f"{url}: longer than {MAX_SCRIPT_BYTES} bytes: not a script")
        if reply.length:  # that is what has not come of it
            raise Failed(f"{url}: cut short")
        return str(content.decode(errors="replace"))

    def file(self, url: str) -> Fetched:
        """The content that the server has now. Many nodes booting at once fetch it once."""
        with self._turns[url]:
            with _opened(url, "HEAD") as reply:
                digest = _digest(url, reply)
            path = self._folder / digest
            if path.exists():
                os.utime(path)
            else:
                self._download(url, path)
                self._prune()
            return Fetched(path, path.stat().st_size)

    def _download(self, url: str, path: Path) -> None:
        handle, temporary = tempfile.mkstemp(prefix=".", dir=self._folder)
        try:
            with os.fdopen(handle, "wb") as file, _opened(url, "GET") as reply:
                digest = hashlib.sha256()
                while chunk := reply.read(CHUNK_BYTES):
                    digest.update(chunk)
                    file.write(chunk)
                os.fchmod(file.fileno(), 0o644)
                file.flush()
                os.fsync(file.fileno())  # its name says what it holds: also after the host has lost its power
            if digest.hexdigest() != path.name:
                raise Failed(f"{url}: what came is not what its ETag says (cut short, or changed meanwhile)")
            os.replace(temporary, path)
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary)

    def _prune(self) -> None:
        """Forget what no boot has used for long; a running qemu has its own copy in memory."""
        oldest = time.time() - UNUSED_DAYS * 86_400
        for path in self._folder.iterdir():
            with contextlib.suppress(FileNotFoundError):
                if path.stat().st_mtime < oldest:
                    path.unlink()


@contextlib.contextmanager
def _opened(url: str, method: str) -> Iterator[http.client.HTTPResponse]:
    """What goes wrong with it, at its opening or later, is told with the URL."""
    if not url.startswith("http://"):
        raise Failed(f"{url}: only http:// can be fetched here")
    try:
        with urllib.request.urlopen(urllib.request.Request(url, method=method), timeout=TIMEOUT_S) as reply:
            yield reply
    except urllib.error.HTTPError as error:
        error.close()
        raise Failed(f"{url}: {error.code} {error.reason}") from None
    except http.client.IncompleteRead:
        raise Failed(f"{url}: cut short") from None
    except http.client.HTTPException as error:
        raise Failed(f"{url}: this is not HTTP ({error!r})") from None
    except OSError as error:
        raise Failed(f"{url}: {getattr(error, 'reason', error)}") from None


def _digest(url: str, reply: http.client.HTTPResponse) -> str:
    digest = reply.headers.get("ETag", "").removeprefix("W/").strip('"')
    if not _SHA256.fullmatch(digest):
        raise Failed(f"{url}: no SHA-256 in its ETag ('{digest}')")
    return digest
