"""Kernels, initrds and roots, fetched once for all nodes: one file per content, named by its SHA-256, the server's
ETag. A download that breaks off is kept as `.DIGEST`, and goes on where it ended."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import os
import re
import shutil
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from services.vmrunner.boot.script_host import Fetched, Progress
from walt.contracts.errors import Failed

TIMEOUT_S = 15.0
CHUNK_BYTES = 1 << 18
MAX_SCRIPT_BYTES = 1 << 16
MAX_FILE_BYTES = 1 << 35
MAX_CACHE_BYTES = 30 << 30
RESERVE_BYTES = 1 << 30  # of the host's disk, which downloads leave free
UNUSED_DAYS = 30
IN_USE_S = 3600.0  # a boot that has just fetched a file is about to open it
LOCKS = 64
LOCK_LOOK_S = 1.0

_SHA256 = re.compile(r"[0-9a-f]{64}")


class BootFileCache:
    """Fetches for the bootloader (see script_host.Fetcher)."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._locks = [threading.Lock() for _ in range(LOCKS)]  # a content has one of them
        folder.mkdir(parents=True, exist_ok=True)

    def text(self, url: str, on_progress: Progress) -> str:
        on_progress(0, 0)
        with _opened(url, "GET") as reply:
            content = reply.read(MAX_SCRIPT_BYTES + 1)
        if len(content) > MAX_SCRIPT_BYTES:
            raise Failed(f"{url}: longer than {MAX_SCRIPT_BYTES} bytes: not a script")
        if reply.length:  # what has not arrived
            raise Failed(f"{url}: cut short")
        return str(content.decode(errors="replace"))

    def file(self, url: str, on_progress: Progress) -> Fetched:
        """The content that the server has now. Many nodes that boot at once fetch it once."""
        with _opened(url, "HEAD") as reply:
            digest, size = _digest(url, reply), int(reply.headers.get("Content-Length", 0))
        with _held(self._locks[int(digest, 16) % LOCKS], on_progress):
            path = self._folder / digest
            if path.exists():
                os.utime(path)
            else:
                self._check_room(url, size)
                self._download(url, path, size, on_progress)
                self._prune()
            return Fetched(path, path.stat().st_size)

    def _check_room(self, url: str, size: int) -> None:
        if size > MAX_FILE_BYTES:
            raise Failed(f"{url}: longer than {MAX_FILE_BYTES} bytes")
        free = self._free_after_pruning(RESERVE_BYTES + size)
        if free - size < RESERVE_BYTES:
            raise Failed(f"{url}: {size / 1e6:.0f} MB, but this host has {free / 1e6:.0f} MB of disk space left")

    def _download(self, url: str, path: Path, size: int, on_progress: Progress) -> None:
        partial = path.with_name(f".{path.name}")
        with open(partial, "ab+") as file:
            file.seek(0)
            digest = hashlib.file_digest(file, "sha256")
            with _opened(url, "GET", begin=file.tell()) as reply:
                if reply.status != http.client.PARTIAL_CONTENT:
                    file.truncate(0)
                    digest = hashlib.sha256()
                while chunk := reply.read(CHUNK_BYTES):
                    on_progress(file.tell(), size)
                    digest.update(chunk)
                    file.write(chunk)
                    if file.tell() > MAX_FILE_BYTES:
                        raise Failed(f"{url}: longer than {MAX_FILE_BYTES} bytes")
            os.fchmod(file.fileno(), 0o644)
            file.flush()
            os.fsync(file.fileno())  # its name is its content's digest, also after a power failure
        if digest.hexdigest() != path.name:
            partial.unlink()
            raise Failed(f"{url}: its content does not match its ETag (cut short, or changed meanwhile)")
        os.replace(partial, path)

    def _free_after_pruning(self, wanted_bytes: int) -> int:
        """The least recently used make room for what is to come: who boots many images keeps nobody from booting."""
        by_use = sorted((path.stat().st_mtime, path) for path in self._folder.iterdir())
        for used_at, path in by_use:
            if shutil.disk_usage(self._folder).free >= wanted_bytes or time.time() - used_at <= IN_USE_S:
                break
            path.unlink(missing_ok=True)
        return shutil.disk_usage(self._folder).free

    def _prune(self) -> None:
        """Remove what no boot has used for long, and the least recently used beyond MAX_CACHE_BYTES; a running qemu
        keeps what it has open."""
        now, total = time.time(), 0
        files = sorted(((path.stat(), path) for path in self._folder.iterdir()), key=lambda one: -one[0].st_mtime)
        for status, path in files:
            total += status.st_size
            age_s = now - status.st_mtime
            if age_s > UNUSED_DAYS * 86_400 or (total > MAX_CACHE_BYTES and age_s > IN_USE_S):
                path.unlink(missing_ok=True)


@contextlib.contextmanager
def _held(lock: threading.Lock, on_progress: Progress) -> Iterator[None]:
    while not lock.acquire(timeout=LOCK_LOOK_S):
        on_progress(0, 0)
    try:
        yield
    finally:
        lock.release()


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Where a redirection leads has not been checked: it is an HTTP error."""

    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        return None


_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirect)


@contextlib.contextmanager
def _opened(url: str, method: str, begin: int = 0) -> Iterator[http.client.HTTPResponse]:
    """Errors, at its opening or later, name the URL."""
    try:
        headers = {"Range": f"bytes={begin}-"} if begin else {}
        with _opener.open(urllib.request.Request(url, None, headers, method=method), timeout=TIMEOUT_S) as reply:
            yield reply
    except urllib.error.HTTPError as error:
        error.close()
        raise Failed(f"{url}: {error.code} {error.reason}") from None
    except http.client.IncompleteRead:
        raise Failed(f"{url}: cut short") from None
    except (http.client.HTTPException, ValueError) as error:
        raise Failed(f"{url}: this is not HTTP ({error!r})") from None
    except OSError as error:
        raise Failed(f"{url}: {getattr(error, 'reason', error)}") from None


def _digest(url: str, reply: http.client.HTTPResponse) -> str:
    digest = reply.headers.get("ETag", "").removeprefix("W/").strip('"')
    if not _SHA256.fullmatch(digest):
        raise Failed(f"{url}: no SHA-256 in its ETag ('{digest}')")
    return digest
