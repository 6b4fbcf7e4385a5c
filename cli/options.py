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

timeout_option = click.option("--timeout", type=SECONDS, metavar="S", help="Give up after S seconds (exit code 124).")
wait_option = click.option("--wait", is_flag=True, help="Return once they are booted.")
force_option = click.option("--force", is_flag=True, help="Even if data is lost.")


def check_timeout(wait: bool, timeout: float | None) -> None:
    if timeout is not None and not wait:
        raise click.UsageError("--timeout needs --wait")
