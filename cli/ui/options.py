"""Types of arguments and options that several commands share."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

import click


class _Seconds(click.ParamType[float]):
    name = "S"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            seconds = float(value)
        except ValueError:
            seconds = math.nan
        if not 0 <= seconds < math.inf:
            self.fail(f"{value!r} is not a number of seconds; allowed: 0 or more", param, ctx)
        return seconds


class Between(click.IntRange):
    """A whole number; the refusal names the range, whatever is wrong."""

    def __init__(self, low: int, high: int) -> None:
        super().__init__(low, high)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            return super().convert(value, param, ctx)
        except click.BadParameter:
            self.fail(f"{value!r} is not accepted; allowed: a whole number from {self.min} to {self.max}", param, ctx)


SECONDS = _Seconds()

timeout_option = click.option("--timeout", type=SECONDS, metavar="S", help="Give up after S seconds (exit code 124).")
wait_option = click.option("--wait", is_flag=True, help="Return once the nodes are booted.")
force_option = click.option("--force", is_flag=True, help="Even if data is lost.")
selection_argument = click.argument("selection", metavar="SET...", nargs=-1, required=True)
optional_selection_argument = click.argument("selection", metavar="[SET]...", nargs=-1)


def node_set(words: str | Sequence[str]) -> str:
    """What users write as a set of nodes, in the form of the contract: 'a b, c' or ['a', 'b,', 'c'] -> 'a,b,c'."""
    text = words if isinstance(words, str) else " ".join(words)
    return re.sub(r"\s*,\s*|\s+", ",", text.strip())


def check_timeout(wait: bool, timeout: float | None) -> None:
    if timeout is not None and not wait:
        raise click.UsageError("--timeout needs --wait")
