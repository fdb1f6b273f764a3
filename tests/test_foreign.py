"""Spans of model calls that others made: each call counts once, whoever tells of it, and has its price."""

from __future__ import annotations

import time
from typing import Any

import anthropic
import openai
import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan

import otel_llm
from examples.offline_provider import OfflineProvider
from otel_llm.interaction import sum_up
from otel_llm_semconv import attributes as A
from tests.conftest import Spans
from tests.frameworks.conftest import said

pytestmark = pytest.mark.usefixtures("no_fault")
theirs = trace.get_tracer("opentelemetry.instrumentation.somebody")
SCRIPT = "[[offline: tokens in=1000 out=50; cache hit 300]] Why?"
MODEL = "gpt-4o-mini"
CONVENTIONS: dict[str, Any] = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "openai",
    "gen_ai.request.model": MODEL,
    "gen_ai.usage.input_tokens": 1000,
    "gen_ai.usage.cache_read.input_tokens": 300,
    "gen_ai.usage.output_tokens": 50,
}
OPENINFERENCE: dict[str, Any] = {
    "openinference.span.kind": "LLM",
    "llm.provider": "openai",
    "llm.model_name": MODEL,
    "llm.token_count.prompt": 1000,
    "llm.token_count.prompt_details.cache_read": 300,
    "llm.token_count.completion": 50,
}
OPENLLMETRY: dict[str, Any] = {
    "llm.request.type": "chat",
    "gen_ai.system": "OpenAI",
    "gen_ai.request.model": MODEL,
    "gen_ai.usage.prompt_tokens": 1000,
    "gen_ai.usage.cache_read_input_tokens": 300,
    "gen_ai.usage.completion_tokens": 50,
}
NANO_USD = 700 * 150 + 300 * 75 + 50 * 600


def ask(provider: OfflineProvider, model: str = MODEL) -> Any:
    client = openai.OpenAI(base_url=provider.openai_url, api_key="any")
    return client.chat.completions.create(model=model, messages=[{"role": "user", "content": SCRIPT}])


def counted(spans: list[ReadableSpan]) -> list[str]:
    """The names of the spans that count."""
    return [span.name for span in spans if said(span, A.OTEL_LLM_COST_STATUS)]


def covered(spans: list[ReadableSpan]) -> list[str]:
    """The names of the spans that tell of what another tells."""
    return [span.name for span in spans if said(span, A.OTEL_LLM_LAYER) == "covered"]


@pytest.mark.parametrize(
    "names", [CONVENTIONS, OPENINFERENCE, OPENLLMETRY], ids=["otel", "openinference", "openllmetry"]
)
def test_alone_it_is_the_call(names: dict[str, Any], spans: Spans) -> None:
    with otel_llm.interaction("ask", user_id="u-1") as it, theirs.start_as_current_span("theirs") as span:
        span.set_attributes(names)
    [call, root] = spans()
    assert it.nano_usd == NANO_USD == said(call, A.OTEL_LLM_COST_NANO_USD)
    assert (it.calls, it.input_tokens, it.output_tokens) == (1, 1000, 50)
    assert said(call, A.OTEL_LLM_LAYER) == "foreign"
    assert said(call, A.GEN_AI_USAGE_INPUT_TOKENS) == 1000
    assert said(call, A.OTEL_LLM_USAGE_INPUT) == 700
    assert said(call, A.GEN_AI_PROVIDER_NAME) == "openai"
    assert said(call, A.OTEL_LLM_PRICE_KEY)
    assert said(call, A.OTEL_LLM_ATTEMPTS) is None
    assert said(call, A.USER_ID) == "u-1"
    assert said(root, A.OTEL_LLM_INTERACTION_COST_AMOUNT) == NANO_USD / 1e9


def test_it_may_be_the_root(spans: Spans) -> None:
    with theirs.start_as_current_span("theirs", attributes=CONVENTIONS):
        pass
    [call] = spans()
    assert said(call, A.OTEL_LLM_INTERACTION_CALLS) == 1
    assert said(call, A.OTEL_LLM_INTERACTION_COST_AMOUNT) == NANO_USD / 1e9


@pytest.mark.usefixtures("instrumented")
class TestBesideOurs:
    """One call, whoever tells of it."""

    @pytest.mark.parametrize("names", [CONVENTIONS, OPENINFERENCE, OPENLLMETRY])
    def test_around_it(self, names: dict[str, Any], provider: OfflineProvider, spans: Spans) -> None:
        with otel_llm.interaction("ask") as it, theirs.start_as_current_span("theirs") as span:
            ask(provider)
            span.set_attributes(names)
        assert covered(spans()) == ["theirs"]
        assert counted(spans()) == [f"chat {MODEL}"]
        assert (it.calls, it.nano_usd) == (1, NANO_USD)

    def test_beneath_it(self, provider: OfflineProvider, spans: Spans, monkeypatch: pytest.MonkeyPatch) -> None:
        http: Any = vars(openai.OpenAI(base_url=provider.openai_url, api_key="any"))["_client"]
        client: Any = http.__class__
        send = client.send

        def traced(*args: Any, **kwargs: Any) -> Any:
            with theirs.start_as_current_span("theirs", attributes=CONVENTIONS):
                return send(*args, **kwargs)

        monkeypatch.setattr(client, "send", traced)
        with otel_llm.interaction("ask") as it:
            ask(provider)
        assert covered(spans()) == ["theirs"]
        assert (it.calls, it.nano_usd) == (1, NANO_USD)

    @pytest.mark.parametrize("knows_id", [True, False])
    def test_next_to_it(self, provider: OfflineProvider, spans: Spans, *, knows_id: bool) -> None:
        with otel_llm.interaction("ask") as it:
            for _ in range(2):
                span = theirs.start_span("theirs", attributes=CONVENTIONS)
                answer = ask(provider)
                if knows_id:
                    span.set_attribute("gen_ai.response.id", answer.id)
                span.end()
        assert covered(spans()) == ["theirs", "theirs"]
        assert (it.calls, it.nano_usd) == (2, 2 * NANO_USD)

    def test_two_layers_and_ours(self, provider: OfflineProvider, spans: Spans) -> None:
        framework = trace.get_tracer("openinference.instrumentation.framework")
        with otel_llm.interaction("ask") as it:
            above = framework.start_span("above", attributes=OPENINFERENCE)
            with theirs.start_as_current_span("theirs", attributes=CONVENTIONS):
                ask(provider)
            above.end()
        assert sorted(covered(spans())) == ["above", "theirs"]
        assert (it.calls, it.nano_usd) == (1, NANO_USD)

    def test_another_call_next_to_it_is_another_call(self, provider: OfflineProvider, spans: Spans) -> None:
        with otel_llm.interaction("ask") as it:
            ask(provider)
            for name in ("later", "later"):
                with theirs.start_as_current_span(name, attributes=CONVENTIONS):
                    pass
            span = theirs.start_span("another model", attributes=CONVENTIONS | {"gen_ai.request.model": "gpt-4o"})
            ask(provider)
            span.end()
        assert not covered(spans())
        assert it.calls == 5

    def test_it_may_embed_on_its_way(self, provider: OfflineProvider, spans: Spans) -> None:
        client = openai.OpenAI(base_url=provider.openai_url, api_key="any")
        with otel_llm.interaction("ask") as it, theirs.start_as_current_span("theirs", attributes=CONVENTIONS):
            client.embeddings.create(model="text-embedding-3-small", input="Why?")
        assert not covered(spans())
        assert it.calls == 2


def test_of_two_others_the_inner_counts(spans: Spans) -> None:
    framework = trace.get_tracer("openinference.instrumentation.framework")
    with (
        otel_llm.interaction("ask") as it,
        framework.start_as_current_span("above", attributes=OPENINFERENCE),
        theirs.start_as_current_span("theirs", attributes=CONVENTIONS),
    ):
        pass
    assert covered(spans()) == ["above"]
    assert (it.calls, it.nano_usd) == (1, NANO_USD)


def test_what_is_no_call_does_not_count(spans: Spans) -> None:
    usage = {name: value for name, value in CONVENTIONS.items() if "usage" in name}
    with otel_llm.interaction("ask") as it:
        for attributes in (
            {"gen_ai.operation.name": "invoke_agent", **usage},
            {"openinference.span.kind": "AGENT", **OPENINFERENCE, "openinference.span.kind": "CHAIN"},  # noqa: F601
            {"http.request.method": "POST"},
        ):
            theirs.start_span("no call", attributes=attributes).end()
    assert not counted(spans())
    assert it.calls == 0


def test_what_prepares_a_request_is_no_call(spans: Spans) -> None:
    kind = {"openinference.span.kind": "LLM", "llm.model_name": MODEL, "output.value": "a prompt"}
    with otel_llm.interaction("ask") as it:
        theirs.start_span("prepare", attributes=kind).end()
        theirs.start_span("ask", attributes=kind | {"llm.finish_reason": "stop"}).end()
    assert counted(spans()) == ["ask"]
    assert it.calls == 1


def test_what_only_names_a_model_is_no_call(provider: OfflineProvider, spans: Spans) -> None:
    client = anthropic.Anthropic(base_url=provider.url, api_key="any")
    with otel_llm.interaction("ask") as it:
        client.messages.count_tokens(model="claude-haiku-4-5", messages=[{"role": "user", "content": "Why?"}])
        client.messages.create(model="claude-haiku-4-5", max_tokens=9, messages=[{"role": "user", "content": SCRIPT}])
    # The SDK's own spans, as nothing of it is instrumented here.
    assert covered(spans()) == ["anthropic.messages.count_tokens"]
    assert counted(spans()) == ["anthropic.messages.create"]
    assert it.calls == 1


def test_what_counts_in_a_sum_does_not_count_itself(spans: Spans) -> None:
    with otel_llm.interaction("ask") as it:
        sum_up("msg-1", None)
        for id_ in ("msg-1", "msg-1", "msg-2"):
            theirs.start_span(id_, attributes=CONVENTIONS | {"gen_ai.response.id": id_}).end()
    assert covered(spans()) == ["msg-1", "msg-1"]
    assert counted(spans()) == ["msg-2"]
    assert it.calls == 1


def test_what_an_sdk_refused_to_send_is_no_call(spans: Spans) -> None:
    asked = {"gen_ai.operation.name": "chat", "gen_ai.request.model": MODEL}
    with otel_llm.interaction("ask") as it:
        theirs.start_span("refused", attributes=asked | {"error.type": "ValueError"}).end()
        theirs.start_span("failed", attributes=asked | {"error.type": "APITimeoutError"}).end()
        theirs.start_span("cut", attributes=asked | {"error.type": "ValueError", "gen_ai.response.id": "r-1"}).end()
    assert covered(spans()) == ["refused"]
    assert counted(spans()) == ["failed", "cut"]
    assert it.calls == 2


@pytest.mark.usefixtures("instrumented")
def test_a_span_that_ended_by_its_own_account_before_the_call(provider: OfflineProvider, spans: Spans) -> None:
    kind = {"openinference.span.kind": "LLM", "llm.model_name": MODEL, "llm.finish_reason": "stop"}
    with otel_llm.interaction("ask") as it:
        stream = theirs.start_span("stream", attributes=kind)
        ended = time.time_ns()
        ask(provider)
        stream.end(ended)
    assert covered(spans()) == ["stream"]
    assert it.calls == 1


def test_unknown_is_no_guess(spans: Spans) -> None:
    with otel_llm.interaction("ask") as it:
        theirs.start_span("own", attributes=CONVENTIONS | {"gen_ai.request.model": "a-model-of-ours"}).end()
        theirs.start_span("silent", attributes={"gen_ai.operation.name": "chat", "gen_ai.request.model": MODEL}).end()
    own, silent, root = spans()
    assert said(own, A.OTEL_LLM_COST_STATUS) == said(silent, A.OTEL_LLM_COST_STATUS) == "unpriced"
    assert said(own, A.OTEL_LLM_COST_NANO_USD) is said(silent, A.GEN_AI_USAGE_INPUT_TOKENS) is None
    assert said(root, A.OTEL_LLM_INTERACTION_COST_COVERAGE) == 0
    assert it.calls == 2
