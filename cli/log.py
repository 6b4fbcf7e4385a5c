"""`walt log`: what happened to nodes, and who did it."""

from __future__ import annotations

import datetime
import json
import re
import time
from collections.abc import Callable, Sequence
from typing import Any, TypedDict

import click

from cli.forms import JSON, TABLE, WIDE, Column, echo, output_option
from cli.options import Between
from cli.output import printable, say
from cli.waiting import AWAY_S
from services.contracts.errors import Unreachable

POLL_S = 0.5
USUAL_LINES = 1000
MAX_LINES = 10_000

SINCE_RULE = "30s, 10m, 2h or 3d ago, or a time as 2026-11-23T06:00"
STATE = "state"
FOLLOWED = (TABLE, WIDE, JSON)
COLUMNS = [Column(name) for name in ("id", "at", "node", "owner", "user", "kind", "text")]
AGO_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


class Event(TypedDict):
    """`services.contracts.nodes.Event` as it comes over the wire."""

    id: int
    at: float
    node: str
    owner: str
    user: str
    kind: str
    text: str


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
@click.argument("selection", metavar="[SET]", required=False)
@click.option("--since", "start", type=_Since(), metavar="WHEN", help=f"From then on: {SINCE_RULE}.")
@click.option("-f", "--follow", is_flag=True, help="Go on with what happens, until ctrl-c.")
@click.option("-n", "lines", type=Between(1, MAX_LINES), metavar="N", help="Only the newest N.")
@output_option
@click.pass_obj
def show(client: Any, selection: str | None, start: float | None, follow: bool, lines: int | None, output: str) -> None:
    """Show what happened to nodes.

    To yours, or to those of SET, also when they are gone. With --follow, json is one object a line.
    """
    if follow and output not in FOLLOWED:
        raise click.UsageError(f"--follow goes with -o {', '.join(FOLLOWED)}, not with {output}")
    query = {"selection": selection, "since": start or 0.0}
    events: list[Event] = client.call("nodes", "get_events", **query, limit=lines or USUAL_LINES)
    if lines is None and len(events) == USUAL_LINES:
        say(f"the newest {USUAL_LINES} events; -n and --since choose others")
    form = json_lines if output == JSON else Lines(with_owner=output == WIDE)
    if follow or (events and output in (TABLE, WIDE)):
        _print(form(events))
    else:
        echo(events, COLUMNS, output, "nothing has happened" + (" since then" if start else ""))
    if follow:
        _follow(client, query, events, form)


def since(text: str, now: float) -> float:
    """'10m' or '2026-11-23T06:00' -> seconds of the epoch; ValueError. A time without a zone is of this place."""
    ago = re.fullmatch(r"([0-9]{1,9})([smhd])", text, re.ASCII)
    if ago:
        return max(0.0, now - int(ago[1]) * AGO_UNITS_S[ago[2]])
    return datetime.datetime.fromisoformat(text).timestamp()


class Lines:
    """Events as lines: local time, node, what happened. Columns grow with what comes, and never shrink."""

    def __init__(self, with_owner: bool = False) -> None:
        self._with_owner = with_owner
        self._widths = [0, 0, 0, 0] if with_owner else [0, 0, 0]  # without the last column, which is not padded

    def __call__(self, events: Sequence[Event]) -> list[str]:
        lines = [[printable(cell) for cell in self._cells(event)] for event in events]
        lengths = ([len(cell) for cell in cells[:-1]] for cells in lines)
        self._widths = [max(column) for column in zip(self._widths, *lengths, strict=True)]
        return ["  ".join([*map(str.ljust, cells[:-1], self._widths), cells[-1]]).rstrip() for cells in lines]

    def _cells(self, event: Event) -> list[str]:
        at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(event["at"]))
        owner = [event["owner"] or "(free)"] if self._with_owner else []
        return [at, event["node"], *owner, *happened(event)]


def happened(event: Event) -> tuple[str, str]:
    """('booted', 'ssh answers after 3.2 s'), ('config', 'by alice: ram=2G')"""
    if event["kind"] == STATE:
        state, _, reason = event["text"].partition(": ")
        return state, reason
    by = f"by {event['user']}" if event["user"] else ""
    return event["kind"], ": ".join(filter(None, [by, event["text"]]))


def json_lines(events: Sequence[Event]) -> list[str]:
    return [json.dumps(event, ensure_ascii=False) for event in events]


def _follow(
    client: Any, query: dict[str, Any], events: Sequence[Event], form: Callable[[Sequence[Event]], list[str]]
) -> None:
    """Never returns. What happened while the service was away comes when it is back."""
    answered, last = time.monotonic(), 0
    while True:
        last = events[-1]["id"] if events else last
        # After an event its number counts, not its time: a report may come late.
        since_then = 0.0 if last else query["since"]
        time.sleep(POLL_S)
        try:
            ask = {**query, "since": since_then, "after": last, "limit": MAX_LINES}
            events = client.call("nodes", "get_events", **ask)
        except Unreachable:
            if time.monotonic() - answered > AWAY_S:
                raise
            events = []
        else:
            answered = time.monotonic()
            _print(form(events))


def _print(lines: Sequence[str]) -> None:
    if lines:
        click.echo("\n".join(lines))
