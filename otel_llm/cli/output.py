"""How answers look: tables for people, JSON and CSV for pipes, and the words for money, counts and times."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal

import click
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

Format = Literal["table", "json", "csv"]

# Wide enough that nothing is cut when the output goes to a file or a pipe.
_PIPED_WIDTH = 240


def console(*, stderr: bool = False) -> Console:
    """A console that has colours only in a terminal."""
    found = Console(stderr=stderr, highlight=False)
    if not found.is_terminal:
        found = Console(stderr=stderr, highlight=False, width=_PIPED_WIDTH, no_color=True)
    return found


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table: its title, and how a row's value is shown."""

    title: str
    show: Callable[[Mapping[str, Any]], str | Text]
    right: bool = False
    style: str | None = None


def emit(
    rows: Sequence[Mapping[str, Any]],
    columns: Sequence[Column],
    output: Format,
    *,
    total: Mapping[str, Any] | None = None,
    empty: str = "Nothing there.",
) -> None:
    """Print rows: all their fields as JSON or CSV, the chosen columns as a table."""
    if output == "json":
        click.echo(json.dumps(list(rows), default=plain, indent=2, ensure_ascii=False))
    elif output == "csv":
        click.echo(as_csv(rows), nl=False)
    elif not rows:
        console(stderr=True).print(empty, style="dim")
    else:
        console().print(_table(rows, columns, total))


def as_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """The rows as CSV with a header; nothing for no rows."""
    buffer = io.StringIO()
    if rows:
        writer = csv.DictWriter(buffer, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows({name: _cell(value) for name, value in row.items()} for row in rows)
    return buffer.getvalue()


def _cell(value: Any) -> Any:
    if isinstance(value, (list, dict)):
        return json.dumps(value, default=plain, ensure_ascii=False)
    return plain(value) if isinstance(value, (datetime, Decimal)) else value


def plain(value: Any) -> Any:
    """`value` for JSON: exact decimals and times as strings."""
    if isinstance(value, datetime):
        return value.isoformat()
    return format(value, "f") if isinstance(value, Decimal) else str(value)


def _table(rows: Sequence[Mapping[str, Any]], columns: Sequence[Column], total: Mapping[str, Any] | None) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_footer=total is not None, header_style="bold")
    for column in columns:
        footer = column.show(total) if total is not None else ""
        table.add_column(
            column.title,
            footer,
            justify="right" if column.right else "left",
            style=column.style,
            footer_style="bold",
            no_wrap=column.right,
            overflow="fold",
        )
    for row in rows:
        table.add_row(*(column.show(row) for column in columns))
    return table


def money(usd: Decimal | None) -> str:
    """`$12.34`, `$0.0312`, `$0.000014`; `unknown` where it is."""
    if usd is None:
        return "unknown"
    if usd == 0:
        return "$0"
    if usd >= 100:
        return f"${usd:,.2f}"
    # Four digits that say something, and no rounding to nothing.
    digits = max(2, 3 - usd.adjusted())
    return f"${usd:,.{min(digits, 12)}f}"


def number(value: int | None) -> str:
    """`1,234`; nothing for what is unknown."""
    return "" if value is None else f"{value:,}"


def percent(share: float | None) -> str:
    """`97.4 %`; nothing for what is unknown. All but everything is not 100 %."""
    if share is None:
        return ""
    return "100 %" if share == 1 else f"{min(share * 100, 99.9):.1f} %"


def duration(ns: int | None) -> str:
    """`3.2 s`, `140 ms`, `2 min 5 s`."""
    if ns is None:
        return ""
    seconds = ns / 1e9
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    return f"{seconds:.1f} s" if seconds < 100 else f"{seconds // 60:.0f} min {seconds % 60:.0f} s"


def when(moment: datetime) -> str:
    """The local time, to the second."""
    return moment.astimezone().strftime("%Y-%m-%d %H:%M:%S")
