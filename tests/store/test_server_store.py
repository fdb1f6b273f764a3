"""A store behind HTTP: the same answers as the embedded one, and its mistakes in one sentence each.

Where OTEL_LLM_TEST_CLICKHOUSE names a real server (`http://user:password@host:8123`), the same runs there.
"""

from __future__ import annotations

import socket
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from store_parts import DATABASE, START, TOKEN, MakeSpan, Place, at

from otel_llm_exporters.clickhouse import queries
from otel_llm_exporters.clickhouse.embedded import EmbeddedStore
from otel_llm_exporters.clickhouse.formats import COLUMNS
from otel_llm_exporters.clickhouse.rows import encode
from otel_llm_exporters.clickhouse.serve import ChServer, Refusal, Request
from otel_llm_exporters.clickhouse.server import connect
from otel_llm_exporters.clickhouse.stores import (
    QueryError,
    Served,
    ServerStore,
    Store,
    StoreError,
    open_store,
    served,
)


def insert(place: Place, spans: list[Any]) -> None:
    client: Any = connect(place.url)
    block = encode(spans)
    client.raw_insert("otel_traces", list(COLUMNS), block.data, fmt=block.format)
    client.close()


def test_values_come_as_from_the_embedded_store(remote: ServerStore, opened_store: EmbeddedStore) -> None:
    sql = (
        "SELECT 18446744073709551615 AS big, true AS yes, [1, 2] AS many, map('a', 1) AS map, 'é\n' AS text, "
        "toDecimal128('0.1', 12) AS money, toDateTime64('2026-01-02 03:04:05.678901234', 9) AS at, "
        "CAST(NULL, 'Nullable(DateTime64(6))') AS never;"
    )
    assert remote.query(sql) == opened_store.query(sql.rstrip(";"))
    assert remote.query("SELECT 1 AS a WHERE 0 -- none") == (["a"], ["UInt8"], [])
    assert remote.query_format("SELECT 1 AS a, 'x' AS b", "CSVWithNames") == b'"a","b"\n1,"x"\n'


def test_parameters_travel_beside_the_statement(remote: ServerStore) -> None:
    hostile = 'it\'s \\ a "quote"\n\ttab {x} %s é \\N'
    moment = datetime(2026, 11, 22, 1, 2, 3, 456789, tzinfo=UTC)
    result = remote.query(
        "SELECT {text:String} AS text, {at:DateTime64(6)} AS at, {n:Nullable(Int64)} AS n, {d:Decimal(18, 9)} AS d",
        {"text": hostile, "at": moment, "n": None, "d": Decimal("0.000000001")},
    )
    assert result.rows == [(hostile, moment, None, Decimal("1E-9"))]


def test_calls_and_reports_are_those_of_the_embedded_store(
    place: Place, remote: ServerStore, make_span: MakeSpan, call_attributes: dict[str, Any]
) -> None:
    root = make_span({"otel_llm.interaction.id": "i-1", "otel_llm.interaction.calls": 2, "user.id": "u-1"}, name="root")
    insert(place, [root, *[make_span(call_attributes, parent=root, start=START + n) for n in range(2)]])
    (report,) = remote.query(*queries.report(["user"])).dicts()
    assert (report["dimension_0"], report["Calls"], report["Cost"]) == ("u-1", 2, Decimal("0.002469134"))
    assert [row["InteractionId"] for row in remote.query(*queries.interactions(user="u-1")).dicts()] == ["i-1"]
    assert len(remote.query(*queries.spans("i-1")).rows) == 3
    assert remote.query(*queries.status()).dicts()[0]["Calls"] == 2
    (daily,) = remote.query("SELECT * FROM cost_by_user").dicts()
    assert (daily["UserId"], daily["Cost"], daily["PricedCalls"]) == ("u-1", Decimal("0.002469134"), 2)


@pytest.mark.parametrize(
    ("sql", "message", "name"),
    [
        ("SELECT x FROM nope", "nope", "UNKNOWN_TABLE"),
        ("SELECT 1 FRM x y", "Syntax error", "SYNTAX_ERROR"),
        ("DROP TABLE llm_calls", "readonly mode", "READONLY"),
        ("SELECT throwIf(1, 'my words')", "my words", "FUNCTION_THROW_IF_VALUE_IS_NON_ZERO"),
        ("SELECT 1 FORMAT CSV", "Syntax error", "SYNTAX_ERROR"),
    ],
)
def test_an_error_in_sql_is_one_sentence(remote: ServerStore, sql: str, message: str, name: str) -> None:
    with pytest.raises(QueryError) as raised:
        remote.query(sql)
    text = str(raised.value)
    assert message in text
    assert raised.value.name == name
    assert raised.value.code
    assert len(text) < 250
    assert not any(noise in text for noise in ("\n", "DB::", "Code:", "http:", "(version"))


def sentence(url: str) -> str:
    with pytest.raises(StoreError) as raised:
        ServerStore(url).__enter__()
    text = str(raised.value)
    assert TOKEN not in text
    assert "\n" not in text
    return text


def test_what_a_person_can_get_wrong(place: Place, remote: ServerStore) -> None:
    wrong = sentence(at(place.url, DATABASE, "default:nonsense"))
    assert "check the user and the password" in wrong
    assert "nonsense" not in wrong
    assert "nowhere does not exist" in sentence(at(place.url, "nowhere"))
    remote.execute("DROP TABLE schema_migrations SYNC")
    assert sentence(place.url).endswith("create them with `otel-llm schema apply`.")
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        assert "does not answer" in sentence(f"http://127.0.0.1:{closed.getsockname()[1]}/x")


def test_tables_of_another_version(place: Place, remote: ServerStore) -> None:
    remote.execute("INSERT INTO schema_migrations (Version, Name) VALUES (9999, 'later')")
    assert "newer otel-llm" in sentence(place.url)
    remote.execute("TRUNCATE TABLE schema_migrations")
    remote.execute("INSERT INTO schema_migrations (Version, Name) VALUES (1, 'otel_traces')")
    assert "older otel-llm" in sentence(place.url)


def test_a_server_that_goes_away(opened_store: EmbeddedStore) -> None:
    with ChServer(opened_store.engine) as server:
        store = ServerStore(server.url).__enter__()

        def overloaded(_: Request) -> None:
            raise Refusal(503, "Overloaded.")

        server.before = overloaded
        with pytest.raises(StoreError, match="does not answer"):
            store.query("SELECT 1")
    with pytest.raises(StoreError, match="does not answer"):
        store.query("SELECT 1")


# Which store


def test_the_server_of_the_setting_comes_first(
    place: Place, remote: ServerStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = urlsplit(place.url)
    if parts.password:
        monkeypatch.setenv("OTEL_LLM_CLICKHOUSE_PASSWORD", parts.password)
    monkeypatch.setenv("OTEL_LLM_CLICKHOUSE_URL", at(place.url, DATABASE, parts.username or "default"))
    with open_store(tmp_path) as store:
        assert store.query("SELECT currentDatabase()").rows == [(DATABASE,)]
    assert not (tmp_path / "store").exists()


def test_a_running_serve_is_used_and_a_dead_one_is_not(
    opened_store: EmbeddedStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OTEL_LLM_CLICKHOUSE_URL", raising=False)
    (tmp_path / "store").mkdir()
    with ChServer(opened_store.engine, owner="mine") as server:
        path = Served(server.url, 1, "mine").write(tmp_path)
        assert path.stat().st_mode & 0o777 == 0o600
        with open_store(tmp_path) as store:
            opened: Store = store
            assert isinstance(opened, ServerStore)
            opened.execute("OPTIMIZE TABLE schema_migrations")
        Served(server.url, 1, "of a former run").write(tmp_path)
        assert served(tmp_path) is None
        Served(server.url, 1, "mine").write(tmp_path)
    assert served(tmp_path) is None
    path.write_text("{")
    assert served(tmp_path) is None
