"""Whatever the provider bills, the ledger has it: every bucket, tier, fee and attempt, nano-dollar by nano-dollar."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import anthropic
import openai
import pytest

from examples.offline_provider import OfflineProvider
from otel_llm_semconv import attributes as A
from tests.conformance.ledger import assert_ledger_equals_bill
from tests.conftest import Spans

pytestmark = pytest.mark.usefixtures("instrumented", "no_fault")

MODELS = ("gpt-4o-mini", "gpt-4o", "gpt-5.2", "o3")
CLAUDES = ("claude-sonnet-4-5", "claude-opus-4-5", "claude-haiku-4-5")


def chat(provider: OfflineProvider, script: str, model: str = "gpt-4o", **options: Any) -> Any:
    client: Any = openai.OpenAI(base_url=provider.openai_url, api_key="offline")
    return client.chat.completions.create(
        model=model, messages=[{"role": "user", "content": f"Why? [[offline: {script}]]"}], **options
    )


def message(provider: OfflineProvider, script: str, model: str = "claude-sonnet-4-5", **options: Any) -> Any:
    client: Any = anthropic.Anthropic(base_url=provider.url, api_key="offline")
    return client.messages.create(
        model=model,
        max_tokens=100,
        messages=[{"role": "user", "content": f"Why? [[offline: {script}]]"}],
        **options,
    )


def read(stream: Any) -> None:
    for _ in stream:
        pass


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(
    "script",
    [
        "tokens in=1234 out=567",
        "tokens in=5000 out=10; cache hit 4096",
        "tokens in=300 out=900; reasoning 640",
        "tokens in=3 out=1; n=3",
        "tier flex; tokens in=1000 out=100",
        "tier priority; tokens in=1000 out=100; cache hit 512",
    ],
)
def test_openai(provider: OfflineProvider, calls: Spans, model: str, script: str, stream: bool) -> None:
    answer = chat(provider, script, model, stream=stream, n=3 if "n=3" in script else 1)
    if stream:
        read(answer)
    assert_ledger_equals_bill(calls(), provider.bill)


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
@pytest.mark.parametrize("model", CLAUDES)
@pytest.mark.parametrize(
    "script",
    [
        "tokens in=1234 out=567",
        "tokens in=9000 out=10; cache write 5m 2048; cache write 1h 1024; cache hit 4096",
        "tokens in=300 out=900; reasoning 640",
        "tokens in=100 out=10; web search 3",
        "long 250000; tokens out=10",
        "tier batch; tokens in=1000 out=100",
    ],
)
def test_anthropic(provider: OfflineProvider, calls: Spans, model: str, script: str, stream: bool) -> None:
    answer = message(provider, script, model, stream=stream)
    if stream:
        read(answer)
    assert_ledger_equals_bill(calls(), provider.bill)


def test_responses_with_built_in_tools(provider: OfflineProvider, calls: Spans) -> None:
    client: Any = openai.OpenAI(base_url=provider.openai_url, api_key="offline")
    if not hasattr(client, "responses"):
        pytest.skip("this openai has no responses")
    for stream in (False, True):
        answer: Any = client.responses.create(
            model="gpt-4o", input="Why? [[offline: web search 2; tokens in=100 out=20]]", stream=stream
        )
        if stream:
            read(answer)
    made = calls()
    assert [(call.attributes or {})[A.OTEL_LLM_USAGE_REQUESTS_PREFIX + "web_search"] for call in made] == [2, 2]
    assert_ledger_equals_bill(made, provider.bill)


def test_a_model_without_a_price_is_null(provider: OfflineProvider, calls: Spans) -> None:
    chat(provider, "", "acme-preview-1")
    (call,) = calls()
    attributes = call.attributes or {}
    assert attributes[A.OTEL_LLM_COST_STATUS] == "unpriced"
    assert attributes[A.OTEL_LLM_COST_UNPRICED_REASON] == "unknown_model"
    assert A.OTEL_LLM_COST_NANO_USD not in attributes
    assert A.GEN_AI_USAGE_COST_AMOUNT not in attributes
    assert_ledger_equals_bill([call], provider.bill)


def attempts(calls: Sequence[Any]) -> list[tuple[int, list[Any]]]:
    return [
        (
            call.attributes[A.OTEL_LLM_ATTEMPTS],
            [
                event.attributes.get(A.OTEL_LLM_ATTEMPT_STATUS_CODE) or event.attributes[A.OTEL_LLM_ATTEMPT_ERROR]
                for event in call.events
            ],
        )
        for call in calls
    ]


@pytest.mark.parametrize("ask", [chat, message], ids=["openai", "anthropic"])
def test_retries_are_attempts_of_one_call(provider: OfflineProvider, calls: Spans, ask: Callable[..., Any]) -> None:
    ask(provider, "429 once; 503 once")
    assert attempts(calls()) == [(3, [429, 503])]
    assert_ledger_equals_bill(calls(), provider.bill)
    assert len(provider.requests) == 3


def test_an_attempt_that_got_no_answer_is_one(provider: OfflineProvider, calls: Spans) -> None:
    client: Any = openai.OpenAI(base_url=provider.openai_url, api_key="offline", timeout=0.3)
    client.chat.completions.create(
        model="gpt-4o", messages=[{"role": "user", "content": "Why? [[offline: slow 2s once]]"}]
    )
    ((count, (error,)),) = attempts(calls())
    assert count == 2
    assert error.endswith("Timeout")


# A stream without usage is asked for it, and nobody notices.


def sent_options(provider: OfflineProvider) -> list[Any]:
    bodies: list[Any] = [request.body for request in provider.requests]
    return [body.get("stream_options") for body in bodies]


def test_usage_is_asked_for_and_the_extra_chunk_hidden(provider: OfflineProvider, calls: Spans) -> None:
    chunks = list(chat(provider, "chunks 4", stream=True))
    assert all(chunk.choices for chunk in chunks)
    assert all(chunk.usage is None for chunk in chunks)
    assert sent_options(provider) == [{"include_usage": True}]
    assert_ledger_equals_bill(calls(), provider.bill)


def test_also_of_who_reads_the_lines(provider: OfflineProvider, calls: Spans) -> None:
    client: Any = openai.OpenAI(base_url=provider.openai_url, api_key="offline")
    with client.chat.completions.with_streaming_response.create(
        model="gpt-4o", stream=True, messages=[{"role": "user", "content": "Why? [[offline: chunks 4]]"}]
    ) as response:
        lines = [line for line in response.iter_lines() if line]
    assert lines[-1] == "data: [DONE]"
    assert not [line for line in lines if "usage" in line]
    assert_ledger_equals_bill(calls(), provider.bill)


@pytest.mark.parametrize("how", ["stream_options", "extra_body"])
def test_never_when_the_caller_decided(provider: OfflineProvider, calls: Spans, how: str) -> None:

    def asked(for_usage: bool) -> list[Any]:
        decided: dict[str, Any] = {"stream_options": {"include_usage": for_usage}}
        options: dict[str, Any] = {how: decided} if how == "extra_body" else decided
        return list(chat(provider, "chunks 4", stream=True, **options))

    chunks = asked(for_usage=False)
    assert all(chunk.choices for chunk in chunks)
    assert sent_options(provider) == [{"include_usage": False}]
    (call,) = calls()
    assert A.OTEL_LLM_COST_NANO_USD not in (call.attributes or {})
    provider.clear()
    chunks = asked(for_usage=True)
    assert chunks[-1].usage.total_tokens, "who asked gets the chunk"
    assert_ledger_equals_bill(calls()[1:], provider.bill)


def test_a_server_that_minds_is_asked_once(provider: OfflineProvider, calls: Spans) -> None:
    for user in ("ada", "grace"):
        assert list(chat(provider, f"id={user}; refuse stream_options; chunks 4", stream=True))
    assert sent_options(provider) == [{"include_usage": True}, None, None]
    assert [request.status for request in provider.requests] == [400, 200, 200]
    assert attempts(calls()) == [(2, [400]), (1, [])]
    assert_ledger_equals_bill(calls(), provider.bill)


def test_a_gateway_has_servers_of_many_kinds(provider: OfflineProvider, calls: Spans) -> None:
    assert list(chat(provider, "chunks 4", stream=True))
    assert list(chat(provider, "refuse stream_options; chunks 4", model="gpt-4o-mini", stream=True))
    assert list(chat(provider, "chunks 4", stream=True))
    assert sent_options(provider) == [*[{"include_usage": True}] * 2, None, {"include_usage": True}]
    assert attempts(calls()) == [(1, []), (2, [400]), (1, [])]


def test_a_request_that_is_wrong_stays_wrong(provider: OfflineProvider, calls: Spans) -> None:
    read(chat(provider, "chunks 4", stream=True))  # this server answers
    provider.clear()
    with pytest.raises(openai.BadRequestError):
        chat(provider, "400", stream=True)
    assert len(provider.requests) == 1
    (_, call) = calls()
    assert (call.attributes or {})[A.ERROR_TYPE] == "openai.BadRequestError"
    assert (call.attributes or {})[A.OTEL_LLM_COST_STATUS] == "free"
