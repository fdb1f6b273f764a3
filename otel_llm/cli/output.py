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
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

Format = Literal["table", "json", "csv"]

# What goes to a file or a pipe is never wrapped or cut.
_PIPED_WIDTH = 100_000


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
    whole: bool = False
    """Never wrapped; as what is on the right, numbers."""
    least: int = 8
    """Of what may be wrapped, how narrow it may get."""
    optional: int = 0
    """Left out where there is no room, the highest first; 0 is never left out."""


@dataclass(frozen=True, slots=True)
class _Filled:
    """A column with all its cells, and how wide it is."""

    column: Column
    cells: Sequence[str | Text]
    footer: str | Text

    @property
    def widest(self) -> int:
        cells = (*self.cells, self.footer, self.column.title)
        return max(cell_len(line) for cell in cells for line in (str(cell).splitlines() or [""]))

    @property
    def narrowest(self) -> int:
        return self.widest if self.column.right or self.column.whole else min(self.widest, self.column.least)


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
        print_table(console(), rows, columns, total)


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


def print_table(
    screen: Console,
    rows: Sequence[Mapping[str, Any]],
    columns: Sequence[Column],
    total: Mapping[str, Any] | None = None,
) -> None:
    """Print a table that fits the screen; no number is ever cut.

    Optional columns give way first, and are named below; where that does not help, each row is a paragraph.
    """
    shown = [
        _Filled(column, [column.show(row) for row in rows], "" if total is None else column.show(total))
        for column in columns
    ]
    left_out: list[str] = []
    while _needed(shown) > screen.width:
        optional = max(shown, key=lambda each: each.column.optional)
        if not optional.column.optional:
            _print_paragraphs(screen, shown, len(rows))
            return
        shown.remove(optional)
        left_out.insert(0, optional.column.title)
    screen.print(_table(shown, len(rows), screen.width, footer=total is not None))
    if left_out:
        screen.print(f"no room for: {', '.join(left_out)}", style="dim")


def _needed(columns: Sequence[_Filled]) -> int:
    return sum(each.narrowest for each in columns) + _between(columns)


def _between(columns: Sequence[_Filled]) -> int:
    return 3 * len(columns) - 1


def _table(columns: Sequence[_Filled], rows: int, width: int, *, footer: bool) -> Table:
    widths = [each.widest for each in columns]
    too_much = sum(widths) + _between(columns) - width
    for _ in range(max(0, too_much)):
        # The one that has most to give, gives.
        spare = [wide - each.narrowest and wide for wide, each in zip(widths, columns, strict=True)]
        widths[spare.index(max(spare))] -= 1
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_footer=footer, header_style="bold")
    for each, wide in zip(columns, widths, strict=True):
        column = each.column
        justify = "right" if column.right else "left"
        table.add_column(
            column.title,
            each.footer,
            justify=justify,
            style=column.style,
            footer_style="bold",
            width=wide,
            no_wrap=wide == each.widest,
            overflow="fold",
        )
    for number_ in range(rows):
        table.add_row(*(each.cells[number_] for each in columns))
    return table


def _print_paragraphs(screen: Console, columns: Sequence[_Filled], rows: int) -> None:
    for number_ in range(rows):
        for each in columns:
            screen.print(
                Text().append(f"{each.column.title}: ", style="bold").append(each.cells[number_]), overflow="fold"
            )
        screen.print()


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
