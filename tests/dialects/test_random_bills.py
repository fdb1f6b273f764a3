"""Whatever usage a provider bills, its dialect finds the same buckets and the same cost, in a body and in a stream."""

from __future__ import annotations

import json
import random
from dataclasses import fields
from typing import Any

import pytest

from examples.offline_provider import anthropic, bedrock, gemini, openai, responses
from examples.offline_provider.bill import RequestEntry, Usage, cost_nano
from examples.offline_provider.model import answer
from examples.offline_provider.script import Script
from examples.offline_provider.wire import Exchange, Wire
from otel_llm.call import Call
from otel_llm.dialects import anthropic_messages, openai_chat, openai_responses
from otel_llm.dialects import bedrock as converse_dialect
from otel_llm.dialects import gemini as gemini_dialect
from otel_llm.pricing.book import PriceBook
from otel_llm.spec import Dialect

ASKED: dict[str, Any] = {"messages": [{"role": "user", "content": "Why?"}]}
CACHE = ("cache_read",)
BLOCKS: dict[str, Any] = {"messages": [{"role": "user", "content": [{"text": "Why?"}]}]}
FORMATS: dict[str, tuple[str, str, Wire, Dialect, dict[str, Any], tuple[str, ...]]] = {
    "chat": (
        *("openai", "openai", openai.CHAT, openai_chat.chat),
        {**ASKED, "model": "gpt-4o-mini"},
        (*CACHE, "reasoning"),
    ),
    "audio": ("openai", "openai", openai.CHAT, openai_chat.chat, {**ASKED, "model": "gpt-audio"}, ("audio",)),
    "groq": (
        *("groq", "groq", openai.CHAT, openai_chat.chat),
        {**ASKED, "model": "openai/gpt-oss-120b"},
        (*CACHE, "reasoning"),
    ),
    "responses": (
        *("openai", "openai", responses.RESPONSES, openai_responses.responses),
        {"input": "Why?", "model": "gpt-5.2"},
        (*CACHE, "reasoning"),
    ),
    "messages": (
        *("anthropic", "anthropic", anthropic.MESSAGES, anthropic_messages.messages),
        {**ASKED, "model": "claude-haiku-4-5", "max_tokens": 10},
        (*CACHE, "cache_write_5m", "cache_write_1h"),
    ),
    "converse": (
        *("bedrock", "aws.bedrock", bedrock.CONVERSE, converse_dialect.converse),
        {**BLOCKS, "model": "us.amazon.nova-lite-v1:0"},
        CACHE,
    ),
    "gemini": (
        *("google", "gcp.gemini", gemini.GENERATE, gemini_dialect.generate),
        {"contents": [{"parts": [{"text": "Why?"}]}], "model": "gemini-2.5-flash", "vertex": False},
        (*CACHE, "reasoning"),
    ),
}
"""Provider as bill and conventions call it, its format on both sides, a request, what a usage can say there."""


@pytest.fixture(scope="module")
def book() -> PriceBook:
    return PriceBook()


def random_script(dice: random.Random, says: tuple[str, ...]) -> Script:
    tokens, made = dice.randrange(1, 300_000), dice.randrange(1, 5_000)
    caches = tuple((name, dice.randrange(tokens)) for name in says if name.startswith("cache") and dice.random() < 0.7)
    return Script(
        input_tokens=tokens,
        output_tokens=made,
        caches=caches,
        reasoning=dice.randrange(made) if "reasoning" in says and dice.random() < 0.7 else 0,
        audio=(dice.randrange(tokens), dice.randrange(made)) if "audio" in says else (0, 0),
        say="Because.",
        chunks=3,
    )


def billed(usage: Any) -> dict[str, Any]:
    """The buckets, without those that say nothing."""
    names = [field.name for field in fields(Usage)]
    return {name: value for name in names if (value := getattr(usage, name))}


@pytest.mark.parametrize("streamed", [False, True], ids=["plain", "stream"])
@pytest.mark.parametrize("name", FORMATS)
def test_the_sum_of_the_buckets_is_the_bill(name: str, streamed: bool, book: PriceBook) -> None:
    payer, provider, wire, dialect, request, says = FORMATS[name]
    dice = random.Random(name)
    body = {**request, "stream": streamed, "stream_options": {"include_usage": True}}
    for _ in range(60):
        script, prompt = random_script(dice, says), wire.read(body, {})
        said = answer(prompt, script)
        entry = RequestEntry(1, "POST", "/", {}, body)
        exchange = Exchange("id", payer, wire, entry, body, prompt, script, said, None, 0)
        call = Call(dialect.operation, provider, request["model"], started_ns=1_795_000_000 * 10**9)
        if streamed:
            assert dialect.fold is not None
            read: dict[str, Any] = {}
            for event in wire.events(exchange):
                # As named events of Amazon's streams come out of their framing.
                chunk = {event.name: event.payload} if wire is bedrock.CONVERSE else event.payload
                dialect.fold(read, json.loads(json.dumps(chunk)))
        else:
            read = json.loads(json.dumps(wire.plain(exchange)))
        dialect.response(call, read)
        assert call.usage is not None
        assert call.usage.inconsistent is None
        assert billed(call.usage) == billed(said.usage)
        assert call.usage.input_tokens == said.usage.input_tokens
        assert call.usage.output_tokens == said.usage.output_tokens
        cost = book.price(call)
        expected = cost_nano(payer, [(said.model, said.usage)])
        assert expected is not None
        assert (cost.status, cost.nano_usd) == ("priced", expected)
