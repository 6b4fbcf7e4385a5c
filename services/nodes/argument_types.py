"""Types of the arguments of public methods: a user's program can send anything of any size.

The bounds keep one request from occupying the service. What the names in a node set are, `domain.selection` says.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from marshmallow import ValidationError
from marshmallow.validate import Range

MAX_CHARACTERS = 65_536  # of one argument: the longest names of all the nodes that the usual walt-net has room for
MAX_EVENTS = 10_000  # of one answer
MAX_EVENT_ID = 2**63 - 1  # of the database
MAX_SECONDS = 2**53
MAX_START_DELAY_S = 86_400


def check_text(text: str) -> None:
    if not text or not text.isprintable():
        raise ValidationError("is not a text of printable characters")
    _check_length(len(text))


def check_texts(texts: Sequence[str]) -> None:
    _check_length(sum(len(text) + 1 for text in texts))


def _check_length(characters: int) -> None:
    if characters > MAX_CHARACTERS:
        raise ValidationError(
            f"is too long ({characters} characters); allowed: at most {MAX_CHARACTERS} in one request"
        )


Text = Annotated[str, check_text]
NodeSet = Annotated[str, check_text]  # "a,b,my-nodes"
Texts = Annotated[tuple[str, ...], check_texts]
Seconds = Annotated[float, Range(0, MAX_SECONDS, max_inclusive=False)]  # of the epoch
EventId = Annotated[int, Range(0, MAX_EVENT_ID)]
EventCount = Annotated[int, Range(1, MAX_EVENTS)]
StartDelay = Annotated[float, Range(0, MAX_START_DELAY_S)]  # of a schedule, from now on
