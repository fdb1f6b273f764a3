"""Whatever usage a provider bills, its dialect finds the same buckets and the same cost, in a body and in a stream."""

from __future__ import annotations

import json
import random
from dataclasses import fields
from typing import Any

import pytest

from examples.offline_provider.bill import RequestEntry, Usage, cost_nano
from examples.offline_provider.model import answer
from examples.offline_provider.script import Script
from examples.offline_provider.server import route
from examples.offline_provider.wire import Exchange
from otel_llm.call import Call
from otel_llm.dialects import anthropic_messages, bedrock, cohere, gemini, mistral, ollama, openai, watsonx
from otel_llm.dialects.reading import text
from otel_llm.pricing.book import PriceBook
from otel_llm.spec import Dialect, Paths
from otel_llm.transports.sent import Routes

ASKED: dict[str, Any] = {"messages": [{"role": "user", "content": "Why?"}]}
BLOCKS: dict[str, Any] = {"messages": [{"role": "user", "content": [{"text": "Why?"}]}]}
PARTS: dict[str, Any] = {"contents": [{"parts": [{"text": "Why?"}]}]}
CACHE = ("cache_read",)
THINKS = (*CACHE, "reasoning")
WRITES = (*CACHE, "cache_write_5m", "cache_write_1h")
NOVA, COMMAND, GRANITE = "us.amazon.nova-lite-v1:0", "command-r-08-2024", "ibm/granite-3-8b-instruct"
FORMATS: dict[str, tuple[str, str, Paths, dict[str, Any], tuple[str, ...]]] = {
    "chat": ("/v1/chat/completions", "openai", openai.PATHS, {**ASKED, "model": "gpt-4o-mini"}, THINKS),
    "audio": ("/v1/chat/completions", "openai", openai.PATHS, {**ASKED, "model": "gpt-audio"}, ("audio",)),
    "groq": ("/openai/v1/chat/completions", "groq", openai.PATHS, {**ASKED, "model": "openai/gpt-oss-120b"}, THINKS),
    "completions": (
        "/v1/completions",
        "openai",
        openai.PATHS,
        {"prompt": "Why?", "model": "gpt-3.5-turbo-instruct"},
        (),
    ),
    "responses": ("/v1/responses", "openai", openai.PATHS, {"input": "Why?", "model": "gpt-5.2"}, THINKS),
    "messages": (
        *("/v1/messages", "anthropic", anthropic_messages.PATHS),
        {**ASKED, "model": "claude-haiku-4-5", "max_tokens": 10},
        WRITES,
    ),
    "converse": (f"/model/{NOVA}/converse", "aws.bedrock", bedrock.PATHS, {**BLOCKS, "model": NOVA}, CACHE),
    "gemini": (
        *("/v1beta/models/gemini-2.5-flash:generateContent", "gcp.gemini", gemini.PATHS),
        {**PARTS, "model": "gemini-2.5-flash"},
        THINKS,
    ),
    "interactions": (
        *("/v1beta/interactions", "gcp.gemini", gemini.PATHS),
        {"input": "Why?", "model": "gemini-2.5-flash"},
        THINKS,
    ),
    "mistral": (
        *("/mistral/v1/chat/completions", "mistral_ai", mistral.PATHS),
        {**ASKED, "model": "mistral-small-latest"},
        (),
    ),
    "conversations": (
        *("/mistral/v1/conversations", "mistral_ai", mistral.PATHS),
        {"inputs": "Why?", "model": "mistral-small-latest"},
        (),
    ),
    "cohere": ("/cohere/v2/chat", "cohere", cohere.PATHS, {**ASKED, "model": COMMAND}, ()),
    "cohere 1": ("/cohere/v1/chat", "cohere", cohere.PATHS, {"message": "Why?", "model": COMMAND}, ()),
    "ollama": ("/ollama/api/chat", "ollama", ollama.PATHS, {**ASKED, "model": "llama3.2"}, CACHE),
    "ollama generate": ("/ollama/api/generate", "ollama", ollama.PATHS, {"prompt": "Why?", "model": "llama3.2"}, CACHE),
    "watsonx": ("/ml/v1/text/chat", "ibm.watsonx.ai", watsonx.PATHS, {**ASKED, "model_id": GRANITE}, ()),
    "watsonx generation": (
        *("/ml/v1/text/generation", "ibm.watsonx.ai", watsonx.PATHS),
        {"input": "Why?", "model_id": GRANITE},
        (),
    ),
}
"""A path, the provider that has it, what it speaks, a request, what a usage can say there."""


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


def dialect_of(paths: Paths, path: str, body: dict[str, Any]) -> Dialect:
    found = Routes(paths).find("POST", path)
    assert found is not None
    speaks = found.speaks
    if not isinstance(speaks, Dialect):
        assert callable(speaks)
        speaks = speaks(body)
    return speaks


@pytest.mark.parametrize("streamed", [False, True], ids=["plain", "stream"])
@pytest.mark.parametrize("name", FORMATS)
def test_the_sum_of_the_buckets_is_the_bill(name: str, streamed: bool, book: PriceBook) -> None:
    path, provider, paths, request, says = FORMATS[name]
    to, dialect, dice = route(path), dialect_of(paths, path, request), random.Random(name)
    assert to is not None
    wire, body = to.wire, {**to.said, **request, "stream": streamed, "stream_options": {"include_usage": True}}
    for _ in range(60):
        script, prompt = random_script(dice, says), wire.read(body, {})
        said = answer(prompt, script)
        entry = RequestEntry(1, "POST", path, {}, body)
        exchange = Exchange("id", to.provider, wire, entry, body, prompt, script, said, None, 0)
        call = Call(dialect.operation, provider, text(prompt.model), started_ns=1_795_000_000 * 10**9)
        if streamed:
            assert dialect.fold is not None
            read: dict[str, Any] = {}
            for event in wire.events(exchange):
                # As named events of Amazon's streams come out of their framing.
                chunk = {event.name: event.payload} if name == "converse" else event.payload
                dialect.fold(read, json.loads(json.dumps(chunk)))
        else:
            read = json.loads(json.dumps(wire.plain(exchange)))
        dialect.response(call, read)
        owed = wire.bills(body, said.usage)
        assert call.usage is not None
        assert call.usage.inconsistent is None
        assert billed(call.usage) == billed(owed)
        assert call.usage.input_tokens == owed.input_tokens
        assert call.usage.output_tokens == owed.output_tokens
        cost, expected = book.price(call), cost_nano(to.provider, [(said.model, owed)])
        assert (cost.status, cost.nano_usd) == ("unpriced" if expected is None else "priced", expected)
