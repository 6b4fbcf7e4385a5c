"""The log of a process, on stderr: one line for each record, whatever users and nodes have put into its words."""

from __future__ import annotations

import logging
from types import TracebackType
from typing import TypeAlias

from walt.contracts.printable import printable, printable_lines

FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
INDENT = "    "

_ExcInfo: TypeAlias = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]


class LineFormatter(logging.Formatter):
    """Escapes what is not printable. Only the lines of a traceback follow that of their record, indented."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        return printable(super().formatMessage(record))

    def formatException(self, ei: _ExcInfo) -> str:
        return _indented(super().formatException(ei))

    def formatStack(self, stack_info: str) -> str:
        return _indented(super().formatStack(stack_info))


def set_up_logging() -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(LineFormatter(FORMAT))
    logging.basicConfig(level=logging.INFO, handlers=[handler])


def _indented(text: str) -> str:
    return INDENT + printable_lines(text).replace("\n", f"\n{INDENT}")
