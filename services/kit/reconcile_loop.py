"""Reconcile with the peers: at start as soon as they answer, then now and then.

An event may be lost, and a process may be killed at any line: the next reconciliation repairs what they left.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from services.kit.say_once import SayOnce
from walt.contracts.errors import WaltError

RETRY_S = 1.0
AFTER_DEFECT_S = 30.0

log = logging.getLogger(__name__)


def keep_in_step(reconcile: Callable[[], None], every_s: float, wake: threading.Event | None = None) -> None:
    """Never returns. While a peer is away it retries each RETRY_S, and after a defect of ours AFTER_DEFECT_S later.
    wake: when it is set, the next reconciliation is due."""
    fault = SayOnce(log, "not reconciled yet: %s", "reconciled again")
    while True:
        pause_s = 0.0
        if wake is not None:
            wake.clear()
        try:
            reconcile()
            fault.succeeded()
        except WaltError as error:
            pause_s = RETRY_S
            fault.failed(error)
        except Exception:
            pause_s = AFTER_DEFECT_S
            log.exception("not reconciled")
        if pause_s or wake is None:
            time.sleep(pause_s or every_s)
        else:
            wake.wait(every_s)
