"""anthropic traces itself: a call is one span all the same, and the spans of its tool runner stay and nest right."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import anthropic
import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan

import otel_llm
from examples.offline_provider import OfflineProvider
from otel_llm.integrations import SDKInstrumentor
from otel_llm_semconv import attributes as A
from tests.conftest import Spans

sdk: Any = anthropic
traces_itself = pytest.mark.skipif(not hasattr(sdk, "_tracing"), reason="this anthropic does not trace itself")


def client_at(provider: OfflineProvider, **options: Any) -> Any:
    return sdk.Anthropic(base_url=provider.url, api_key="offline", **options)


def ask(client: Any, text: str = "Why?", **options: Any) -> Any:
    return client.messages.create(
        model="claude-haiku-4-5", max_tokens=50, messages=[{"role": "user", "content": text}], **options
    )


def with_usage(spans: Sequence[ReadableSpan]) -> list[ReadableSpan]:
    return [span for span in spans if A.GEN_AI_USAGE_INPUT_TOKENS in (span.attributes or {})]


@traces_itself
def test_it_does(provider: OfflineProvider, spans: Spans) -> None:
    ask(client_at(provider))
    assert [span.name for span in with_usage(spans())] == ["anthropic.messages.create"]


@traces_itself
@pytest.mark.usefixtures("instrumented", "no_fault")
@pytest.mark.parametrize("option", [None, False, {}, {"propagation": False}, {"traces": {"content_mode": "content"}}])
@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
def test_one_span_per_call(provider: OfflineProvider, spans: Spans, option: Any, stream: bool) -> None:
    answer = ask(client_at(provider, open_telemetry=option), stream=stream)
    assert list(answer) if stream else answer.content
    with pytest.raises(anthropic.RateLimitError):
        ask(client_at(provider, open_telemetry=option, max_retries=0), "[[offline:429]]", stream=stream)
    assert [span.name for span in spans()] == ["chat claude-haiku-4-5"] * 2
    assert not [name for span in spans() for name in span.attributes or {} if "messages" in name]


@traces_itself
@pytest.mark.usefixtures("no_fault")
def test_one_span_per_call_of_a_client_that_was_used_before(
    provider: OfflineProvider, spans: Spans, instrumentors: list[SDKInstrumentor]
) -> None:
    client = client_at(provider)
    ask(client)
    for instrumentor in instrumentors:
        instrumentor.instrument()
    ask(client)
    for instrumentor in instrumentors:
        instrumentor.uninstrument()
    ask(client)
    its_own = "anthropic.messages.create"
    assert [span.name for span in spans()] == [its_own, "chat claude-haiku-4-5", its_own]


@traces_itself
@pytest.mark.usefixtures("instrumented", "no_fault")
@pytest.mark.parametrize("asked_for", [False, True])
def test_what_is_sent_names_our_span_where_that_is_asked_for(
    provider: OfflineProvider, calls: Spans, monkeypatch: pytest.MonkeyPatch, *, asked_for: bool
) -> None:
    monkeypatch.setenv("OTEL_LLM_PROPAGATE_TO_PROVIDERS", str(asked_for).lower())
    ask(client_at(provider))
    [call] = calls()
    context = call.get_span_context()
    assert context is not None
    sent = provider.requests[0].headers.get("traceparent")
    ids = [format(context.trace_id, "032x"), format(context.span_id, "016x")]
    assert (sent.split("-")[1:3] if sent else None) == (ids if asked_for else None)


@pytest.mark.usefixtures("instrumented", "no_fault")
def test_the_tool_runner_keeps_its_spans(provider: OfflineProvider, spans: Spans) -> None:
    if not hasattr(sdk, "beta_tool"):
        pytest.skip("this anthropic has no tool runner")

    @sdk.beta_tool
    def weather(city: str) -> str:
        """The weather of a city."""
        trace.get_tracer("app").start_span("look out of the window").end()
        return f"It rains in {city}."

    script = '[[offline: tool weather {"city": "Bergen"}]]'
    with otel_llm.interaction("trip", user_id="ada"):
        last = client_at(provider).beta.messages.tool_runner(
            model="claude-haiku-4-5",
            max_tokens=100,
            tools=[weather],
            messages=[{"role": "user", "content": f"How is it in Bergen? {script}"}],
        ).until_done()  # fmt: skip
    assert "It rains in Bergen." in last.content[0].text
    made = spans()
    ids = {span.context.span_id: span for span in made if span.context}
    parents = {
        span.name: ids[span.parent.span_id].name
        for span in made
        if span.parent is not None and span.parent.span_id in ids
    }
    if hasattr(sdk, "_tracing"):
        assert parents == {
            "chat claude-haiku-4-5": "anthropic.messages.tool_runner",
            "look out of the window": "anthropic.custom_tool_use weather",
            "anthropic.custom_tool_use weather": "anthropic.messages.tool_runner",
            "anthropic.messages.tool_runner": "trip",
        }
    assert all((span.attributes or {}).get(A.USER_ID) == "ada" for span in made)
    assert [span.name for span in with_usage(made)] == ["chat claude-haiku-4-5"] * 2
