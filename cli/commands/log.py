"""`walt log`: what happened to nodes, and who did it."""

from __future__ import annotations

import datetime
import re
import time
from collections.abc import Callable, Sequence
from typing import Any

import click

from walt.client import Client
from walt.contracts.errors import Unreachable
from walt.contracts.nodes import Event
from walt.contracts.printable import printable
from walt.replies import read

from ..ui.messages import print_message
from ..ui.options import Between, node_set, optional_selection_argument
from ..ui.tables import JSON, TABLE, WIDE, Column, Row, as_json, echo, echo_data, output_option
from ..ui.wait import UNREACHABLE_TIMEOUT_S

POLL_S = 0.5
DEFAULT_LINES = 1000
MAX_LINES = 10_000

SINCE_RULE = "30s, 10m, 2h or 3d ago, or a time as 2026-11-23T06:00"
STATE = "state"
FOLLOWED = (TABLE, WIDE, JSON)
COLUMNS = [Column(name) for name in ("id", "at", "node", "owner", "user", "kind", "text")]
AGO_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


class _Since(click.ParamType[float]):
    name = "WHEN"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            return since(value, time.time())
        except (ValueError, OverflowError):
            self.fail(f"{value!r} is not a time; allowed: {SINCE_RULE}", param, ctx)


@click.group()
def log() -> None:
    """What happened to nodes, and who did it."""


@log.command()
@optional_selection_argument
@click.option("--since", "start", type=_Since(), metavar="WHEN", help=f"From then on: {SINCE_RULE}.")
@click.option("-f", "--follow", is_flag=True, help="Continue with new events, until ctrl-c.")
@click.option("-n", "lines", type=Between(1, MAX_LINES), metavar="N", help="Only the newest N.")
@output_option
@click.pass_obj
def show(
    client: Client, selection: Sequence[str], start: float | None, follow: bool, lines: int | None, output: str
) -> None:
    """Show what happened to nodes.

    To yours, or to those of SET, removed ones included. With --follow, json is one object per line.
    """
    if follow and output not in FOLLOWED:
        raise click.UsageError(f"--follow goes with -o {', '.join(FOLLOWED)}, not with {output}")
    query: dict[str, Any] = {"selection": node_set(selection) if selection else None, "since": start or 0.0}
    rows: list[Row] = client.call("nodes", "get_events", **query, limit=lines or DEFAULT_LINES)
    if lines is None and len(rows) == DEFAULT_LINES:
        print_message(f"the newest {DEFAULT_LINES} events; -n and --since select others")
    to_lines = json_lines if output == JSON else EventLines(with_owner=output == WIDE)
    if follow or (rows and output in (TABLE, WIDE)):
        _print(to_lines(rows))
    else:
        echo(rows, COLUMNS, output, "nothing has happened" + (" since then" if start else ""))
    if follow:
        _follow(client, query, rows, to_lines)


def since(text: str, now: float) -> float:
    """'10m' or '2026-11-23T06:00' -> seconds of the epoch; ValueError. A time without a zone is in the local one."""
    ago = re.fullmatch(r"([0-9]{1,9})([smhd])", text, re.ASCII)
    if ago:
        return max(0.0, now - int(ago[1]) * AGO_UNITS_S[ago[2]])
    return datetime.datetime.fromisoformat(text).timestamp()


class EventLines:
    """Events as lines: local time, node, what happened. Columns grow with their content, and never shrink."""

    def __init__(self, with_owner: bool = False) -> None:
        self._with_owner = with_owner
        self._widths = [0, 0, 0, 0] if with_owner else [0, 0, 0]  # without the last column, which is not padded

    def __call__(self, rows: Sequence[Row]) -> list[str]:
        lines = [[printable(cell) for cell in self._cells(event)] for event in read(list[Event], rows)]
        lengths = ([len(cell) for cell in cells[:-1]] for cells in lines)
        self._widths = [max(column) for column in zip(self._widths, *lengths, strict=True)]
        return ["  ".join([*map(str.ljust, cells[:-1], self._widths), cells[-1]]).rstrip() for cells in lines]

    def _cells(self, event: Event) -> list[str]:
        at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(event.at))
        owner = [event.owner or "(free)"] if self._with_owner else []
        return [at, event.node, *owner, *describe(event)]


def describe(event: Event) -> tuple[str, str]:
    """('booted', 'ssh answers after 3.2 s'), ('config', 'by alice: ram=2G')"""
    if event.kind == STATE:
        state, _, reason = event.text.partition(": ")
        return state, reason
    by = f"by {event.user}" if event.user else ""
    return event.kind, ": ".join(filter(None, [by, event.text]))


def json_lines(rows: Sequence[Row]) -> list[str]:
    return [as_json(row) for row in rows]


def _follow(
    client: Client, query: dict[str, Any], rows: Sequence[Row], to_lines: Callable[[Sequence[Row]], list[str]]
) -> None:
    """Poll for new events, for ever. Those that happen while the service is away are printed when it is back."""
    answered_at, last = time.monotonic(), 0
    while True:
        last = rows[-1]["id"] if rows else last
        # Once an event was seen, its number decides, not its time: a report may be late.
        since = 0.0 if last else query["since"]
        time.sleep(POLL_S)
        try:
            arguments = {**query, "since": since, "after": last, "limit": MAX_LINES}
            rows = client.call("nodes", "get_events", **arguments)
        except Unreachable:
            if time.monotonic() - answered_at > UNREACHABLE_TIMEOUT_S:
                raise
            rows = []
        else:
            answered_at = time.monotonic()
            _print(to_lines(rows))


def _print(lines: Sequence[str]) -> None:
    if lines:
        echo_data("\n".join(lines))
