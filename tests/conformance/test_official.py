"""What OpenTelemetry's own instrumentations say of a call is a subset of what ours says: names and values.

Runs where they are installed: `make matrix` has an environment for them, because the entry points of both would work at
once.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from examples.offline_provider import OfflineProvider
from tests.conftest import Spans

pytest.importorskip("opentelemetry.instrumentation.genai.openai", reason="only beside OpenTelemetry's own")

SCRIPT = "[[offline: tokens in=1000 out=50; cache hit 300]] Why?"
ASKED: list[Any] = [{"role": "user", "content": SCRIPT}]


def _openai(url: str) -> Any:
    return importlib.import_module("openai").OpenAI(base_url=f"{url}/v1", api_key="k")


def _anthropic(url: str) -> Any:
    return importlib.import_module("anthropic").Anthropic(base_url=url, api_key="k")


def _bedrock(url: str) -> Any:
    return importlib.import_module("boto3").client(
        "bedrock-runtime", "us-east-1", endpoint_url=url, aws_access_key_id="k", aws_secret_access_key="s"
    )


def _gemini(url: str) -> Any:
    return importlib.import_module("google.genai").Client(api_key="k", http_options={"base_url": f"{url}/gemini"})


def chat(url: str) -> None:
    settings: dict[str, Any] = {"temperature": 0.5, "max_tokens": 100, "seed": 7, "stop": ["x"], "top_p": 0.9}
    _openai(url).chat.completions.create(model="gpt-4o-mini", messages=ASKED, **settings)


def chat_stream(url: str) -> None:
    for _ in _openai(url).chat.completions.create(model="gpt-4o-mini", messages=ASKED, stream=True):
        pass


def responses(url: str) -> None:
    _openai(url).responses.create(model="gpt-5.2", input=SCRIPT, max_output_tokens=100)


def embeddings(url: str) -> None:
    _openai(url).embeddings.create(model="text-embedding-3-small", input="Why?", dimensions=8)


def messages(url: str) -> None:
    _anthropic(url).messages.create(model="claude-haiku-4-5", messages=ASKED, max_tokens=100, stop_sequences=["x"])


def messages_stream(url: str) -> None:
    with _anthropic(url).messages.stream(model="claude-haiku-4-5", messages=ASKED, max_tokens=100) as stream:
        stream.get_final_message()


def converse(url: str) -> None:
    _bedrock(url).converse(
        modelId="anthropic.claude-haiku-4-5-20251001-v1:0",
        messages=[{"role": "user", "content": [{"text": SCRIPT}]}],
        inferenceConfig={"maxTokens": 100, "temperature": 0.5},
    )


def generate(url: str) -> None:
    client = _gemini(url)  # a client that is dropped closes its connections
    client.models.generate_content(
        model="gemini-2.5-flash", contents=SCRIPT, config={"temperature": 0.5, "max_output_tokens": 100}
    )


def _instrumentor(path: str) -> Any:
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(f"opentelemetry.instrumentation.{module}"), name)()


ITS_OWN = {"gen_ai.response.id", "gen_ai.response.time_to_first_chunk"}
"""What no two calls have in common."""
AGAINST_CONVENTIONS: dict[Any, set[str]] = {
    converse: {"gen_ai.usage.input_tokens"},  # cached tokens belong to the input tokens; Bedrock counts them apart
    generate: {"gen_ai.provider.name"},  # `gcp.gemini`
}
"""Where theirs follow the SDK and not the conventions."""

OPENAI, ANTHROPIC = "genai.openai.OpenAIInstrumentor", "genai.anthropic.AnthropicInstrumentor"
BEDROCK, GEMINI = "genai.bedrock.BedrockInstrumentor", "google_genai.GoogleGenAiSdkInstrumentor"


@pytest.mark.parametrize(
    ("official", "use"),
    [
        (OPENAI, chat),
        (OPENAI, chat_stream),
        (OPENAI, responses),
        (OPENAI, embeddings),
        (ANTHROPIC, messages),
        (ANTHROPIC, messages_stream),
        (BEDROCK, converse),
        (GEMINI, generate),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_what_the_official_one_says_ours_says_too(
    provider: OfflineProvider,
    calls: Spans,
    instrumented: None,
    official: str,
    use: Callable[[str], None],
) -> None:
    use(provider.url)
    [ours] = [dict(call.attributes or {}) for call in calls()]
    theirs = _instrumentor(official)
    exporter = InMemorySpanExporter()
    tracers = TracerProvider(shutdown_on_exit=False)
    tracers.add_span_processor(SimpleSpanProcessor(exporter))
    theirs.instrument(tracer_provider=tracers, skip_dep_check=True)
    try:
        use(provider.url)
    finally:
        theirs.uninstrument()
    [said] = [dict(span.attributes or {}) for span in exporter.get_finished_spans()]
    assert said.keys() <= ours.keys()
    same = said.keys() - ITS_OWN - AGAINST_CONVENTIONS.get(use, set[str]())
    assert {name: said[name] for name in same} == {name: ours[name] for name in same}
