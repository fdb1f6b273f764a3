from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.trace import Link, SpanKind, Status
from store_parts import DATABASE, REAL_SERVER, SECOND, START, TOKEN, MakeSpan, Place, Store, at

from otel_llm_exporters.clickhouse.embedded import EmbeddedStore
from otel_llm_exporters.clickhouse.migrations import Shape, apply, create_database
from otel_llm_exporters.clickhouse.serve import ChServer
from otel_llm_exporters.clickhouse.stores import ServerStore


class Recorder(SpanProcessor):
    def __init__(self) -> None:
        self.spans: list[ReadableSpan] = []

    def on_end(self, span: ReadableSpan) -> None:
        self.spans.append(span)


@pytest.fixture
def make_span() -> MakeSpan:
    """Ends a real span and returns what a processor gets of it."""
    recorder = Recorder()
    resource = Resource.create({"service.name": "shop", "deployment.environment.name": "test", "process.pid": 7})
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(recorder)
    tracer = provider.get_tracer("otel_llm", "0.1.0")

    def make(
        attributes: Mapping[str, Any] | None = None,
        *,
        name: str = "chat m-1",
        parent: ReadableSpan | None = None,
        start: int = START,
        end: int = START + 2 * SECOND,
        kind: SpanKind = SpanKind.CLIENT,
        status: Status | None = None,
        links: Sequence[Link] = (),
        events: Sequence[tuple[str, Mapping[str, Any], int]] = (),
    ) -> ReadableSpan:
        outer = parent.get_span_context() if parent else None
        context = trace.set_span_in_context(trace.NonRecordingSpan(outer)) if outer else None
        span = tracer.start_span(name, context, kind, dict(attributes or {}), links, start)
        for event, details, when in events:
            span.add_event(event, dict(details), when)
        if status:
            span.set_status(status)
        span.end(end)
        return recorder.spans[-1]

    return make


@pytest.fixture
def call_attributes() -> dict[str, Any]:
    """What the engine writes on the span of a call."""
    return {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "m-1",
        "gen_ai.response.model": "m-1-2026",
        "gen_ai.response.id": "resp-1",
        "gen_ai.response.finish_reasons": ["stop"],
        "gen_ai.usage.input_tokens": 1000,
        "gen_ai.usage.output_tokens": 50,
        "gen_ai.usage.cache_read.input_tokens": 800,
        "otel_llm.usage.input": 200,
        "otel_llm.usage.source": "provider",
        "otel_llm.cost.nano_usd": 1_234_567,
        "otel_llm.cost.input": 0.000234567,
        "otel_llm.cost.output": 0.001,
        "otel_llm.cost.status": "priced",
        "gen_ai.usage.cost.amount": 0.001234567,
        "gen_ai.usage.cost.currency": "USD",
        "gen_ai.usage.cost.source": "local",
        "otel_llm.price.key": "openai/m-1",
        "otel_llm.attempts": 1,
        "otel_llm.layer": "sdk",
        "otel_llm.interaction.id": "i-1",
        "otel_llm.interaction.name": "POST /chat",
    }


@pytest.fixture(scope="session")
def opened_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedStore]:
    # One per process: chdb knows one folder at a time, and leaks threads with each one that is opened.
    with EmbeddedStore(tmp_path_factory.mktemp("it's home")) as store:
        yield store


@pytest.fixture
def store(opened_store: EmbeddedStore) -> Store:
    for table in ("otel_traces", "otel_traces_trace_id_ts", "llm_calls", "interaction_roots"):
        opened_store.execute(f"TRUNCATE TABLE {table}")
    for path in (*opened_store.spool.directory.glob("*.*"), *opened_store.spool.rejected()):
        path.unlink()
    opened_store.imported.rejected.clear()
    opened_store.imported.spans = opened_store.imported.segments = 0
    return Store(opened_store)


@pytest.fixture(params=["chdb", "server"])
def place(request: pytest.FixtureRequest, opened_store: EmbeddedStore) -> Iterator[Place]:
    """The real engine behind HTTP, and the real server of OTEL_LLM_TEST_CLICKHOUSE where there is one."""
    if request.param == "server":
        if not REAL_SERVER:
            pytest.skip("OTEL_LLM_TEST_CLICKHOUSE names no server")
        yield Place(REAL_SERVER, at(REAL_SERVER, DATABASE))
    else:
        with ChServer(opened_store.engine, write=True, token=TOKEN) as server:
            root = at(server.url, user=f"default:{TOKEN}")
            yield Place(root, at(root, DATABASE))


@pytest.fixture
def remote(place: Place) -> Iterator[ServerStore]:
    """The store of an empty database with our tables."""
    with ServerStore(place.root, bare=True) as server:
        server.execute(f"DROP DATABASE IF EXISTS {DATABASE} SYNC")
        create_database(server, Shape(database=DATABASE))
        with ServerStore(place.url, bare=True) as database:
            apply(database)
        with ServerStore(place.url) as store:
            yield store
        server.execute(f"DROP DATABASE {DATABASE} SYNC")


@pytest.fixture
def ledger_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("OTEL_LLM_HOME", str(tmp_path))
    return tmp_path
