from __future__ import annotations

import subprocess
import sys
import textwrap
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from store_parts import SECOND, START, MakeSpan, Store

from otel_llm_exporters.clickhouse import drain
from otel_llm_exporters.clickhouse.embedded import EmbeddedStore
from otel_llm_exporters.clickhouse.formats import FORMATS, Block, block
from otel_llm_exporters.clickhouse.migrations import apply, migrations
from otel_llm_exporters.clickhouse.rows import encode, row
from otel_llm_exporters.clickhouse.spool import Spool
from otel_llm_exporters.clickhouse.stores import QueryError, StoreError

TOTALS = "SELECT count(), sum(TotalCost) FROM llm_calls FINAL"


def start(home: Path, code: str) -> subprocess.Popen[str]:
    """Start a command that uses the store, in a process of its own."""
    setup = """
        import sys
        from pathlib import Path
        from otel_llm_exporters.clickhouse.embedded import EmbeddedStore, StoreError
        home = Path(sys.argv[1])
        def count(store):
            return store.query("SELECT count(), uniqExact(SpanId) FROM otel_traces").rows[0]
    """
    script = textwrap.dedent(setup) + textwrap.dedent(code)
    return subprocess.Popen(
        [sys.executable, "-uc", script, str(home)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def said(process: subprocess.Popen[str]) -> str:
    """The next line that it prints."""
    assert process.stdout
    return process.stdout.readline().strip()


def finish(process: subprocess.Popen[str]) -> str:
    """Let it end; what it has printed since."""
    out, err = process.communicate(timeout=120)
    assert (process.returncode, err) == (0, "")
    return out.strip()


def call_spans(make_span: MakeSpan, attributes: dict[str, Any], count: int) -> list[Any]:
    return [make_span(attributes, start=START + n) for n in range(count)]


def test_spans_of_the_spool_are_imported_and_the_spool_is_empty(
    store: Store, make_span: MakeSpan, call_attributes: dict[str, Any]
) -> None:
    for _ in range(3):
        store.spool.write(encode(call_spans(make_span, call_attributes, 5)))
    store.embedded.import_spool()
    assert store.rows("SELECT count() FROM otel_traces") == [(15,)]
    assert store.rows(TOTALS) == [(15, Decimal("0.018518505"))]
    assert store.spool.segments() == []
    assert (store.embedded.imported.spans, store.embedded.imported.segments) == (15, 3)


def test_a_segment_that_comes_again_counts_once(
    store: Store, make_span: MakeSpan, call_attributes: dict[str, Any]
) -> None:
    spans = call_spans(make_span, call_attributes, 20)
    store.spool.write(encode(spans))
    (segment,) = store.spool.segments()
    data = segment.path.read_bytes()
    store.embedded.import_spool()
    before = store.rows(TOTALS)
    segment.path.write_bytes(data)
    store.embedded.import_spool()
    assert store.rows("SELECT count() FROM otel_traces") == [(20,)]
    assert store.rows("SELECT count() FROM llm_calls") == [(20,)]
    assert store.rows(TOTALS) == before


def test_spans_that_come_again_in_other_batches_do_not_change_the_money(
    store: Store, make_span: MakeSpan, call_attributes: dict[str, Any]
) -> None:
    spans = call_spans(make_span, call_attributes, 20)
    store.add(*spans)
    before = store.rows(TOTALS)
    store.add(*spans[:7])
    store.add(*spans[3:])
    assert store.rows("SELECT count() FROM otel_traces") == [(44,)]
    assert store.rows(TOTALS) == before
    assert store.one("SELECT * FROM interactions")["Calls"] == 20


def test_a_corrupt_segment_is_put_aside_and_the_rest_is_imported(store: Store, make_span: MakeSpan) -> None:
    for _ in range(3):
        store.spool.write(encode([make_span()]))
    broken = store.spool.segments()[1]
    broken.path.write_bytes(b"\0" + broken.path.read_bytes()[1:])
    store.embedded.import_spool()
    assert store.rows("SELECT count() FROM otel_traces") == [(2,)]
    (aside,) = store.embedded.imported.rejected
    assert aside.name == broken.path.name
    assert store.spool.rejected() == [aside]
    assert store.spool.segments() == []


def test_bytes_that_are_no_spans_are_put_aside_and_the_rest_is_imported(store: Store, make_span: MakeSpan) -> None:
    store.spool.write(encode([make_span()]))
    store.spool.write(Block(5, b"this is not a block at all", "Native"))
    for format_ in FORMATS:
        torn = block([row(make_span())], format_)
        store.spool.write(torn._replace(data=torn.data[:-3]))
    store.spool.write(encode([make_span()]))
    store.embedded.import_spool()
    assert store.rows("SELECT count() FROM otel_traces") == [(2,)]
    assert len(store.embedded.imported.rejected) == 3
    assert store.spool.segments() == []


def test_spans_of_many_days_are_imported_at_once(store: Store, make_span: MakeSpan) -> None:
    store.add(*[make_span(start=n * 86_400 * SECOND, end=n * 86_400 * SECOND) for n in range(101)])
    assert store.rows("SELECT count(), uniqExact(toDate(Timestamp)) FROM otel_traces") == [(101, 101)]


@pytest.mark.parametrize("moment", ["before the insert", "after the insert", "while segments are deleted"])
def test_an_import_that_is_broken_off_leaves_each_span_exactly_once(
    store: Store, make_span: MakeSpan, call_attributes: dict[str, Any], moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(4):
        store.spool.write(encode(call_spans(make_span, call_attributes, 3)))
    draining: Any = store.embedded._drain  # pyright: ignore[reportPrivateUsage]
    insert, unlink = draining._insert, Path.unlink

    def broken_insert(*what: Any) -> None:
        if moment == "after the insert":
            insert(*what)
        raise KeyboardInterrupt

    def broken_unlink(self: Path, missing_ok: bool = False) -> None:
        unlink(self, missing_ok)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        if moment == "while segments are deleted":
            patch.setattr(Path, "unlink", broken_unlink)
        else:
            patch.setattr(draining, "_insert", broken_insert)
        with pytest.raises(KeyboardInterrupt):
            store.embedded.import_spool()
    assert store.spool.segments() != []
    store.spool.write(encode([make_span()]))  # the next import would make another group of it
    store.embedded.import_spool()
    assert store.rows("SELECT count(), uniqExact(SpanId) FROM otel_traces") == [(13, 13)]
    assert store.rows("SELECT count(), uniqExact(SpanId) FROM llm_calls") == [(12, 12)]
    assert store.spool.segments() == []


def test_a_call_is_the_same_call_in_another_time_zone(
    tmp_path: Path, make_span: MakeSpan, call_attributes: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    end_of_month = int(datetime(2026, 10, 31, 23, 59, tzinfo=UTC).timestamp()) * SECOND
    block = encode([make_span(call_attributes, start=end_of_month)])
    asked = "SELECT serverTimezone(), count() FROM llm_calls FINAL"
    code = f"with EmbeddedStore(home) as store: print(store.query('{asked}').rows[0])"
    for zone in ("UTC", "Asia/Tokyo", "America/New_York"):
        monkeypatch.setenv("TZ", zone)
        Spool(tmp_path).write(block)
        assert finish(start(tmp_path, code)) == f"('{zone}', 1)"


def test_two_commands_at_once_take_turns(tmp_path: Path, make_span: MakeSpan) -> None:
    spool = Spool(tmp_path)
    spool.write(encode([make_span() for _ in range(10)]))
    first = start(tmp_path, "with EmbeddedStore(home) as s: print(count(s)); sys.stdin.readline()")
    assert said(first) == "(10, 10)"
    spool.write(encode([make_span() for _ in range(5)]))
    second = start(
        tmp_path,
        """
        try:
            EmbeddedStore(home, timeout=0).__enter__()
        except StoreError as error:
            print(error)
        with EmbeddedStore(home, on_wait=lambda: print("waits")) as s: print(count(s))
        """,
    )
    assert "Another otel-llm command has been using" in said(second)
    assert said(second) == "waits"
    assert finish(first) == ""
    assert finish(second) == "(15, 15)"


def test_progress_is_told_in_spans(
    opened_store: EmbeddedStore, store: Store, make_span: MakeSpan, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[int, int]] = []

    def tell(done: int, total: int) -> None:
        told.append((done, total))

    monkeypatch.setattr(opened_store, "_on_progress", tell)
    monkeypatch.setattr(drain, "_ROWS_AT_ONCE", 4)
    for _ in range(3):
        store.spool.write(encode([make_span(), make_span()]))
    store.embedded.import_spool()
    assert told == [(4, 6), (6, 6)]


def test_a_home_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreError) as raised:
        EmbeddedStore(tmp_path / "file").__enter__()
    assert str(raised.value) == (
        f"Cannot write to {tmp_path}/file/store (Not a directory): set OTEL_LLM_HOME to a folder that you may write to."
    )


def test_without_chdb_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "chdb", None)
    with pytest.raises(StoreError, match=r"pip install 'otel-llm\[embedded\]'"):
        EmbeddedStore(tmp_path).__enter__()


def test_a_folder_that_chdb_cannot_open_is_one_sentence(
    store: Store, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    # chdb has one folder per process, and this process has its own.
    with pytest.raises(StoreError, match=r"The store in .* cannot be used: [^\n]*different path[^\n]*$"):
        EmbeddedStore(tmp_path).__enter__()
    assert capfd.readouterr() == ("", "")


def test_another_program_in_the_folder_is_one_sentence(tmp_path: Path) -> None:
    other = start(tmp_path, "import chdb; c = chdb.connect(f'{home}/store/db'); print('open'); sys.stdin.readline()")
    assert said(other) == "open"
    code = "try: EmbeddedStore(home).__enter__()\nexcept StoreError as error: print(error)"
    assert "Another server instance in same directory is already running" in finish(start(tmp_path, code))
    finish(other)


def test_a_store_from_the_future_is_left_alone(opened_store: EmbeddedStore) -> None:
    opened_store.execute("INSERT INTO schema_migrations (Version, Name) VALUES (9999, 'later')")
    try:
        with pytest.raises(StoreError, match="newer otel-llm"):
            apply(opened_store)
    finally:
        opened_store.execute("DELETE FROM schema_migrations WHERE Version = 9999")


def test_each_step_of_the_schema_is_taken_once_and_may_run_twice(opened_store: EmbeddedStore) -> None:
    steps = opened_store.query("SELECT Version, Name FROM schema_migrations ORDER BY Version").rows
    assert steps == [(migration.version, migration.name) for migration in migrations()]
    for migration in migrations():
        for statement in migration.statements:
            opened_store.execute(statement)


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("SELECT x FROM nope", "Unknown table expression identifier 'nope'"),
        ("SELECT 1 FRM x y", "Syntax error"),
        ("DROP TABLE llm_calls", "readonly mode"),
        ("INSERT INTO llm_calls (TraceId) VALUES ('x')", "readonly mode"),
        ("SET readonly = 0", "readonly mode"),
        ("SELECT throwIf(1, 'my words')", "my words"),
        ("SELECT 1 FORMAT CSV", "without FORMAT"),
    ],
)
def test_an_error_in_sql_is_one_sentence(opened_store: EmbeddedStore, sql: str, message: str) -> None:
    with pytest.raises(QueryError) as raised:
        opened_store.query(sql)
    text = str(raised.value)
    assert message in text
    assert len(text) < 200
    assert not any(noise in text for noise in ("\n", "DB::", "Code:", "Stack trace", "version 2"))


def test_parameters_travel_beside_the_statement(opened_store: EmbeddedStore) -> None:
    hostile = 'it\'s \\ a "quote"\n\ttab {x} é\0 \\N'
    at = datetime(2026, 11, 22, 1, 2, 3, 456789, tzinfo=UTC)
    result = opened_store.query(
        "SELECT {text:String} AS text, {at:DateTime64(6)} AS at, {n:Nullable(Int64)} AS n, {d:Decimal(18, 9)} AS d",
        {"text": hostile, "at": at, "n": None, "d": Decimal("0.000000001")},
    )
    assert result.columns == ["text", "at", "n", "d"]
    assert result.types == ["String", "DateTime64(6)", "Nullable(Int64)", "Decimal(18, 9)"]
    assert result.rows == [(hostile, at, None, Decimal("1E-9"))]


def test_values_come_as_python_has_them(opened_store: EmbeddedStore) -> None:
    sql = "SELECT 18446744073709551615, true, nan, [1, 2], map('a', 1), toDecimal128('0.1', 12)"
    assert opened_store.query(sql).rows == [(2**64 - 1, True, None, [1, 2], {"a": 1}, Decimal("0.1"))]
    assert opened_store.query("SELECT 1 AS a WHERE 0") == (["a"], ["UInt8"], [])


def test_other_formats_are_bytes_of_clickhouse(opened_store: EmbeddedStore) -> None:
    assert opened_store.query_format("SELECT 1 AS a, 'x' AS b", "CSVWithNames") == b'"a","b"\n1,"x"\n'


def test_opening_it_prints_nothing(tmp_path: Path) -> None:
    assert finish(start(tmp_path, "with EmbeddedStore(home): pass")) == ""
