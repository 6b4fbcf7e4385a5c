"""The data of read commands, in the form that -o asks for: aligned columns for people, the rest for programs.

    echo(rows, columns, form, "no nodes")       rows: dicts as they came; columns: what people see of them, in order

json and yaml carry the rows whole, csv the raw values of every column, nested ones as JSON. Keys never change with
the content. Nothing to show: json and yaml an empty list, csv its header, a table nothing, and a sentence on stderr.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import click

from cli.output import printable, say

TABLE, WIDE, JSON, YAML, CSV = FORMS = ("table", "wide", "json", "yaml", "csv")

Row = Mapping[str, Any]

output_option = click.option(
    "-o", "output", type=click.Choice(FORMS), default=TABLE, show_default=True, help="Form of the output."
)


@dataclass(frozen=True)
class Column:
    """name: the key in the row; cell: what people see of a row there, the plain value without it.

    wide: for -o wide only; sparse: left out of a table in which all its cells are blank.
    """

    name: str
    heading: str = ""
    cell: Callable[[Row], str] | None = None
    wide: bool = False
    sparse: bool = False

    def text(self, row: Row) -> str:
        if self.cell:
            return self.cell(row)
        value = row.get(self.name)
        return "" if value is None else str(value)


def echo(rows: Sequence[Row], columns: Sequence[Column], form: str, nothing: str) -> None:
    if rows or form not in (TABLE, WIDE):
        echo_data(render(rows, columns, form))
    else:
        say(nothing)


def echo_data(text: str) -> None:
    click.echo(text, nl=not text.endswith("\n"))


def render(rows: Sequence[Row], columns: Sequence[Column], form: str) -> str:
    if form in (JSON, YAML):
        return as_document(list(rows), form)
    if form == CSV:
        return as_csv([column.name for column in columns], [[row.get(one.name) for one in columns] for row in rows])
    shown = [one for one in columns if form == WIDE or not one.wide]
    shown = [one for one in shown if not one.sparse or any(one.text(row) for row in rows)]
    return table(
        [one.heading or one.name.replace("_", " ") for one in shown], [[one.text(row) for one in shown] for row in rows]
    )


def as_document(value: Any, form: str) -> str:
    """JSON, or YAML in blocks."""
    if form == JSON:
        return json.dumps(value, indent=2, ensure_ascii=False)
    import yaml

    return str(yaml.safe_dump(value, sort_keys=False, width=1000))


def as_csv(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """As RFC 4180, but with the line ends of Unix."""
    return "".join(_csv_line(cells) for cells in (head, *rows))


def _csv_line(cells: Sequence[Any]) -> str:
    import csv
    import io

    line = io.StringIO()
    csv.writer(line, lineterminator="\r\n").writerow(map(_scalar, cells))  # quotes what has either of the two
    return line.getvalue().removesuffix("\r\n") + "\n"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns two blanks apart, nothing trailing; control characters shown, not obeyed."""
    lines = [list(head), *([printable(cell) for cell in row] for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def _scalar(value: Any) -> Any:
    return value if type(value) in (str, int, float, type(None)) else json.dumps(value, ensure_ascii=False)
