"""The tables, as files that a database administrator can read. A file that was released is never changed again."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import NamedTuple


class Migration(NamedTuple):
    """One step from a schema to the next. Its statements may run twice."""

    version: int
    name: str
    statements: tuple[str, ...]


@cache
def migrations() -> tuple[Migration, ...]:
    """Return all steps, `schema/<version>_<name>.sql`, in their order."""
    found: list[Migration] = []
    for file in sorted(files("otel_llm_exporters.clickhouse").joinpath("schema").iterdir(), key=lambda file: file.name):
        version, _, name = file.name.removesuffix(".sql").partition("_")
        parts = (part.strip() for part in file.read_text("utf-8").split(";\n"))
        found.append(Migration(int(version), name, tuple(part for part in parts if part)))
    return tuple(found)


APPLIED = """
CREATE TABLE IF NOT EXISTS schema_migrations (Version UInt32, Name String, AppliedAt DateTime DEFAULT now())
ENGINE = ReplacingMergeTree ORDER BY Version
"""
"""Which steps a database has taken."""
