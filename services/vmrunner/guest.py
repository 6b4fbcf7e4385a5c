"""Ask the system inside a machine to make its end a clean one, over ssh."""

from __future__ import annotations

import threading
from collections.abc import Callable

from services.contracts import console, wire
from services.contracts.console import CommandEnd
from services.contracts.errors import Failed, WaltError
from services.kit import peers

PEER_GRACE_S = 2.0
LOST = 255  # ssh's status when the guest closes the connection, as one that shuts down may


class Request:
    """A command under way in the guest. done: it has ended; fault: why it was to no avail."""

    def __init__(self, host: str, node_id: int, command: str, limit_s: float, on_end: Callable[[], None]) -> None:
        self.done = False
        self.fault = ""
        self._command = command
        self._on_end = on_end
        threading.Thread(target=self._carry_out, args=(host, node_id, limit_s), daemon=True).start()

    def _carry_out(self, host: str, node_id: int, limit_s: float) -> None:
        service, patience_s = console.service_on(host), limit_s + PEER_GRACE_S
        try:
            answer = peers.call(service, "run_command", node_id, [self._command], limit_s, timeout_s=patience_s)
            end = wire.load(CommandEnd, answer)
            if end.status not in (0, LOST):
                raise Failed(f"status {end.status}: {end.output.strip()}")
        except WaltError as error:
            self.fault = f"the guest cannot be asked to {self._command}: {error}"
        finally:
            self.done = True
            self._on_end()
