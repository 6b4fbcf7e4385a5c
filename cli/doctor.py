"""`walt doctor`: what every service found about itself and its host."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import click

from cli.forms import TABLE, Column, echo, output_option
from cli.output import GREEN, RED, YELLOW, coloured, printable
from services.contracts.health import FAIL, OK, WARN

COLOURS = {OK: GREEN, WARN: YELLOW, FAIL: RED}
COLUMNS = [Column(name) for name in ("status", "subject", "found", "consequence", "mend")]


@click.command()
@output_option
@click.pass_obj
def doctor(client: Any, output: str) -> int:
    """Tell what the platform can do here, and how to mend the rest.

    The exit code is 1 when something is broken.
    """
    checks: list[dict[str, str]] = client.call("nodes", "diagnose")
    if output == TABLE:
        width = max((len(check["subject"]) for check in checks), default=0)
        for check in checks:
            click.echo(_paragraph(check, width))
    else:
        echo(checks, COLUMNS, output, "nothing was checked")
    return 1 if any(check["status"] == FAIL for check in checks) else 0


def _paragraph(check: Mapping[str, str], width: int) -> str:
    status = coloured(check["status"].ljust(4), COLOURS.get(check["status"]), sys.stdout)
    lines = [f"{status}  {check['subject'].ljust(width)}  {printable(check['found'])}"]
    indent = " " * (width + 8)
    if check.get("consequence"):
        lines.append(f"{indent}{printable(check['consequence'])}")
    if check.get("mend"):
        lines.append(f"{indent}mend: {printable(check['mend'])}")
    return "\n".join(lines)
