"""Beside OpenTelemetry's own instrumentations of HTTP clients and of Celery: each does its part, and once.

They have an environment of their own, because `opentelemetry-instrument` loads all that is installed.
"""
# pyright: reportMissingImports=false, reportMissingTypeStubs=false, reportUnknownVariableType=false
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false

from __future__ import annotations

import pytest

pytest.importorskip("opentelemetry.instrumentation.httpx")

import threading
from collections.abc import Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import openai
import requests
from celery import Celery
from opentelemetry.instrumentation.celery import CeleryInstrumentor
from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor
from opentelemetry.instrumentation.requests import RequestsInstrumentor
from opentelemetry.trace import SpanKind

import otel_llm
from examples.offline_provider import OfflineProvider
from otel_llm.frameworks import QueuesInstrumentor
from otel_llm_semconv import attributes as A
from tests.conftest import Spans

TRACED = {"traceparent", "tracestate", "baggage"}
pytestmark = pytest.mark.usefixtures("instrumented", "no_fault")


@contextmanager
def instrumented_by(*kinds: Any) -> Generator[None]:
    for kind in kinds:
        kind().instrument()
    try:
        yield
    finally:
        for kind in kinds:
            kind().uninstrument()


@contextmanager
def service() -> Generator[tuple[str, list[dict[str, str]]]]:
    """A service of one's own: its URL, and the headers that it got."""
    got: list[dict[str, str]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            got.append({name.lower(): value for name, value in self.headers.items()})
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name there
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,)).start()
        yield f"http://127.0.0.1:{server.server_port}", got
        server.shutdown()


@pytest.mark.parametrize("names", ["", "user"])
def test_services_get_the_trace_and_providers_get_nothing(
    names: str, provider: OfflineProvider, spans: Spans, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_LLM_BAGGAGE", names)

    def act() -> None:
        client = openai.OpenAI(base_url=provider.openai_url, api_key="offline")
        messages: Any = [{"role": "user", "content": "Hello [[offline: 429 once]]"}]
        for stream in (False, True):
            answer: Any = client.chat.completions.create(model="gpt-4o-mini", messages=messages, stream=stream)
            if stream:
                list(answer)

    with instrumented_by(HTTPXClientInstrumentor, RequestsInstrumentor), service() as (url, got):
        with otel_llm.interaction("act", user_id="ada") as it:
            act()
            httpx.get(url)
            requests.get(url, timeout=30)
        provider.settle()
        sent = [request.headers for request in provider.requests]
        # Each attempt has its span beneath ours, and says nothing of it to the provider.
        clients = [
            span
            for span in spans()
            if span.kind is SpanKind.CLIENT and A.GEN_AI_PROVIDER_NAME not in (span.attributes or {})
        ]
        assert len(clients) == len(sent) + 2
        assert len(sent) >= 3
        assert not [headers for headers in sent if TRACED & headers.keys() or "ada" in str(headers)]
        assert [headers["traceparent"].split("-")[1] for headers in got] == [it.id] * 2
        for headers in got:
            assert ("user.id=ada" in headers.get("baggage", "")) is bool(names)
        monkeypatch.setenv("OTEL_LLM_PROPAGATE_TO_PROVIDERS", "true")
        provider.clear()
        with otel_llm.interaction("act", user_id="ada"):
            act()
        provider.settle()
        assert all("traceparent" in request.headers for request in provider.requests)


def test_celery_is_traced_once(spans: Spans) -> None:
    app: Any = Celery("shop", broker="memory://", backend="cache+memory://")
    seen: list[Any] = []

    @app.task
    def task() -> None:
        seen.append(otel_llm.current_interaction())

    with instrumented_by(CeleryInstrumentor, QueuesInstrumentor):
        with otel_llm.interaction("order", user_id="ada") as it:
            task.apply()
        consumers = [span for span in spans() if span.kind is SpanKind.CONSUMER]
    assert [span.instrumentation_scope.name for span in consumers if span.instrumentation_scope] == [
        "opentelemetry.instrumentation.celery"
    ]
    assert [found.id for found in seen] == [it.id]
