"""Tables fit the screen that there is, and no number in them is ever cut."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from otel_llm.cli.output import Column, console, print_table

ROWS: list[dict[str, Any]] = [
    {"name": "a-model-with-a-long-name-2026", "cost": "$1,234,567.89", "calls": "1,000,001", "p50": "$0.0000123"},
    {"name": "b", "cost": "≥ $0.0007290", "calls": "7", "p50": ""},
]
COLUMNS = [
    Column("name", lambda row: row["name"]),
    Column("cost", lambda row: row["cost"], right=True),
    Column("calls", lambda row: row["calls"], right=True),
    Column("p50", lambda row: row["p50"], right=True, optional=1),
]


def printed(width: int) -> list[str]:
    file = io.StringIO()
    print_table(Console(file=file, width=width), ROWS, COLUMNS)
    return file.getvalue().splitlines()


@pytest.mark.parametrize("width", [20, 30, 40, 50, 60, 80, 100])
def test_no_number_is_cut_and_no_line_too_long(width: int) -> None:
    lines = printed(width)
    assert max(map(len, lines)) <= width
    for row in ROWS:
        assert any(row["cost"] in line for line in lines)
        assert any(row["calls"] in line for line in lines)
        assert row["name"] in "".join("".join(line.split()[0:1]) for line in lines) or any(
            row["name"] in line for line in lines
        )


def test_what_is_optional_gives_way_and_is_named() -> None:
    assert not any("no room" in line for line in printed(80))
    assert any("no room for: p50" in line for line in printed(50))
    assert not any("$0.0000123" in line for line in printed(50))


def test_where_nothing_fits_rows_are_paragraphs() -> None:
    lines = printed(30)
    assert "cost: $1,234,567.89" in lines
    assert "calls: 1,000,001" in lines


def test_a_pipe_is_as_wide_as_it_takes() -> None:
    # Under pytest the output is no terminal.
    file = io.StringIO()
    screen = console()
    screen.file = file
    wide = [{f"column {number}": str(123_456_789 + number) for number in range(60)}]
    columns = [Column(name, lambda row, name=name: row[name], right=True) for name in wide[0]]
    print_table(screen, wide, columns)
    assert all(value in file.getvalue() for value in wide[0].values())
