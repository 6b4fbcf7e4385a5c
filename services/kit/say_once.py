"""Log a fault that lasts once, not at each try."""

from __future__ import annotations

import logging


class SayOnce:
    """Logs a fault when it is new or has become another one, and once when it is over.

    on_fault is a logging format with one %s for the error; on_end the message when it is over:
    SayOnce(log, "waiting for the broker: %s", "the broker answers again"). fault: the present one, "" for none.
    """

    def __init__(self, logger: logging.Logger, on_fault: str, on_end: str) -> None:
        self.fault = ""
        self._logger = logger
        self._on_fault = on_fault
        self._on_end = on_end
        self._kind: object = None

    def failed(self, error: BaseException | str, kind: object = None) -> None:
        """kind tells faults apart, for errors whose text differs at each try; by default their type and text do."""
        self.fault = str(error) or repr(error)
        new_kind = (type(error), self.fault) if kind is None else kind
        if new_kind != self._kind:
            self._kind = new_kind
            self._logger.warning(self._on_fault, self.fault)

    def succeeded(self) -> None:
        if self._kind is not None:
            self._kind = None
            self.fault = ""
            self._logger.info(self._on_end)
