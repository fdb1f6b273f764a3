"""What the tests of the store share."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol
from urllib.parse import urlsplit

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import Link, SpanContext, SpanKind, Status

from otel_llm_exporters.clickhouse.embedded import EmbeddedStore
from otel_llm_exporters.clickhouse.rows import encode

START = 1_790_000_000_000_000_000
SECOND = 1_000_000_000
TOKEN = "let-me-in"
DATABASE = "otel_llm_test"
# Read before the fixture that takes all settings away.
REAL_SERVER = os.environ.get("OTEL_LLM_TEST_CLICKHOUSE")


class MakeSpan(Protocol):
    def __call__(
        self,
        attributes: Mapping[str, Any] | None = None,
        *,
        name: str = ...,
        parent: ReadableSpan | None = None,
        start: int = ...,
        end: int = ...,
        kind: SpanKind = ...,
        status: Status | None = None,
        links: Sequence[Link] = (),
        events: Sequence[tuple[str, Mapping[str, Any], int]] = (),
    ) -> ReadableSpan: ...


def context(span: ReadableSpan) -> SpanContext:
    found = span.get_span_context()
    assert found
    return found


class Store:
    """The store of the test process, emptied, with a short way into it."""

    def __init__(self, store: EmbeddedStore) -> None:
        self.embedded = store
        self.spool = store.spool

    def add(self, *spans: ReadableSpan) -> None:
        """Take the way that spans take: a segment in the spool, then the import."""
        assert self.spool.write(encode(spans))
        self.embedded.import_spool()

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        return self.embedded.query(sql).rows

    def one(self, sql: str) -> dict[str, Any]:
        (row,) = self.embedded.query(sql).dicts()
        return row


class Place(NamedTuple):
    """A ClickHouse server, and a database of the test's own on it."""

    root: str
    url: str


def at(url: str, path: str = "", user: str | None = None) -> str:
    """The same server, another database or user (`name:password`)."""
    parts = urlsplit(url)
    netloc = parts.netloc if user is None else f"{user}@{parts.hostname}:{parts.port}"
    return parts._replace(path=path, netloc=netloc).geturl()
