"""The data of read commands in the format that -o selects: aligned columns for people, the others for programs.

    echo(rows, columns, output_format, "no nodes")

rows are dicts as services send them; columns say what people see of them, in order. json and yaml print whole rows, csv
the values of every column, nested ones as JSON. All escape what is not printable: json and yaml by their own rules, so
that nothing is lost. Keys never depend on the content. Without rows, json and yaml print an empty list, csv its header,
and a table nothing but a message on stderr.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import click

from walt.contracts.printable import printable, printable_lines

from .messages import print_message

TABLE, WIDE, JSON, YAML, CSV = FORMATS = ("table", "wide", "json", "yaml", "csv")

Row = Mapping[str, Any]

output_option = click.option(
    "-o", "output", type=click.Choice(FORMATS), default=TABLE, show_default=True, help="Output format."
)


@dataclass(frozen=True)
class Column:
    """name: the key in the row; cell: the text shown in a table, by default the plain value.

    wide: for -o wide only; sparse: omitted from a table in which all its cells are blank.
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


def echo(rows: Sequence[Row], columns: Sequence[Column], output_format: str, when_empty: str) -> None:
    if rows or output_format not in (TABLE, WIDE):
        echo_data(render(rows, columns, output_format))
    else:
        print_message(when_empty)


def echo_data(text: str) -> None:
    """Lines on stdout. All that the platform sends goes through here, so that none of it controls the terminal."""
    click.echo(printable_lines(text), nl=not text.endswith("\n"))


def render(rows: Sequence[Row], columns: Sequence[Column], output_format: str) -> str:
    if output_format in (JSON, YAML):
        return as_document(list(rows), output_format)
    if output_format == CSV:
        return as_csv([column.name for column in columns], [[row.get(one.name) for one in columns] for row in rows])
    shown = [one for one in columns if output_format == WIDE or not one.wide]
    shown = [one for one in shown if not one.sparse or any(one.text(row) for row in rows)]
    return table(
        [one.heading or one.name.replace("_", " ") for one in shown], [[one.text(row) for one in shown] for row in rows]
    )


def as_document(value: Any, output_format: str) -> str:
    """JSON, or YAML in blocks."""
    if output_format == JSON:
        return as_json(value, indent=2)
    import yaml

    return str(yaml.safe_dump(value, sort_keys=False, width=1000))


def as_json(value: Any, indent: int | None = None) -> str:
    """Letters as they are; unlike json.dumps, DEL, C1, bidi controls and line separators as \\u…."""
    text = json.dumps(value, indent=indent, ensure_ascii=False)
    if text.isprintable():
        return text
    # Outside of strings all is ASCII, and json.dumps has escaped the newlines inside of them.
    return "".join(one if one.isprintable() or one == "\n" else json.dumps(one)[1:-1] for one in text)


def as_csv(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """As RFC 4180, but with Unix line ends, and one line per row: control characters are shown as escapes."""
    return "".join(_csv_line(cells) for cells in (head, *rows))


def _csv_line(cells: Sequence[Any]) -> str:
    import csv
    import io

    line = io.StringIO()
    csv.writer(line, lineterminator="\r\n").writerow(map(_scalar, cells))  # it quotes cells with either of the two
    return line.getvalue().removesuffix("\r\n") + "\n"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns two blanks apart, no trailing blanks; control characters are shown as escapes."""
    lines = [list(head), *([printable(cell) for cell in row] for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def _scalar(value: Any) -> Any:
    if isinstance(value, str):
        return printable(value)
    return value if type(value) in (int, float, type(None)) else as_json(value)
