"""One viewer of a line: replay, then live; each viewer reads the recording at its own pace.

qemu writes the recording without telling us, so an idle viewer looks at the file ten times a second. A shared watcher
would be less work only where several users view the same line.
"""

from __future__ import annotations

from services.console import metrics
from services.console.amqp_streams import InputMessage, SessionPublisher
from services.console.line.line import ConsoleLine
from services.console.line.scrollback import Replay
from services.kit import tasks
from walt.contracts import console
from walt.contracts.errors import EXIT_SESSION_LOST

BATCH_BYTES = 16_384
BATCH_S = 0.02  # how long to wait for more bytes, so that they travel together
IDLE_POLL_S = 0.1  # the longest pause between two looks at the file


class LineViewer:
    """An endpoint (`sessions.Endpoint`). until: the offset at which the viewer ends; None: it follows the line."""

    kind = metrics.VIEWER

    def __init__(self, line: ConsoleLine, replay: Replay, read_only: bool, until: int | None) -> None:
        self._line = line
        self._offset = replay.offset
        self._missed = replay.missed
        self._read_only = read_only
        self._until = until
        self._stopped = False
        self._stop_reason = ""
        self._last_refusal = ""

    def run(self, publisher: SessionPublisher) -> None:
        pause_s = 0.0
        while not self._stopped:
            if self._send_next(publisher):
                pause_s = 0.0
                continue
            if self._until is not None:
                break
            self._line.wait_for_growth(pause_s)
            tasks.sleep(BATCH_S)
            pause_s = min(pause_s + BATCH_S / 4, IDLE_POLL_S)
        if self._stop_reason:
            publisher.send(console.NOTICE, self._stop_reason.encode())
        publisher.send(console.EXIT, str(EXIT_SESSION_LOST if self._stop_reason else 0).encode())

    def handle(self, message: InputMessage, publisher: SessionPublisher) -> None:
        if message.kind != console.DATA:
            return  # a serial line has neither a size nor an end of input
        if self._read_only:
            self._refuse("this console was opened read-only: input is not sent", publisher)
        elif self._line.write(message.body):
            self._last_refusal = ""
        else:
            self._refuse(f"no VM of {self._line.recording.name} takes input now: it was dropped", publisher)

    def stop(self, reason: str = "") -> None:
        self._stop_reason = self._stop_reason or reason
        self._stopped = True

    def _send_next(self, publisher: SessionPublisher) -> bool:
        """Whether there was something to send."""
        size = BATCH_BYTES if self._until is None else min(BATCH_BYTES, max(0, self._until - self._offset))
        data = self._line.recording.read(self._offset, size)
        # Looked up after the read: what was read may have been dropped meanwhile.
        kept_from = self._line.recording.extent().start
        if kept_from > self._offset:
            self._missed += kept_from - self._offset
            self._offset, data = kept_from, b""
        if self._missed:
            publisher.send(console.NOTICE, f"{self._missed} bytes of the console are no longer kept".encode())
            self._missed = 0
            return True
        if data:
            self._offset += len(data)
            publisher.send(console.DATA, data, offset=self._offset)
        return bool(data)

    def _refuse(self, sentence: str, publisher: SessionPublisher) -> None:
        """Report the same refusal once, not for every keystroke."""
        if sentence != self._last_refusal:
            self._last_refusal = sentence
            publisher.send(console.NOTICE, sentence.encode())
