"""The HTTP interface in front of the embedded database, as clickhouse-connect and plain HTTP see it."""

from __future__ import annotations

import gzip
import http.client
import socket
import threading
import zlib
from collections.abc import Iterator, Mapping
from datetime import datetime
from decimal import Decimal
from importlib import import_module
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote, urlsplit

import clickhouse_connect
import pytest
from clickhouse_connect.driver.exceptions import DatabaseError, OperationalError

from otel_llm_exporters.clickhouse.embedded import EmbeddedStore
from otel_llm_exporters.clickhouse.serve import ChServer, DropConnection, Refusal, Request
from otel_llm_exporters.clickhouse.stores import QueryError

zstd: Any = import_module("clickhouse_connect.driver.compression")
TOKEN = "let me in"
NO_HEADERS: Mapping[str, str] = {}
Driver = Any


def client(server: ChServer, **options: Any) -> Driver:
    parts = urlsplit(server.url)
    connect = cast("Any", clickhouse_connect).get_client
    return connect(host=parts.hostname, port=parts.port, **{"autogenerate_session_id": False, **options})


def ask(
    server: ChServer, target: str, body: bytes = b"", headers: Mapping[str, str] = NO_HEADERS
) -> tuple[int, dict[str, str], bytes]:
    """One plain request: GET without a body, else POST."""
    connection = http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=20)
    try:
        connection.request("POST" if body else "GET", target, body or None, dict(headers))
        response = connection.getresponse()
        return response.status, dict(response.getheaders()), response.read()
    finally:
        connection.close()


@pytest.fixture
def reading(opened_store: EmbeddedStore) -> Iterator[ChServer]:
    with ChServer(opened_store.engine) as server:
        yield server


@pytest.fixture
def writing(opened_store: EmbeddedStore) -> Iterator[ChServer]:
    """A server that may be written to, and an empty table `t`."""
    opened_store.execute("DROP TABLE IF EXISTS t SYNC")
    opened_store.execute(
        "CREATE TABLE t (a UInt32, b String) ENGINE = MergeTree ORDER BY a "
        "SETTINGS non_replicated_deduplication_window = 100"
    )
    with ChServer(opened_store.engine, write=True, token=TOKEN) as server:
        yield server
    opened_store.execute("DROP TABLE t SYNC")


# Questions


def test_values_come_as_they_are(reading: ChServer) -> None:
    found = client(reading).query(
        "SELECT toDecimal64('1.000000000001', 12), map('a', 1), [1, 2], "
        "toDateTime64('2026-01-02 03:04:05.678901', 6, 'UTC'), 'é', NULL, toLowCardinality('x')"
    )
    at = datetime(2026, 1, 2, 3, 4, 5, 678901)
    assert found.result_rows == [(Decimal("1.000000000001"), {"a": 1}, [1, 2], at, "é", None, "x")]


def test_parameters_and_settings(reading: ChServer) -> None:
    hostile = "it's \\ \t \n é {x}"
    found = client(reading).query(
        "SELECT {text:String}, {n:Nullable(Int64)}, getSetting('max_threads')",
        parameters={"text": hostile, "n": None},
        settings={"max_threads": 1},
    )
    assert found.result_rows == [(hostile, None, 1)]


@pytest.mark.parametrize("sql", ["SELECT 1 AS a, 'x' AS b LIMIT 0", "SELECT 1 AS a, 'x' AS b WHERE 0 -- none"])
def test_an_empty_result_has_columns(reading: ChServer, sql: str) -> None:
    found = client(reading).query(sql)
    assert (found.column_names, found.result_rows) == (("a", "b"), [])


def test_the_query_may_be_in_the_url_in_the_body_and_in_both(reading: ChServer) -> None:
    assert ask(reading, f"/?query={quote('SELECT 1')}")[2] == b"1\n"
    assert ask(reading, "/", b"SELECT 2 FORMAT CSV")[2] == b"2\n"
    assert ask(reading, f"/?query={quote('SELECT 1 +')}", b"2")[2] == b"3\n"
    assert ask(reading, f"/?default_format=JSONEachRow&query={quote('SELECT 1 AS a')}")[2] == b'{"a":1}\n'
    assert ask(reading, f"/?database=system&query={quote('SELECT currentDatabase()')}")[2] == b"system\n"


def test_headers_say_what_it_is(reading: ChServer) -> None:
    _, headers, _ = ask(reading, f"/?query_id=q-1&query={quote('SELECT 1 FORMAT JSON')}")
    assert headers["X-ClickHouse-Query-Id"] == "q-1"
    assert headers["X-ClickHouse-Format"] == "JSON"
    assert headers["Content-Type"] == "application/json"
    assert headers["X-ClickHouse-Timezone"] == reading.timezone
    assert ask(reading, "/ping")[2] == b"Ok.\n"
    assert ask(reading, "/")[2] == b"Ok.\n"


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "zstd"])
def test_an_answer_is_compressed_where_that_is_asked_for(reading: ChServer, encoding: str) -> None:
    target = f"/?enable_http_compression=1&query={quote('SELECT number FROM numbers(1000)')}"
    _, headers, body = ask(reading, target, headers={"Accept-Encoding": encoding})
    assert headers["Content-Encoding"] == encoding
    inflate = {"gzip": gzip.decompress, "deflate": zlib.decompress, "zstd": zstd._zstd_decompress}[encoding]
    assert inflate(body).splitlines()[-1] == b"999"
    assert (
        "Content-Encoding" not in ask(reading, target.replace("=1", "=0", 1), headers={"Accept-Encoding": encoding})[1]
    )


@pytest.mark.parametrize(
    ("sql", "status", "code", "name"),
    [
        ("SELECT x FROM nope", 404, 60, "UNKNOWN_TABLE"),
        ("SELEC 1", 400, 62, "SYNTAX_ERROR"),
        ("SELECT 1; SELECT 2", 400, 62, "SYNTAX_ERROR"),
        ("SELECT throwIf(1)", 500, 395, "FUNCTION_THROW_IF_VALUE_IS_NON_ZERO"),
        ("SELECT 1 FORMAT Nope", 404, 73, "UNKNOWN_FORMAT"),
        ("SELECT {a:String}", 400, 456, "UNKNOWN_QUERY_PARAMETER"),
        ("   ", 400, 62, "SYNTAX_ERROR"),
    ],
)
def test_an_error_is_clickhouses(reading: ChServer, sql: str, status: int, code: int, name: str) -> None:
    found, headers, body = ask(reading, "/", sql.encode())
    assert (found, headers["X-ClickHouse-Exception-Code"]) == (status, str(code))
    assert body.startswith(b"Code: %d. DB::Exception: " % code)
    assert f"({name})".encode() in body
    if sql.strip():
        with pytest.raises(DatabaseError) as raised:
            client(reading).command(sql)
        assert raised.value.code == code


def test_what_is_not_supported_says_so(reading: ChServer) -> None:
    assert b"use that of HTTP" in ask(reading, "/?compress=1", b"SELECT 1")[2]
    assert b"Unknown setting 'nonsense'" in ask(reading, "/?nonsense=1", b"SELECT 1")[2]
    assert b"Unknown Content-Encoding" in ask(reading, "/", b"SELECT 1", {"Content-Encoding": "snappy"})[2]
    assert b"The body is not gzip" in ask(reading, "/", b"SELECT 1", {"Content-Encoding": "gzip"})[2]
    assert b"not UTF-8" in ask(reading, "/", b"SELECT '\xff'")[2]


# Inserts


def test_rows_are_inserted(writing: ChServer) -> None:
    db = client(writing, password=TOKEN)
    assert db.insert("t", [[n, "x" * 100] for n in range(50_000)], column_names=["a", "b"]).written_rows == 50_000
    assert db.query("SELECT count(), uniqExact(a), sum(length(b)) FROM t").result_rows == [(50_000, 50_000, 5_000_000)]
    db.command("INSERT INTO t VALUES (1, 'FORMAT Native'), (2, 'y')")
    db.command("INSERT INTO t (a, b) SELECT 3, 'SELECT'")
    assert ask(writing, "/?query=INSERT+INTO+t+FORMAT+CSV&password=" + quote(TOKEN), b'4,"four"\n')[0] == 200
    assert db.command("SELECT count() FROM t") == 50_004


@pytest.mark.parametrize("compression", [None, "gzip", "deflate", "zstd", "lz4"])
def test_native_blocks_are_inserted_however_compressed(writing: ChServer, compression: str | None) -> None:
    db = client(writing, password=TOKEN)
    data = db.raw_query("SELECT toUInt32(number) AS a, 'FORMAT\n' AS b FROM numbers(10)", fmt="Native")
    deflate: dict[str | None, Any] = {
        None: bytes,
        "gzip": gzip.compress,
        "deflate": zlib.compress,
        "zstd": zstd._zstd_compress,
        "lz4": import_module("lz4.frame").compress,
    }
    once, twice = deflate[compression](data), deflate[compression](data + data)
    body = twice if compression == "deflate" else once + once  # several frames, as spools have them
    db.raw_insert("t", ["a", "b"], body, fmt="Native", compression=compression)
    assert db.query("SELECT count(), uniqExact(a) FROM t").result_rows == [(20, 10)]


def test_a_token_makes_an_insert_happen_once(writing: ChServer) -> None:
    db = client(writing, password=TOKEN)
    data = db.raw_query("SELECT toUInt32(1) AS a, 'x' AS b", fmt="Native")
    for token in ("one", "one", "two"):
        settings = {"insert_deduplication_token": token, "async_insert": 0}
        db.raw_insert("t", ["a", "b"], data, settings, fmt="Native")
    assert db.command("SELECT count() FROM t") == 2


def test_bytes_that_are_no_block_are_refused_and_insert_nothing(writing: ChServer) -> None:
    db = client(writing, password=TOKEN)
    with pytest.raises(DatabaseError) as raised:
        db.raw_insert("t", ["a", "b"], b"\x02\x05this is none", fmt="Native")
    assert "CANNOT_READ_ALL_DATA" in str(raised.value)
    assert db.command("SELECT count() FROM t") == 0


def test_four_writers_at_once(writing: ChServer) -> None:
    def write(first: int) -> None:
        db = client(writing, password=TOKEN)
        for n in range(5):
            db.insert("t", [[first + n, "x"]], column_names=["a", "b"])

    threads = [threading.Thread(target=write, args=(first * 100,)) for first in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert client(writing, password=TOKEN).query("SELECT count(), uniqExact(a) FROM t").result_rows == [(20, 20)]


@pytest.mark.parametrize(
    "head", ["Content-Length: 999\r\n\r\n1,x\n", "Transfer-Encoding: chunked\r\n\r\n4\r\n1,x\n\r\n"]
)
def test_half_a_body_inserts_nothing(writing: ChServer, head: str) -> None:
    target = f"/?password={quote(TOKEN)}&query={quote('INSERT INTO t FORMAT CSV')}"
    with socket.create_connection(("127.0.0.1", urlsplit(writing.url).port or 0)) as connection:
        connection.sendall(f"POST {target} HTTP/1.1\r\nHost: x\r\n{head}".encode())
        connection.shutdown(socket.SHUT_WR)
        assert connection.makefile("rb").readline() in (b"", b"HTTP/1.1 400 Bad Request\r\n")
    assert client(writing, password=TOKEN).command("SELECT count() FROM t") == 0


@pytest.mark.parametrize(("length", "status"), [("many", 400), ("-1", 400), (str(1 << 40), 413)])
def test_a_length_that_makes_no_sense_is_refused(reading: ChServer, length: str, status: int) -> None:
    assert ask(reading, "/", b"SELECT 1", {"Content-Length": length})[0] == status


# Who may do what


def test_without_a_token_only_this_computer_reads(opened_store: EmbeddedStore) -> None:
    with pytest.raises(ValueError, match="needs a token"):
        ChServer(opened_store.engine, write=True)
    with pytest.raises(ValueError, match="open to other computers"):
        ChServer(opened_store.engine, "0.0.0.0")


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": "Bearer " + TOKEN},
        {"Authorization": "Basic ZGVmYXVsdDpsZXQgbWUgaW4="},
        {"X-ClickHouse-User": "default", "X-ClickHouse-Key": TOKEN},
    ],
)
def test_the_token_may_come_in_many_ways(writing: ChServer, headers: dict[str, str]) -> None:
    assert ask(writing, "/", b"INSERT INTO t VALUES (1, 'x')", headers)[0] == 200
    wrong = {name: "Bearer nonsense" if name == "Authorization" else "nonsense" for name in headers}
    for refused in (wrong, {}):
        status, answer, _ = ask(writing, "/", b"SELECT 1", refused)
        assert (status, answer["X-ClickHouse-Exception-Code"]) == (403, "516")
    with pytest.raises(DatabaseError, match="516"):
        client(writing, password="nonsense")


def test_a_token_alone_does_not_write(opened_store: EmbeddedStore) -> None:
    with ChServer(opened_store.engine, token=TOKEN, owner="mine") as server:
        assert client(server, password=TOKEN).command("SELECT 1") == 1
        with pytest.raises(DatabaseError, match="readonly mode"):
            client(server, password=TOKEN).command("CREATE TABLE x (a Int8) ENGINE = Memory")
        client(server, password="mine").command("SYSTEM FLUSH LOGS")


def test_a_page_in_a_browser_that_took_this_address_does_not_read(reading: ChServer) -> None:
    assert ask(reading, "/", b"SELECT 1", {"Host": "evil.example:8123"})[0] == 403
    assert ask(reading, "/", b"SELECT 1", {"Host": "localhost:8123"})[0] == 200


@pytest.mark.parametrize(
    "sql",
    [
        "INSERT INTO llm_calls (TraceId) VALUES ('x')",
        "INSERT INTO llm_calls (TraceId) FORMAT CSV\nx",
        "INSERT INTO FUNCTION file('{out}') SELECT 1",
        "DROP TABLE llm_calls",
        "SET max_threads = 1",
        "CREATE TEMPORARY TABLE x (a String) ENGINE = File(CSV, '{secret}')",
        "SYSTEM SHUTDOWN",
        "SELECT * FROM file('{secret}', LineAsString)",
        "SELECT file('{secret}')",
        "SELECT /* */ `fi\\x6ce`('{secret}')",
        "SELECT 'a' IN file('{secret}')",
        "SELECT * FROM '{secret}'",
        "SELECT * FROM default.`{secret}`",
        "SELECT 'a' IN `{secret}`",
        "SELECT * FROM {{table:Identifier}}",
        "WITH x AS (SELECT * FROM file('{secret}')) SELECT * FROM x",
        "SELECT * FROM view(SELECT * FROM file('{secret}'))",
        "DESCRIBE TABLE file('{secret}')",
        "EXPLAIN SELECT * FROM file('{secret}')",
        "SELECT 1 INTO OUTFILE '{out}'",
        "SELECT 1 INTO /* */ OUTFILE '{out}' AND STDOUT",
        "SELECT 1 SETTINGS additional_table_filters = {{'system.one': 'dummy IN file(''{secret}'')'}}",
        "SELECT 1 FORMAT Template SETTINGS format_template_resultset = '{secret}'",
        "SELECT * FROM url('http://127.0.0.1:9/', LineAsString)",
        "SELECT * FROM python('secret')",
        "SELECT * FROM executable('ls', TSV, 'a String')",
        "SELECT 1; SELECT file('{secret}')",
    ],
)
def test_whoever_only_reads_reads_tables_only(reading: ChServer, tmp_path: Path, sql: str) -> None:
    secret, out = tmp_path / "secret.csv", tmp_path / "out.csv"
    secret.write_text("do not tell\n")
    statement = sql.format(secret=secret, out=out)
    status, _, body = ask(reading, f"/?param_table={quote(str(secret))}", statement.encode())
    assert status >= 400, body
    assert b"do not tell" not in body
    assert not out.exists()


def test_a_setting_in_the_url_opens_no_file(reading: ChServer, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("do not tell\n")
    target = f"/?format_template_resultset={tmp_path}/secret&query={quote('SELECT 1 FORMAT Template')}"
    assert b"reaches beyond the tables" in ask(reading, target)[2]
    assert b"READONLY" in ask(reading, f"/?readonly=0&query={quote('SELECT 1')}")[2]


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT count() FROM llm_calls FINAL",
        "WITH x AS (SELECT 1 AS a) SELECT a FROM x",
        "-- why\nSELECT 'a; b INTO OUTFILE' AS `INTO OUTFILE`;",
        "(SELECT 1) UNION ALL (SELECT 2)",
        "SELECT sum(number / 2) FROM numbers(4) SETTINGS max_threads = 1",
        "DESC llm_calls",
        "SHOW TABLES",
        "SHOW CREATE TABLE interactions",
        "EXISTS TABLE nope",
        "EXPLAIN SELECT 1",
    ],
)
def test_whoever_reads_may_ask_anything_of_tables(reading: ChServer, sql: str) -> None:
    assert ask(reading, "/", sql.encode())[0] == 200


def test_get_never_writes(writing: ChServer) -> None:
    target = f"/?query={quote('DROP TABLE t')}"
    assert b"readonly mode" in ask(writing, target, headers={"X-ClickHouse-Key": TOKEN})[2]


# Faults, and the end


def test_faults_can_be_injected(writing: ChServer) -> None:
    db = client(writing, password=TOKEN, query_retries=0)
    seen: list[str] = []

    def unavailable(request: Request) -> None:
        seen.append(request.sql)
        raise Refusal(503, "Not now.")

    writing.before = unavailable
    with pytest.raises(OperationalError, match=r"Not now\."):
        db.raw_insert("t", ["a", "b"], b"5,x\n", fmt="CSV")
    assert seen == ["INSERT INTO t (`a`, `b`) FORMAT CSV\n5,x\n"]
    writing.before = None

    def drop(request: Request) -> None:
        seen.append(request.sql)
        raise DropConnection

    writing.after = drop
    with pytest.raises(OperationalError):
        db.raw_insert("t", ["a", "b"], b"5,x\n", fmt="CSV")
    writing.after = None
    assert len(seen) > 1
    assert db.command("SELECT count() FROM t") == 1, "inserted, though nobody was told"


def test_idle_connections_do_not_hold_up_the_end(opened_store: EmbeddedStore) -> None:
    with ChServer(opened_store.engine) as server:
        parts = urlsplit(server.url)
        assert parts.port
        idle = socket.create_connection(("127.0.0.1", parts.port))
        kept = client(server)
        assert kept.command("SELECT 1") == 1
    assert idle.recv(1) == b""
    idle.close()
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", parts.port))


def test_an_error_has_its_number(opened_store: EmbeddedStore) -> None:
    with pytest.raises(QueryError) as raised:
        opened_store.query("SELECT * FROM nope")
    assert (raised.value.code, raised.value.name) == (60, "UNKNOWN_TABLE")
