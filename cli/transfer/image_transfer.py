"""Files to and from the image store, and jobs of the image store, followed to their end."""

from __future__ import annotations

import base64
import contextlib
import time
from collections.abc import Iterator
from types import TracebackType
from typing import Any

from walt.client import Client
from walt.contracts.bootserver import PIECE_BYTES, ImageChanged, JobView
from walt.contracts.errors import Failed, NotFound, Unreachable, WaltError
from walt.replies import read

from ..ui.messages import Progress, print_message

POLL_S = 0.3
UNREACHABLE_TIMEOUT_S = 30.0  # how long bootserver (or the broker) may be unreachable before a job is given up
PIECE_TIMEOUT_S = 60.0
CLOSE_TIMEOUT_S = 5.0


class Upload:
    """A file object to write to."""

    def __init__(self, client: Client, label: str, **arguments: Any) -> None:
        self._client = client
        self._id = client.call("bootserver", "open_upload", **arguments)
        self._progress = Progress()
        self._label = label
        self._unsent = bytearray()
        self._sent = 0
        self._is_open = True

    def __enter__(self) -> Upload:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._progress.clear()
        if self._is_open:
            close_transfer(self._client, self._id)

    def write(self, data: bytes) -> None:
        self._unsent += data
        while len(self._unsent) >= PIECE_BYTES:
            self._send(bytes(self._unsent[:PIECE_BYTES]))
            del self._unsent[:PIECE_BYTES]

    def finish(self) -> ImageChanged:
        """Start the job that uses the upload, and wait for its result."""
        if self._unsent:
            self._send(bytes(self._unsent))
        with _expiry_is_failure():
            job = self._client.call("bootserver", "finish_upload", upload=self._id)
        self._is_open = False
        self._progress.clear()
        return follow_job(self._client, job, self._label)

    def _send(self, piece: bytes) -> None:
        arguments = {"upload": self._id, "offset": self._sent, "data": base64.b64encode(piece).decode()}
        with _expiry_is_failure():
            self._client.call("bootserver", "write_upload", timeout_s=PIECE_TIMEOUT_S, **arguments)
        self._sent += len(piece)
        self._progress.show(f"{self._label}: {self._sent / 1e6:.0f} MB sent")


class Download:
    """A file object to read from."""

    def __init__(self, client: Client, label: str, image: str, path: str) -> None:
        self._client = client
        self._job = client.call("bootserver", "open_download", image=image, path=path)
        try:
            _poll_job(client, self._job, label)
        except BaseException:
            close_transfer(client, self._job)
            raise
        self._progress = Progress()
        self._label = label
        self._received = 0
        self._at_end = False

    def __enter__(self) -> Download:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._progress.clear()
        close_transfer(self._client, self._job)

    def read(self, _: int = 0) -> bytes:
        """The next piece; b"" at the end."""
        if self._at_end:
            return b""
        arguments = {"job": self._job, "offset": self._received}
        with _expiry_is_failure():
            text = self._client.call("bootserver", "read_download", timeout_s=PIECE_TIMEOUT_S, **arguments)
        piece = base64.b64decode(text)
        self._received += len(piece)
        self._at_end = not piece
        self._progress.show(f"{self._label}: {self._received / 1e6:.0f} MB received")
        return piece


@contextlib.contextmanager
def _expiry_is_failure() -> Iterator[None]:
    """NotFound here means that the transfer has expired, not that it never existed: a failure (exit code 1)."""
    try:
        yield
    except NotFound as expired:
        raise Failed(*expired.args) from expired


def close_transfer(client: Client, transfer: str) -> None:
    """Best effort: the service drops a transfer that is not used any more after a while."""
    with contextlib.suppress(WaltError):
        client.call("bootserver", "close_transfer", timeout_s=CLOSE_TIMEOUT_S, transfer=transfer)


def follow_job(client: Client, job: str, label: str) -> ImageChanged:
    """Wait for the end of a job: what it has changed, or its error. When interrupted, the job goes on."""
    try:
        changed = _poll_job(client, job, label)
    except KeyboardInterrupt:
        print_message(f"{label}: continues on the server; see its result with: walt image show")
        raise
    if changed is None:
        raise Failed(f"{label}: the job has ended without a result")
    return changed


def _poll_job(client: Client, job: str, label: str) -> ImageChanged | None:
    progress, seen, answered_at = Progress(), 0, time.monotonic()
    progress.show(label)
    try:
        while True:
            try:
                view = read(JobView, client.call("bootserver", "follow_job", job=job, seen=seen))
                answered_at = time.monotonic()
            except Unreachable:
                if time.monotonic() - answered_at > UNREACHABLE_TIMEOUT_S:
                    raise
                time.sleep(POLL_S)
                continue
            seen += len(view.output)
            for line in view.output:
                progress.show(f"{label}: {line}")
            if view.done:
                return view.changed
            time.sleep(POLL_S)
    finally:
        progress.clear()
