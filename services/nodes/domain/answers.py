"""Pure: what is kept of the answer to a command, to be given again when the command comes again."""

from __future__ import annotations

import base64
import json
import zlib
from typing import Any

from services.kit.bus.arguments import dump
from walt.contracts.errors import Failed, WaltError, from_wire

KEYS_KEPT = 1000  # of one account: beyond them the oldest commands are forgotten
ANSWERS_KEPT = 24  # of one account, as many as it can have under way; of earlier ones it is known that they were obeyed
FORGOTTEN_AFTER_S = 3600.0
NOT_KEPT = ""


class AnsweredBefore(Exception):
    """The command came before. text: its answer, as `text_of` has made it, or NOT_KEPT."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text


def text_of(answer: Any) -> str:
    """Of a WaltError, or of what the command returns: dataclasses, and values of JSON."""
    if isinstance(answer, WaltError):
        kept: dict[str, Any] = {"error": type(answer).__name__, "sentences": [str(one) for one in answer.args]}
    else:
        kept = {"result": dump(answer)}
    return base64.b64encode(zlib.compress(json.dumps(kept).encode())).decode()


def given_again(text: str) -> Any:
    """The result as JSON has it, or the error, which is raised. Failed where the answer is not kept."""
    if text == NOT_KEPT:
        raise Failed("this command has come before and was begun; its answer is not kept: look whether it was done")
    kept = json.loads(zlib.decompress(base64.b64decode(text)))
    if "error" in kept:
        raise from_wire(kept["error"], kept["sentences"])
    return kept["result"]
