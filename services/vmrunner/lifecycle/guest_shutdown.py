"""Tell the system inside a VM to end cleanly, over ssh, and wait for it without keeping anything else waiting."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from services.kit.guest_command import run_in_guest
from services.vmrunner.lifecycle.decision import POWER_OFF_GUEST, SYNC_GUEST
from services.vmrunner.lifecycle.runner_context import RunnerContext
from services.vmrunner.qemu.vm import Vm
from walt.contracts.errors import WaltError

SYNC_LIMIT_S = 5.0
SENTENCES = {POWER_OFF_GUEST: "asking the guest to shut down", SYNC_GUEST: "asking the guest to sync"}

log = logging.getLogger(__name__)


class GuestCommand:
    """say: writes a sentence on the node's console. wakeup: set when the command has ended, and by whatever may end the
    wait for it."""

    def __init__(
        self, context: RunnerContext, node_id: int, say: Callable[[str], None], wakeup: threading.Event
    ) -> None:
        self._context = context
        self._node_id = node_id
        self._say = say
        self._wakeup = wakeup
        self._done = False
        self._fault = ""

    def run(self, vm: Vm, required: Callable[[], str]) -> None:
        """Returns when it has had its effect, has failed, has taken too long, or another command is required.
        required: the command that the guest must be told now, "" for none."""
        command = required()
        if vm.ending or not command:
            return
        limit_s = self._context.soft_end_s
        if command == SYNC_GUEST:
            limit_s = min(SYNC_LIMIT_S, limit_s)
        self._say(SENTENCES[command])
        threading.Thread(target=self._tell, args=(command, limit_s), daemon=True).start()
        expires = time.monotonic() + limit_s
        while required() == command and not vm.ending and time.monotonic() < expires:
            if self._fault or (self._done and command == SYNC_GUEST):
                break
            self._wakeup.wait(max(0.0, expires - time.monotonic()))
            self._wakeup.clear()
        if self._fault:
            log.warning("node %d: %s", self._node_id, self._fault)
            self._say(self._fault)

    def _tell(self, command: str, limit_s: float) -> None:
        try:
            run_in_guest(self._context.bus.call, self._context.name, self._node_id, command, limit_s)
        except WaltError as error:
            self._fault = f"the guest cannot be told to {command}: {error}"
        finally:
            self._done = True
            self._wakeup.set()
