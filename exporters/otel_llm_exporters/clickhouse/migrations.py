"""The tables, as files that a database administrator can read, and how a database gets them.

A file that was released is never changed again. Every statement may run twice, and from several processes at once.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from functools import cache
from importlib.resources import files
from typing import NamedTuple

from otel_llm_exporters.clickhouse.stores import Store, StoreError

_CREATE = re.compile(r"CREATE (?P<kind>TABLE|VIEW|MATERIALIZED VIEW) IF NOT EXISTS (?P<name>\w+)")
_ALTER = re.compile(r"^ALTER TABLE (?P<name>\w+)", re.MULTILINE)
_FEED = re.compile(
    r"CREATE MATERIALIZED VIEW IF NOT EXISTS (?P<name>\w+) TO (?P<target>\w+) AS\s+(?P<select>.*)", re.DOTALL
)
_ENGINE = re.compile(r"\bENGINE = (?P<kind>\w*MergeTree)(?:\((?P<arguments>[^)]*)\))?")
_WINDOW = re.compile(r"\bnon_replicated_deduplication_window = \d+")
# What each shard would ask all other shards anew.
_SUBQUERY = re.compile(r"\b(?:ASOF )?(?:LEFT|INNER) JOIN\b|\b(?:NOT )?IN(?=\s*\(\s*SELECT\b)")
# A week: an outage, or a spool that was carried elsewhere, must not outlive what the tables remember.
_REPLICATED_WINDOW = "replicated_deduplication_window = 100000, replicated_deduplication_window_seconds = 604800"
_BACKFILL = "backfill"
_OF_ONE_DAY = "(SELECT * FROM otel_traces WHERE toDate(Timestamp) = '{day}') AS otel_traces"
_KEPT_BY_COLLECTORS = "otel_traces_trace_id_ts"


class Migration(NamedTuple):
    """One step from a schema to the next."""

    version: int
    name: str
    statements: tuple[str, ...]


@cache
def migrations() -> tuple[Migration, ...]:
    """Return all steps, `schema/<version>_<name>.sql`, in their order."""
    found: list[Migration] = []
    for file in sorted(files("otel_llm_exporters.clickhouse").joinpath("schema").iterdir(), key=lambda file: file.name):
        version, _, name = file.name.removesuffix(".sql").partition("_")
        parts = (part.strip().removesuffix(";") for part in file.read_text("utf-8").split(";\n"))
        found.append(Migration(int(version), name, tuple(part for part in parts if part)))
    return tuple(found)


def newest() -> int:
    """The version that the tables of this release have."""
    return migrations()[-1].version


_APPLIED = """
CREATE TABLE IF NOT EXISTS schema_migrations (Version UInt32, Name String, AppliedAt DateTime DEFAULT now())
ENGINE = ReplacingMergeTree
ORDER BY Version
"""
"""Which steps a database has taken."""
_TAKE = "INSERT INTO schema_migrations (Version, Name) VALUES ({version}, '{name}')"


class Shape(NamedTuple):
    """How the tables of a database differ from those in the files."""

    cluster: str = ""
    """Tables are replicated and distributed over this cluster, and `database` is named."""
    database: str = ""
    retention_days: int = 0
    """Rows are deleted after so many days; 0 keeps them."""

    def of(self, statement: str) -> tuple[str, ...]:
        """The statement in this shape: several for a table that is distributed."""
        return _clustered(statement, self) if self.cluster else (statement,)

    def expiry(self) -> Iterator[str]:
        """The statements that make rows expire."""
        if not self.retention_days:
            return
        for statement in _statements():
            found = _CREATE.search(statement)
            column = next(
                (name for name in ("Timestamp", "Start") if re.search(rf"^ +{name} ", statement, re.MULTILINE)), None
            )
            if found and found["kind"] == "TABLE" and column and _is_sharded(found["name"]):
                yield from self.of(
                    f"ALTER TABLE {found['name']} MODIFY TTL toDate({column}) + INTERVAL {self.retention_days} DAY"
                )


def script(shape: Shape) -> str:
    """All statements, for `clickhouse-client < file`."""
    parts: list[str] = []
    if shape.database:
        parts = [_create_database(shape), f"USE `{shape.database}`"]
    parts += shape.of(_APPLIED.strip())
    for migration in migrations():
        for statement in migration.statements:
            parts += shape.of(statement)
        parts.append(_TAKE.format(version=migration.version, name=migration.name))
    parts += shape.expiry()
    return "".join(f"{part};\n\n" for part in parts).rstrip("\n") + "\n"


def applied(store: Store) -> dict[int, datetime]:
    """When a database has taken which step, by version. Raises QueryError when it has taken none."""
    found = store.query(
        "SELECT Version, max(AppliedAt) FROM schema_migrations WHERE Version > 0 GROUP BY Version ORDER BY Version"
    )
    return dict(found.rows)


def apply(store: Store, shape: Shape = Shape()) -> list[Migration]:  # noqa: B008 - it is immutable
    """Take the steps that are missing; return them. Raises QueryError, StoreError when it cannot be done."""
    shape = shape._replace(cluster=shape.cluster or cluster_of(store))
    for statement in shape.of(_APPLIED):
        store.execute(statement)
    taken = applied(store)
    if taken and max(taken) > newest():
        raise StoreError("The tables were made by a newer otel-llm; upgrade this one.")
    missing = [migration for migration in migrations() if migration.version not in taken]
    if missing:
        _check_spans(store)
    for migration in missing:
        for statement in migration.statements:
            for shaped in shape.of(statement):
                store.execute(shaped)
        store.execute(_TAKE.format(version=migration.version, name=migration.name))
    for statement in shape.expiry():
        store.execute(statement)
    return missing


def backfill(store: Store) -> int | None:
    """Make calls of the spans that were there before the tables of calls, once; return how many days had some.

    None when it was done before. Broken off, it may be begun again. Raises QueryError.
    """
    if store.query(
        "SELECT 1 FROM schema_migrations WHERE Version = 0 AND Name = {name:String}", {"name": _BACKFILL}
    ).rows:
        return None
    days = [
        row[0] for row in store.query("SELECT DISTINCT toString(toDate(Timestamp)) FROM otel_traces ORDER BY 1").rows
    ]
    for day in days:
        spans = _OF_ONE_DAY.format(day=day)
        for feed in filter(None, map(_FEED.search, _statements())):
            if feed["target"] != _KEPT_BY_COLLECTORS:
                select = re.sub(r"\bFROM otel_traces\b", f"FROM {spans}", feed["select"])
                columns = ", ".join(f"`{row[0]}`" for row in store.query(f"DESCRIBE TABLE ({select}\n)").rows)
                store.execute(f"INSERT INTO {feed['target']} ({columns}) {select}")
    store.execute(_TAKE.format(version=0, name=_BACKFILL))
    return len(days)


def create_database(store: Store, shape: Shape) -> None:
    """Create it where it does not exist. Raises QueryError."""
    if not store.query("SELECT 1 FROM system.databases WHERE name = {name:String}", {"name": shape.database}).rows:
        store.execute(_create_database(shape))


def cluster_of(store: Store) -> str:
    """The cluster that the tables of a database are distributed over; empty when they are not."""
    found = store.query(
        "SELECT extract(engine_full, 'Distributed\\\\(\\'([^\\']+)') FROM system.tables "
        "WHERE database = currentDatabase() AND name = 'otel_traces'"
    ).rows
    return found[0][0] if found else ""


def mutable(store: Store, table: str) -> str:
    """The name by which ALTER and DELETE find a table: what is distributed is changed on each shard."""
    cluster = cluster_of(store) if _is_sharded(table) else ""
    return f"{table}_local ON CLUSTER `{cluster}`" if cluster else table


def _create_database(shape: Shape) -> str:
    on = f" ON CLUSTER `{shape.cluster}`" if shape.cluster else ""
    return f"CREATE DATABASE IF NOT EXISTS `{shape.database}`{on}"


def _statements() -> Iterator[str]:
    return (statement for migration in migrations() for statement in migration.statements)


def _check_spans(store: Store) -> None:
    found = store.query(
        "SELECT type FROM system.columns WHERE database = currentDatabase() AND table = 'otel_traces' "
        "AND name = 'SpanAttributes'"
    ).rows
    if found and not found[0][0].startswith("Map("):
        raise StoreError(
            f"The table otel_traces has SpanAttributes of the type {found[0][0]}, and a Map is needed: "
            "turn `json` off in the Collector's exporter, or choose another database."
        )


@cache
def _is_sharded(table: str) -> bool:
    """Whether its rows are of one trace each: they live on the shard of the trace. The others are small."""
    return any(
        found["name"] == table and re.search(r"^ +TraceId ", statement, re.MULTILINE)
        for statement in _statements()
        if (found := _CREATE.search(statement))
    )


def _clustered(statement: str, shape: Shape) -> tuple[str, ...]:
    on = f" ON CLUSTER `{shape.cluster}`"
    created = _CREATE.search(statement)
    if created is None:
        altered = _ALTER.search(statement)
        if altered is None:
            return (statement,)
        where = f"{altered['name']}_local" if _is_sharded(altered["name"]) else altered["name"]
        return (_WINDOW.sub(_REPLICATED_WINDOW, _ALTER.sub(f"ALTER TABLE {where}{on}", statement)),)
    name = created["name"]
    if created["kind"] == "VIEW":
        text = _CREATE.sub(f"CREATE VIEW IF NOT EXISTS {name}{on}", statement)
        return (_SUBQUERY.sub(lambda found: f"GLOBAL {found[0]}", text),)
    if created["kind"] == "MATERIALIZED VIEW":
        return (_clustered_feed(statement, name, on),)
    if not _is_sharded(name):
        # One table of the whole cluster: every server has all of it.
        text = _replicated(statement, "/clickhouse/tables/{database}/{table}", "{shard}-{replica}")
        return (_CREATE.sub(f"CREATE TABLE IF NOT EXISTS {name}{on}", text),)
    text = _replicated(statement, "/clickhouse/tables/{shard}/{database}/{table}", "{replica}")
    engine = f"Distributed('{shape.cluster}', '{shape.database}', '{name}_local', sipHash64(TraceId))"
    return (
        _CREATE.sub(f"CREATE TABLE IF NOT EXISTS {name}_local{on}", text),
        f"CREATE TABLE IF NOT EXISTS {name}{on} AS {name}_local ENGINE = {engine}",
    )


def _clustered_feed(statement: str, name: str, on: str) -> str:
    # From the spans of a shard to the calls of the same shard.
    text = re.sub(r"\bTO (\w+) AS\b", r"TO \1_local AS", statement)
    text = re.sub(r"\bFROM otel_traces\b", "FROM otel_traces_local", text)
    return _CREATE.sub(f"CREATE MATERIALIZED VIEW IF NOT EXISTS {name}{on}", text)


def _replicated(statement: str, path: str, replica: str) -> str:
    def engine(found: re.Match[str]) -> str:
        arguments = ", ".join(filter(None, (f"'{path}'", f"'{replica}'", found["arguments"])))
        return f"ENGINE = Replicated{found['kind']}({arguments})"

    return _WINDOW.sub(_REPLICATED_WINDOW, _ENGINE.sub(engine, statement))
