"""Options that several commands share."""

from __future__ import annotations

import math
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


SECONDS = _Seconds()
