"""The tables on a server: applied once and by many, over a Collector's, and in the shape of a cluster."""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from store_parts import DATABASE, START, MakeSpan, Place, Store

from otel_llm_exporters.clickhouse import migrations, queries
from otel_llm_exporters.clickhouse.embedded import EmbeddedStore
from otel_llm_exporters.clickhouse.formats import COLUMNS
from otel_llm_exporters.clickhouse.migrations import Shape
from otel_llm_exporters.clickhouse.rows import encode
from otel_llm_exporters.clickhouse.server import connect
from otel_llm_exporters.clickhouse.stores import QueryError, Result, ServerStore, StoreError

# As the Collector's exporter creates them by default: no deduplication, rows that expire, a lookup table of its own.
COLLECTOR = """
CREATE TABLE otel_traces
(
    Timestamp DateTime64(9) CODEC(Delta(8), ZSTD(1)),
    TraceId String CODEC(ZSTD(1)),
    SpanId String CODEC(ZSTD(1)),
    ParentSpanId String CODEC(ZSTD(1)),
    TraceState String CODEC(ZSTD(1)),
    SpanName LowCardinality(String) CODEC(ZSTD(1)),
    SpanKind LowCardinality(String) CODEC(ZSTD(1)),
    ServiceName LowCardinality(String) CODEC(ZSTD(1)),
    ResourceAttributes Map(LowCardinality(String), String) CODEC(ZSTD(1)),
    ScopeName String CODEC(ZSTD(1)),
    ScopeVersion String CODEC(ZSTD(1)),
    SpanAttributes {attributes} CODEC(ZSTD(1)),
    Duration UInt64 CODEC(ZSTD(1)),
    StatusCode LowCardinality(String) CODEC(ZSTD(1)),
    StatusMessage String CODEC(ZSTD(1)),
    Events Nested(Timestamp DateTime64(9), Name LowCardinality(String), Attributes Map(LowCardinality(String), String)),
    Links Nested(TraceId String, SpanId String, TraceState String, Attributes Map(LowCardinality(String), String)),
    INDEX idx_trace_id TraceId TYPE bloom_filter(0.001) GRANULARITY 1
)
ENGINE = MergeTree
PARTITION BY toDate(Timestamp)
ORDER BY (ServiceName, SpanName, toDateTime(Timestamp))
TTL toDateTime(Timestamp) + toIntervalDay(3650)
SETTINGS ttl_only_drop_parts = 1;

CREATE TABLE otel_traces_trace_id_ts
(
    TraceId String CODEC(ZSTD(1)),
    Start DateTime CODEC(Delta, ZSTD(1)),
    End DateTime CODEC(Delta, ZSTD(1))
)
ENGINE = MergeTree
PARTITION BY toDate(Start)
ORDER BY (TraceId, Start);

CREATE MATERIALIZED VIEW otel_traces_trace_id_ts_mv TO otel_traces_trace_id_ts AS
SELECT TraceId, min(Timestamp) AS Start, max(Timestamp) AS End FROM otel_traces WHERE TraceId != '' GROUP BY TraceId
"""
OUTPUT = "SELECT count(), uniqExact(SpanId), sum(TotalCost) FROM llm_calls FINAL"


@pytest.fixture
def empty(place: Place) -> Iterator[ServerStore]:
    """A database without tables."""
    with ServerStore(place.root, bare=True) as server:
        server.execute(f"DROP DATABASE IF EXISTS {DATABASE} SYNC")
        migrations.create_database(server, Shape(database=DATABASE))
        with ServerStore(place.url, bare=True) as store:
            yield store
        server.execute(f"DROP DATABASE {DATABASE} SYNC")


def run(store: ServerStore, script: str) -> None:
    for statement in script.split(";\n"):
        if statement.strip():
            store.execute(statement)


def insert(place: Place, spans: list[Any], token: str | None = None) -> None:
    """One insert, as the Collector's exporter sends it, or as ours with a token."""
    client: Any = connect(place.url)
    settings = {"insert_deduplication_token": token, "async_insert": 0} if token else {}
    block = encode(spans)
    client.raw_insert("otel_traces", list(COLUMNS), block.data, settings, fmt=block.format)
    client.close()


def test_it_is_applied_once(empty: ServerStore) -> None:
    with pytest.raises(QueryError):
        migrations.applied(empty)
    assert migrations.apply(empty) == list(migrations.migrations())
    assert migrations.apply(empty) == []
    assert list(migrations.applied(empty)) == [migration.version for migration in migrations.migrations()]


def test_many_processes_may_apply_it_at_once(place: Place, empty: ServerStore) -> None:
    def apply(_: int) -> int:
        with ServerStore(place.url, bare=True) as store:
            return len(migrations.apply(store))

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(apply, range(4))) >= len(migrations.migrations())
    assert migrations.apply(empty) == []


def test_what_is_printed_makes_the_same_tables(empty: ServerStore) -> None:
    described = (
        "SELECT name, engine, replaceAll(create_table_query, currentDatabase(), ''), "
        "replaceAll(as_select, currentDatabase(), '') "
        "FROM system.tables WHERE database = currentDatabase() ORDER BY name"
    )
    migrations.apply(empty)
    applied = empty.query(described).rows
    for name, *_ in applied:
        empty.execute(f"DROP TABLE {name} SYNC")
    run(empty, migrations.script(Shape()))
    assert empty.query(described).rows == applied
    run(empty, migrations.script(Shape()))
    assert migrations.apply(empty) == []


def test_retention_is_a_ttl_on_every_table_that_grows(empty: ServerStore) -> None:
    migrations.apply(empty, Shape(retention_days=400))
    migrations.apply(empty, Shape(retention_days=30))
    found = empty.query(
        "SELECT name FROM system.tables WHERE database = currentDatabase() AND engine_full LIKE '%toIntervalDay(30)%'"
    )
    assert {row[0] for row in found.rows} >= {
        "otel_traces",
        "otel_traces_trace_id_ts",
        "llm_calls",
        "interaction_roots",
    }


def test_over_the_tables_of_a_collector(
    place: Place, empty: ServerStore, make_span: MakeSpan, call_attributes: dict[str, Any]
) -> None:
    def calls(first: int, count: int = 10) -> list[Any]:
        return [make_span(call_attributes, start=START + first + n) for n in range(count)]

    run(empty, COLLECTOR.replace("{attributes}", "Map(LowCardinality(String), String)"))
    before = calls(0)
    insert(place, before)
    migrations.apply(empty)
    assert empty.query(OUTPUT).rows == [(0, 0, None)]
    after = calls(100)
    insert(place, after)
    assert empty.query(OUTPUT).rows == [(10, 10, Decimal("0.01234567"))]
    for _ in range(2):
        insert(place, calls(200), "a segment")
    assert empty.query("SELECT count() FROM otel_traces").rows == [(30,)]
    assert empty.query("SELECT count() FROM otel_traces_trace_id_ts").rows == [(30,)]

    assert migrations.backfill(empty) == 1
    assert empty.query(OUTPUT).rows == [(30, 30, Decimal("0.03703701"))]
    assert empty.query("SELECT sum(Calls), sum(Cost) FROM interactions").rows == [(30, Decimal("0.03703701"))]
    assert empty.query("SELECT count() FROM otel_traces_trace_id_ts").rows == [(30,)]
    assert migrations.backfill(empty) is None
    assert migrations.apply(empty) == []


def test_attributes_as_json_are_refused(empty: ServerStore) -> None:
    run(empty, COLLECTOR.split(";\n", maxsplit=1)[0].replace("{attributes}", "JSON"))
    with pytest.raises(StoreError, match="a Map is needed: turn `json` off"):
        migrations.apply(empty)


# Clusters


CLUSTER = Shape("our_cluster", DATABASE, 400)


def clustered() -> list[str]:
    return [part.strip() for part in migrations.script(CLUSTER).split(";\n\n") if part.strip().removesuffix(";")]


def test_every_statement_of_a_cluster_can_be_parsed(opened_store: EmbeddedStore) -> None:
    for statement in clustered():
        if not statement.startswith("INSERT"):
            opened_store.query_format(f"EXPLAIN AST {statement.removesuffix(';')}", "TSVRaw")


def test_tables_of_a_cluster_are_replicated_and_distributed() -> None:
    text = "\n".join(clustered())
    assert not re.search(r"ENGINE = (?!Replicated|Distributed)", text)
    assert "non_replicated_deduplication_window" not in text
    for table in ("otel_traces", "llm_calls", "interaction_roots"):
        assert f"CREATE TABLE IF NOT EXISTS {table}_local ON CLUSTER `our_cluster`" in text
        engine = f"Distributed('our_cluster', '{DATABASE}', '{table}_local', sipHash64(TraceId))"
        assert f"CREATE TABLE IF NOT EXISTS {table} ON CLUSTER `our_cluster` AS {table}_local ENGINE = {engine}" in text
    assert not re.search(r"(?<!GLOBAL )\b(?:LEFT|INNER) JOIN\b", text)
    for statement in clustered():
        if statement.startswith(("CREATE", "ALTER")):
            assert "ON CLUSTER `our_cluster`" in statement


def test_the_schema_of_a_cluster_runs_on_one_server(
    place: Place, empty: ServerStore, make_span: MakeSpan, call_attributes: dict[str, Any]
) -> None:
    for statement in clustered():
        # What needs Keeper and several servers is taken out; the rest is as it is printed.
        text = statement.replace(" ON CLUSTER `our_cluster`", "")
        text = re.sub(r"ENGINE = Distributed\('\w+', ('\w+'), '(\w+)', .*", r"ENGINE = Merge(\1, '^\2$')", text)
        text = re.sub(r"ENGINE = Replicated(\w+)\('[^']+', '[^']+'(?:, (\w+))?\)", r"ENGINE = \1(\2)", text)
        if not text.startswith("USE"):
            empty.execute(text.removesuffix(";"))
    client: Any = connect(place.url)
    root = make_span({"otel_llm.interaction.id": "i-1", "otel_llm.interaction.calls": 2, "user.id": "u-1"}, name="root")
    spans = [root, *[make_span(call_attributes, parent=root, start=START + n) for n in range(2)]]
    block = encode(spans)
    for _ in range(2):
        client.raw_insert("otel_traces_local", list(COLUMNS), block.data, fmt=block.format)
    client.close()
    assert empty.query(OUTPUT).rows == [(2, 2, Decimal("0.002469134"))]
    (report,) = empty.query(*queries.report(["user"])).dicts()
    assert (report["dimension_0"], report["Calls"], report["Cost"]) == ("u-1", 2, Decimal("0.002469134"))
    (interaction,) = empty.query(*queries.interactions()).dicts()
    assert (interaction["UserId"], interaction["Calls"]) == ("u-1", 2)
    assert len(empty.query(*queries.spans("i-1")).rows) == 3


def test_a_cluster_is_recognised(opened_store: EmbeddedStore) -> None:
    class Distributed:
        """A database whose spans are distributed: chdb cannot have one."""

        def query(self, sql: str, parameters: Any = None) -> Result:
            engine = "Distributed(\\'our_cluster\\', \\'db\\', \\'t_local\\', sipHash64(TraceId))"
            tables = f"FROM (SELECT '{engine}' AS engine_full)"
            return opened_store.query(re.sub(r"FROM system\.tables WHERE .*", tables, sql), parameters)

        def query_format(self, sql: str, format: str, parameters: Any = None) -> bytes:  # noqa: A002
            return opened_store.query_format(sql, format, parameters)

        def execute(self, sql: str, parameters: Any = None) -> None:
            opened_store.execute(sql, parameters)

    assert migrations.cluster_of(opened_store) == ""
    assert migrations.mutable(opened_store, "llm_calls") == "llm_calls"
    assert migrations.cluster_of(Distributed()) == "our_cluster"
    assert migrations.mutable(Distributed(), "llm_calls") == "llm_calls_local ON CLUSTER `our_cluster`"
    assert migrations.mutable(Distributed(), "price_book") == "price_book"


# Documentation


def test_the_sql_of_the_page_runs(store: Store) -> None:
    page = (Path(__file__).parents[2] / "docs" / "clickhouse.md").read_text()
    statements = [
        part.strip()
        for block in re.findall(r"^```sql\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
        for part in block.split(";\n")
        if part.strip()
    ]
    for statement in statements:
        if statement.startswith(("CREATE USER", "GRANT")):
            store.embedded.query_format(f"EXPLAIN AST {statement}", "TSVRaw")  # chdb has no users
        elif statement.startswith("SELECT"):
            store.embedded.query(statement)
        else:
            store.embedded.execute(statement)
    store.embedded.execute("ALTER TABLE otel_traces REMOVE TTL")
    assert len(statements) > 12
    granted = set(re.findall(r"GRANT SELECT ON otel_llm\.(\w+) TO", page))
    known = {row[0] for row in store.rows("SELECT name FROM system.tables WHERE database = currentDatabase()")}
    assert granted <= known
