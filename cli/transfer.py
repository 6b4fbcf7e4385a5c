"""Files to and from the image store, and the work on them, followed to its end."""

from __future__ import annotations

import base64
import contextlib
import time
from collections.abc import Iterator
from types import TracebackType
from typing import Any

from cli.output import Progress, say
from services.contracts.bootserver import PIECE_BYTES
from services.contracts.errors import Failed, NotFound, Unreachable, WaltError

POLL_S = 0.3
AWAY_S = 30.0  # how long bootserver (or the broker) may be away before following is given up
PIECE_TIMEOUT_S = 60.0
CLOSE_TIMEOUT_S = 5.0


class Upload:
    """A file to write to."""

    def __init__(self, client: Any, label: str, **what: Any) -> None:
        self._client = client
        self._id = client.call("bootserver", "open_upload", **what)
        self._progress = Progress()
        self._label = label
        self._rest = bytearray()
        self._sent = 0
        self._is_ours = True  # to close

    def __enter__(self) -> Upload:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._progress.clear()
        if self._is_ours:
            close(self._client, self._id)

    def write(self, data: bytes) -> None:
        self._rest += data
        while len(self._rest) >= PIECE_BYTES:
            self._send(bytes(self._rest[:PIECE_BYTES]))
            del self._rest[:PIECE_BYTES]

    def finish(self) -> dict[str, Any]:
        """What the work with it has changed."""
        if self._rest:
            self._send(bytes(self._rest))
        with _kept_up():
            job = self._client.call("bootserver", "finish_upload", upload=self._id)
        self._is_ours = False
        self._progress.clear()
        return follow(self._client, job, self._label)

    def _send(self, piece: bytes) -> None:
        arguments = {"upload": self._id, "offset": self._sent, "data": base64.b64encode(piece).decode()}
        with _kept_up():
            self._client.call("bootserver", "write_upload", timeout_s=PIECE_TIMEOUT_S, **arguments)
        self._sent += len(piece)
        self._progress.show(f"{self._label}: {self._sent / 1e6:.0f} MB sent")


class Download:
    """A file to read from."""

    def __init__(self, client: Any, label: str, image: str, path: str) -> None:
        self._client = client
        self._job = client.call("bootserver", "open_download", image=image, path=path)
        try:
            _follow(client, self._job, label)
        except BaseException:
            close(client, self._job)
            raise
        self._progress = Progress()
        self._label = label
        self._received = 0
        self._at_end = False

    def __enter__(self) -> Download:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._progress.clear()
        close(self._client, self._job)

    def read(self, _: int = 0) -> bytes:
        """The next piece; b"" at the end."""
        if self._at_end:
            return b""
        arguments = {"job": self._job, "offset": self._received}
        with _kept_up():
            text = self._client.call("bootserver", "read_download", timeout_s=PIECE_TIMEOUT_S, **arguments)
        piece = base64.b64decode(text)
        self._received += len(piece)
        self._at_end = not piece
        self._progress.show(f"{self._label}: {self._received / 1e6:.0f} MB received")
        return piece


@contextlib.contextmanager
def _kept_up() -> Iterator[None]:
    """A transfer that is lost is none that was never there."""
    try:
        yield
    except NotFound as lost:
        raise Failed(*lost.args) from lost


def close(client: Any, transfer: str) -> None:
    """What cannot be closed now is dropped by the service after a while."""
    with contextlib.suppress(WaltError):
        client.call("bootserver", "close_transfer", timeout_s=CLOSE_TIMEOUT_S, transfer=transfer)


def follow(client: Any, job: str, label: str) -> dict[str, Any]:
    """Until it is done: what it has changed, or its error. It goes on without us."""
    try:
        return _follow(client, job, label)
    except KeyboardInterrupt:
        say(f"{label}: the server goes on with it; what comes of it: walt image show")
        raise


def _follow(client: Any, job: str, label: str) -> dict[str, Any]:
    progress, seen, answered = Progress(), 0, time.monotonic()
    progress.show(label)
    try:
        while True:
            try:
                view = client.call("bootserver", "follow_job", job=job, seen=seen)
                answered = time.monotonic()
            except Unreachable:
                if time.monotonic() - answered > AWAY_S:
                    raise
                time.sleep(POLL_S)
                continue
            seen += len(view["said"])
            for sentence in view["said"]:
                progress.show(f"{label}: {sentence}")
            if view["done"]:
                return view["changed"] or {}  # nothing, by a download
            time.sleep(POLL_S)
    finally:
        progress.clear()
