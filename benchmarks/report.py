"""Numbers as tables: for the terminal and for the README."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.table import Table as RichTable

_README = Path(__file__).with_name("README.md")
_BEGIN, _END = "<!-- results: written by `python -m benchmarks --write` -->", "<!-- end of results -->"


@dataclass
class Table:
    """A heading, columns and rows; the first column is text, the others are numbers."""

    title: str
    columns: tuple[str, ...]
    note: str = ""
    rows: list[tuple[str, ...]] = field(default_factory=list[tuple[str, ...]])

    def add(self, *cells: str) -> None:
        """Add a row; what is missing at its end is empty."""
        self.rows.append((*cells, *[""] * (len(self.columns) - len(cells))))


def show(tables: Sequence[Table], console: Console) -> None:
    """Print them."""
    for table in tables:
        shown = RichTable(title=table.title, title_justify="left", title_style="bold", caption=table.note or None)
        shown.caption_justify = "left"
        for number, column in enumerate(table.columns):
            shown.add_column(column, justify="right" if number else "left", overflow="fold")
        for row in table.rows:
            shown.add_row(*row)
        console.print(shown)


def write(tables: Sequence[Table]) -> Path:
    """Put them between the marks in the README; return its path."""
    before, _, rest = _README.read_text().partition(_BEGIN)
    _, _, after = rest.partition(_END)
    text = "\n\n".join(_markdown(table) for table in tables)
    _README.write_text(f"{before}{_BEGIN}\n\n{text}\n\n{_END}{after}")
    return _README


def _markdown(table: Table) -> str:
    lines = [table.columns, tuple("---:" if number else "---" for number in range(len(table.columns))), *table.rows]
    text = "\n".join("| " + " | ".join(cells) + " |" for cells in lines)
    return f"### {table.title}\n\n{text}" + (f"\n\n{table.note}" if table.note else "")


def spread(values: Sequence[float], digits: int = 0) -> str:
    """`123 (110 .. 140)`: the median and the quartiles around it."""
    if len(values) < 2:
        return f"{values[0]:.{digits}f}"
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return f"{middle:.{digits}f} ({low:.{digits}f} .. {high:.{digits}f})"
