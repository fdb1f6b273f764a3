from __future__ import annotations

import enum
import json
import subprocess
import sys
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import pytest
from clickhouse_connect.datatypes.registry import get_from_name
from clickhouse_connect.driver.insert import InsertContext
from clickhouse_connect.driver.transform import NativeTransform
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import (
    Link,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceState,
    format_span_id,
    format_trace_id,
)
from store_parts import SECOND, START, MakeSpan, Store, context

from otel_llm_exporters.clickhouse.formats import COLUMNS, Format, Row, block
from otel_llm_exporters.clickhouse.rows import encode, row
from tests.segments import rows_of

TYPES = {name: codec.type for name, codec in COLUMNS.items()}


def reference(rows: list[Row]) -> bytes:
    """The bytes that clickhouse-connect sends for the same rows."""
    context = InsertContext(
        "t",
        list(TYPES),
        [get_from_name(type_) for type_ in TYPES.values()],
        [list(column) for column in zip(*rows, strict=True)],
        column_oriented=True,
    )
    body = b"".join(NativeTransform().build_insert(context))
    if context.insert_exception:
        raise context.insert_exception
    return body.split(b"\n", 1)[1]


def rich_spans(make_span: MakeSpan, count: int) -> list[ReadableSpan]:
    link = Link(SpanContext(5, 6, is_remote=True, trace_state=TraceState([("k", "v")])), {"l": 1})
    return [
        make_span(
            {
                "key": f"välue {i}",
                f"key {i}": i,
                "text": "x" * (i % 300),
                "none": None,
                "yes": True,
                "list": ["a", "b"],
            },
            name=f"span {i % 7}",
            start=START + i,
            end=START + i * SECOND,
            kind=list(SpanKind)[i % 5],
            status=Status(StatusCode.ERROR, "böse") if i % 3 == 0 else None,
            links=[link] * (i % 3),
            events=[("retry", {"n": i}, START + 5)] * (i % 4),
        )
        for i in range(count)
    ]


@pytest.mark.parametrize("count", [1, 255, 256, 1500])
def test_bytes_are_those_of_clickhouse_connect(make_span: MakeSpan, count: int) -> None:
    rows = [row(span) for span in rich_spans(make_span, count)]
    assert block(rows, "Native").data == reference(rows)


def test_bytes_are_those_of_clickhouse_connect_for_a_very_wide_dictionary(make_span: MakeSpan) -> None:
    one = row(make_span({}))
    attributes = list(COLUMNS).index("SpanAttributes")
    wide = {f"key {i}": str(i) for i in range(70_000)}
    rows = [(*one[:attributes], wide, *one[attributes + 1 :])]
    assert block(rows, "Native").data == reference(rows)


def test_no_spans_are_no_bytes() -> None:
    assert encode([])[:2] == block([], "Native")[:2] == (0, b"")


def test_a_span_reads_as_the_collector_writes_it(make_span: MakeSpan) -> None:
    parent = make_span(name="parent")
    span = make_span(
        {"ratio": 0.2, "whole": 3.0, "small": 0.0000123, "tokens": 12, "on": True, "reasons": ["stop", "länge"]},
        parent=parent,
        status=Status(StatusCode.ERROR, "no"),
    )
    values: dict[str, Any] = dict(zip(COLUMNS, row(span), strict=True))
    assert values["Timestamp"] == START
    assert values["Duration"] == 2 * SECOND
    assert values["TraceId"] == format_trace_id(context(span).trace_id)
    assert values["ParentSpanId"] == format_span_id(context(parent).span_id)
    assert (values["SpanKind"], values["StatusCode"], values["StatusMessage"]) == ("Client", "Error", "no")
    assert (values["ServiceName"], values["ScopeName"], values["ScopeVersion"]) == ("shop", "otel_llm", "0.1.0")
    assert values["ResourceAttributes"]["process.pid"] == "7"
    assert values["SpanAttributes"] == {
        "ratio": "0.2",
        "whole": "3",
        "small": "0.0000123",
        "tokens": "12",
        "on": "true",
        "reasons": '["stop","länge"]',
    }


class Colour(enum.StrEnum):
    RED = "red"


class Level(enum.IntEnum):
    HIGH = 9


class Unspeakable:
    def __str__(self) -> str:
        raise ZeroDivisionError

    __repr__ = __str__


def deep() -> list[Any]:
    nested: list[Any] = []
    for _ in range(100_000):
        nested = [nested]
    return nested


def cycle() -> list[Any]:
    nested: list[Any] = []
    nested.append(nested)
    return nested


HOSTILE: dict[str, tuple[Any, str | None]] = {
    "none": (None, ""),
    "lone surrogate": ("a\ud800b", "a\\ud800b"),
    "nul": ("a\0b", "a\0b"),
    "huge int": (10**5000, None),
    "negative": (-(2**80), hex(-(2**80))),
    "bytes": (b"\xff\x00", "/wA="),
    "nested": ({"a": [1, {"b": None, "c": b"\xff"}]}, '{"a":[1,{"b":null,"c":"/w=="}]}'),
    "proxy": (MappingProxyType({"a": 1}), '{"a":1}'),
    "odd keys": ({(1, 2): 3, None: 4}, '{"null":4}'),
    "huge int in a list": ([10**5000], None),
    "surrogate in a list": (["\udcff"], '["\\udcff"]'),
    "nan": (float("nan"), "nan"),
    "infinite": (float("-inf"), "-inf"),
    "string enum": (Colour.RED, "red"),
    "int enum": (Level.HIGH, "9"),
    "cycle": (cycle(), None),
    "deep": (deep(), None),
    "unspeakable": (Unspeakable(), None),
    "unspeakable in a list": ([Unspeakable()], None),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_every_attribute_value_becomes_text(name: str) -> None:
    value, expected = HOSTILE[name]
    (stored,) = rows_of(encode([span_of(attributes={"key": value})]))
    read = stored["SpanAttributes"]["key"]
    assert isinstance(read, str)
    assert expected is None or read == expected


@pytest.mark.parametrize(
    "broken",
    [
        {"name": None},
        {"name": "\udc80"},
        {"context": None},
        {"start_time": None, "end_time": None},
        {"start_time": -5, "end_time": 2**80},
        {"start_time": 1790000000.5, "end_time": float("inf")},
        {"start_time": float("nan"), "end_time": "now"},
        {"attributes": None, "instrumentation_scope": None},
        {"attributes": {7: "number", None: "none", "": "empty"}},
        {"kind": "client", "status": Status()},
    ],
)
def test_a_broken_span_is_stored_all_the_same(broken: Mapping[str, Any]) -> None:
    assert len(rows_of(encode([span_of(**broken)]))) == 1
    assert len(rows_of(block([row(span_of(**broken))], "Native"))) == 1


def test_a_span_that_cannot_be_read_does_not_take_the_others_along(
    make_span: MakeSpan, caplog: pytest.LogCaptureFixture
) -> None:
    encoded = encode([make_span(), span_of(attributes=7), make_span()])
    assert encoded.rows == len(rows_of(encoded)) == 2
    assert "cannot be read" in caplog.text


def test_hostile_values_reach_the_database(store: Store) -> None:
    spans = [span_of(attributes={"key": value, "n": str(n)}) for n, (value, _) in enumerate(HOSTILE.values())]
    store.add(*spans)
    stored = dict(store.rows("SELECT toUInt32(SpanAttributes['n']), SpanAttributes['key'] FROM otel_traces"))
    for n, (_, expected) in enumerate(HOSTILE.values()):
        assert expected is None or stored[n] == expected


@pytest.mark.parametrize(("count", "format_"), [(600, "Native"), (20, "RowBinary")])
def test_everything_comes_back_from_the_database(
    make_span: MakeSpan, store: Store, count: int, format_: Format
) -> None:
    spans = rich_spans(make_span, count)
    assert encode(spans).format == format_
    store.add(*spans)
    columns = ", ".join(f"toUnixTimestamp64Nano(`{c}`)" if c == "Timestamp" else f"`{c}`" for c in COLUMNS)
    columns = columns.replace("`Events.Timestamp`", "arrayMap(t -> toUnixTimestamp64Nano(t), `Events.Timestamp`)")
    stored = store.rows(f"SELECT {columns} FROM otel_traces ORDER BY Timestamp")
    assert json.loads(json.dumps(stored)) == json.loads(json.dumps([row(span) for span in spans]))


def test_importing_it_is_light() -> None:
    heavy = "'chdb', 'clickhouse_connect', 'pandas', 'pyarrow', 'numpy', 'platformdirs', 'multiprocessing'"
    code = (
        "import sys; from otel_llm_exporters.clickhouse import LedgerProcessor, ClickHouseSpanExporter; "
        f"print({{m.split('.')[0] for m in sys.modules}} & {{{heavy}}})"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "set()\n"


def span_of(**fields: Any) -> ReadableSpan:
    """A span as no SDK would make it."""
    resource = Resource({"service.name": "shop"})
    return ReadableSpan(
        **{"name": "chat", "context": SpanContext(1, 2, is_remote=False), "resource": resource, **fields}  # type: ignore[arg-type]
    )
