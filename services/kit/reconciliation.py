"""Keep the world in step with what the peers say: at start as soon as they answer, then now and then.

An event may be lost, and a process may be killed at any line: what they left is made good here.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from services.contracts.errors import WaltError

RETRY_S = 1.0
AFTER_DEFECT_S = 30.0

log = logging.getLogger(__name__)


def keep_in_step(reconcile: Callable[[], None], every_s: float) -> None:
    """Never returns. A peer that is away is said once, not at every try; a defect of ours ends nothing."""
    said = ""
    while True:
        pause_s = every_s
        try:
            reconcile()
            said = ""
        except WaltError as error:
            pause_s = RETRY_S
            if str(error) != said:
                said = str(error)
                log.warning("not reconciled yet: %s", said)
        except Exception:
            pause_s = AFTER_DEFECT_S
            log.exception("not reconciled")
        time.sleep(pause_s)
