"""`walt doctor`: what each service found out about itself and its host."""

from __future__ import annotations

import sys
from collections.abc import Mapping

import click

from walt.client import Client
from walt.contracts.checks import FAIL, OK, WARN
from walt.contracts.printable import printable

from ..ui.messages import GREEN, RED, YELLOW, coloured
from ..ui.tables import TABLE, Column, echo, echo_data, output_option

COLOURS = {OK: GREEN, WARN: YELLOW, FAIL: RED}
COLUMNS = [Column(name) for name in ("status", "subject", "found", "consequence", "fix")]


@click.command()
@output_option
@click.pass_obj
def doctor(client: Client, output: str) -> int:
    """Check what the platform can do here, and how to fix the rest.

    The exit code is 1 when a check failed.
    """
    checks: list[dict[str, str]] = client.call("nodes", "diagnose")
    if output == TABLE:
        width = max((len(check["subject"]) for check in checks), default=0)
        for check in checks:
            status = printable(check["status"]).ljust(4)
            click.echo(coloured(status, COLOURS.get(check["status"]), sys.stdout), nl=False)
            echo_data(_after_status(check, width))
    else:
        echo(checks, COLUMNS, output, "nothing was checked")
    return 1 if any(check["status"] == FAIL for check in checks) else 0


def _after_status(check: Mapping[str, str], width: int) -> str:
    lines = [f"  {printable(check['subject']).ljust(width)}  {printable(check['found'])}"]
    indent = " " * (width + 8)
    if check.get("consequence"):
        lines.append(f"{indent}{printable(check['consequence'])}")
    if check.get("fix"):
        lines.append(f"{indent}fix: {printable(check['fix'])}")
    return "\n".join(lines)
