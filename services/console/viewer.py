"""One viewer of a line: replay, then live; each reads the line's file at its own pace."""

from __future__ import annotations

import eventlet

from services.console import metrics
from services.console.courier import Input, Outbox
from services.console.lines import Line
from services.console.scrollback import Replay
from services.contracts import console

BATCH_BYTES = 16_384
BATCH_S = 0.02  # the time for more bytes to come
IDLE_LOOK_S = 0.1  # the file is written by others: look at it, less often while nothing comes


class Viewer:
    """until: the position at which it is over; None: it goes on."""

    kind = metrics.VIEWER

    def __init__(self, line: Line, replay: Replay, read_only: bool, until: int | None) -> None:
        self._line = line
        self._offset = replay.offset
        self._missed = replay.missed
        self._read_only = read_only
        self._until = until
        self._stopped = False
        self._reason = ""
        self._refusal = ""

    def pump(self, outbox: Outbox) -> None:
        pause_s = 0.0
        while not self._stopped:
            if self._send_what_is_there(outbox):
                pause_s = 0.0
                continue
            if self._until is not None:
                break
            self._line.wait_growth(pause_s)
            eventlet.sleep(BATCH_S)
            pause_s = min(pause_s + BATCH_S / 4, IDLE_LOOK_S)
        if self._reason:
            outbox.send(console.NOTICE, self._reason.encode())
        outbox.send(console.EXIT, b"0")

    def take(self, message: Input, outbox: Outbox) -> None:
        if message.kind != console.DATA:
            return  # a serial line has neither size nor end
        if self._read_only:
            self._refuse("this console was opened read-only: input is not sent", outbox)
        elif self._line.write(message.body):
            self._refusal = ""
        else:
            self._refuse(f"no machine of {self._line.log.name} takes input now: it was dropped", outbox)

    def stop(self, reason: str = "") -> None:
        self._reason = self._reason or reason
        self._stopped = True

    def _send_what_is_there(self, outbox: Outbox) -> bool:
        room = BATCH_BYTES if self._until is None else min(BATCH_BYTES, max(0, self._until - self._offset))
        data = self._line.log.read(self._offset, room)
        kept_from = self._line.log.extent().start  # after the read: what was read may have been given back meanwhile
        if kept_from > self._offset:
            self._missed += kept_from - self._offset
            self._offset, data = kept_from, b""
        if self._missed:
            outbox.send(console.NOTICE, f"{self._missed} bytes of the console are no longer kept".encode())
            self._missed = 0
            return True
        if data:
            self._offset += len(data)
            outbox.send(console.DATA, data, offset=self._offset)
        return bool(data)

    def _refuse(self, sentence: str, outbox: Outbox) -> None:
        """Once, not for every keystroke."""
        if sentence != self._refusal:
            self._refusal = sentence
            outbox.send(console.NOTICE, sentence.encode())
