"""Calls and the pipeline around them: sampling, suppression, tracers that raise, and nothing left behind."""

from __future__ import annotations

import gc
import json
import sys
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from opentelemetry import trace
from opentelemetry.instrumentation.utils import suppress_instrumentation
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

import otel_llm
from examples.offline_provider import OfflineProvider
from otel_llm import distro, late
from otel_llm.dialects.openai_chat import chat
from otel_llm.engine.recording import begin
from otel_llm.engine.tap import tap
from otel_llm.integrations import OpenAIInstrumentor
from otel_llm.spec import Request
from otel_llm_semconv import attributes as A
from tests.conftest import Spans

MESSAGES: Any = [{"role": "user", "content": "Why?"}]


def ask(provider: OfflineProvider, **options: Any) -> Any:
    client: Any = openai.OpenAI(base_url=provider.openai_url, api_key="offline", max_retries=0)
    return client.chat.completions.create(model="gpt-4o-mini", messages=MESSAGES, **options)


class Ledger(SimpleSpanProcessor):
    """Takes every span that is recorded, sampled or not, as the ledger does."""

    def __init__(self) -> None:
        self.memory = InMemorySpanExporter()
        super().__init__(self.memory)

    def on_end(self, span: Any) -> None:
        self.memory.export([span])


@pytest.fixture
def unsampled(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Ledger, InMemorySpanExporter]]:
    """A ledger and another exporter, behind a sampler that wants nothing."""
    ledger, exporter = Ledger(), InMemorySpanExporter()
    pipeline = TracerProvider(sampler=ALWAYS_OFF, shutdown_on_exit=False)
    pipeline.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(distro, "_ledgers", lambda: [ledger])
    distro.attach(pipeline)
    instrumentor = OpenAIInstrumentor()
    instrumentor.instrument(tracer_provider=pipeline)
    yield ledger, exporter
    instrumentor.uninstrument()


@pytest.mark.usefixtures("no_fault")
@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
def test_what_is_not_sampled_is_in_the_ledger(
    provider: OfflineProvider, unsampled: tuple[Ledger, InMemorySpanExporter], stream: bool
) -> None:
    ledger, exporter = unsampled
    with otel_llm.interaction("unsampled", user_id="ada"):
        answer = ask(provider, stream=stream)
        assert list(answer) if stream else answer.choices
    late.drain()
    [call] = ledger.memory.get_finished_spans()
    attributes = call.attributes or {}
    assert attributes[A.OTEL_LLM_COST_NANO_USD] == provider.bill[0].cost_nano
    assert attributes[A.USER_ID] == "ada"
    assert not exporter.get_finished_spans()


@pytest.mark.usefixtures("instrumented", "no_fault")
def test_suppressed_is_billed_all_the_same(provider: OfflineProvider, spans: Spans) -> None:
    with suppress_instrumentation():
        assert ask(provider).choices
    [call] = spans()
    assert (call.attributes or {})[A.OTEL_LLM_COST_NANO_USD] == provider.bill[0].cost_nano


class BrokenSpan(trace.NonRecordingSpan):
    """Raises whatever it is asked."""

    def is_recording(self) -> bool:
        raise RuntimeError("is_recording")

    def _break(self, *_args: Any, **_kwargs: Any) -> Any:
        raise RuntimeError("broken")

    set_attribute = set_attributes = add_event = update_name = set_status = record_exception = end = _break


class BrokenTracer(trace.NoOpTracer):
    """Makes broken spans, or not even those."""

    def __init__(self, span: trace.Span | None) -> None:
        self._span = span

    def start_span(self, *_args: Any, **_kwargs: Any) -> trace.Span:
        if self._span is None:
            raise RuntimeError("start_span")
        return self._span


class BrokenProvider(trace.NoOpTracerProvider):
    """Has broken tracers."""

    def __init__(self, span: trace.Span | None) -> None:
        self._tracer = BrokenTracer(span)

    def get_tracer(self, *_args: Any, **_kwargs: Any) -> trace.Tracer:
        return self._tracer


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
@pytest.mark.parametrize("span", [None, BrokenSpan(trace.INVALID_SPAN_CONTEXT)], ids=["tracer", "span"])
def test_a_tracer_that_raises(provider: OfflineProvider, span: trace.Span | None, stream: bool) -> None:
    instrumentor = OpenAIInstrumentor()
    instrumentor.instrument(tracer_provider=BrokenProvider(span))
    try:
        answer = ask(provider, stream=stream)
        assert list(answer) if stream else answer.choices
        with pytest.raises(openai.NotFoundError):
            ask(provider, stream=stream, extra_headers={"x-offline-script": "404"})
    finally:
        instrumentor.uninstrument()
    late.drain()


# Growth.


class Body:
    """The byte stream of a response."""

    def __init__(self, pieces: list[bytes]) -> None:
        self._pieces = pieces

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._pieces)

    def close(self) -> None:
        """Nothing is open."""


class Response:
    """As much of an httpx response as is read along."""

    def __init__(self, pieces: list[bytes]) -> None:
        self.headers = {"content-type": "text/event-stream"}
        self.is_closed = False
        self.stream: Any = Body(pieces)


CHUNKS: list[dict[str, Any]] = [
    {"id": "c-1", "model": "gpt-4o-mini", "choices": [{"index": 0, "delta": {"content": "So"}}]},
    {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
    {"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11}},
]
PIECES = [f"data: {json.dumps(chunk)}\n\n".encode() for chunk in CHUNKS] + [b"data: [DONE]\n\n"]


def test_ten_thousand_calls_leave_nothing_behind(recorder: InMemorySpanExporter, spans: Spans) -> None:
    tracer = trace.get_tracer("otel_llm.openai")

    def call(number: int) -> None:
        request = Request(chat, "openai", {"model": "gpt-4o-mini", "stream": True}, stream=True)
        response = Response(PIECES)
        with otel_llm.interaction("loop", user_id=str(number)), begin(tracer, request) as recording:
            tap(response, recording, chat)
        reading = iter(response.stream)
        next(reading)
        if number % 4 == 1:
            response.stream.close()
        elif number % 4 == 2:
            del reading, response  # dropped
        else:
            assert len(list(reading)) == len(PIECES) - 1

    def many(count: int) -> int:
        for number in range(count):
            call(number)
            if number % 500 == 0:
                late.drain()
                recorder.clear()
        late.drain()
        recorder.clear()
        gc.collect()
        return sys.getallocatedblocks()

    before = many(1000)
    assert many(10_000) - before < 1000
