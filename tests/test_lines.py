"""What an SDK costs us in lines: a short table, and not much more for each wire format that nobody spoke before."""

from __future__ import annotations

import pytest

from benchmarks.sdks import lines

ROWS = {row[0]: row[1:] for row in lines().rows}


@pytest.mark.parametrize("name", ROWS)
def test_an_sdk_is_a_short_table(name: str) -> None:
    table, _sending, _wire, _formats, each = ROWS[name]
    assert int(table) <= 20
    assert int(each or 0) <= 80


def test_what_is_new_is_written_once() -> None:
    assert ROWS["groq"][1:] == ("", "", "", ""), "it sends and speaks as others do"
    assert [name for name, row in ROWS.items() if int(row[2] or 0) > 300] == ["openai", "google_genai"]
