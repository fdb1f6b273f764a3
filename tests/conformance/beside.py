"""A program that uses SDKs and LangChain with somebody else's instrumentation beside ours. Prints what was counted.

python -m tests.conformance.beside WHOSE before|after
"""

# pyright: basic, reportMissingImports=false, reportMissingTypeStubs=false
from __future__ import annotations

import asyncio
import importlib
import json
import sys
from collections.abc import Callable
from typing import Any

from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import otel_llm
from examples.offline_provider import OfflineProvider
from otel_llm import distro, late
from otel_llm.instrumentor import Instrumentor

SCRIPT = "[[offline: tokens in=1000 out=50; cache hit 300]] Why?"
ASKED: Any = [{"role": "user", "content": SCRIPT}]
INSTRUMENTORS = {
    "openllmetry": (
        "opentelemetry.instrumentation.openai:OpenAIInstrumentor",
        "opentelemetry.instrumentation.anthropic:AnthropicInstrumentor",
        "opentelemetry.instrumentation.langchain:LangchainInstrumentor",
    ),
    "openinference": (
        "openinference.instrumentation.openai:OpenAIInstrumentor",
        "openinference.instrumentation.anthropic:AnthropicInstrumentor",
        "openinference.instrumentation.langchain:LangChainInstrumentor",
    ),
    "official": ("opentelemetry.instrumentation.genai.openai:OpenAIInstrumentor",),
}


def theirs(whose: str) -> None:
    """Their instrumentation, as their users turn it on."""
    if whose == "logfire":
        import logfire

        logfire.configure(send_to_logfire=False, console=False)
        logfire.instrument_openai()
        logfire.instrument_anthropic()
    elif whose == "openlit":
        import openlit

        openlit.init(disable_metrics=True, disable_events=True)
    for path in INSTRUMENTORS.get(whose, ()):
        module, _, name = path.partition(":")
        getattr(importlib.import_module(module), name)().instrument()


def uses(provider: OfflineProvider) -> dict[str, Callable[[], Any]]:
    """What an application does."""
    import anthropic
    import langchain_openai
    import openai

    gpt = openai.OpenAI(base_url=provider.openai_url, api_key="any")
    claude: Any = anthropic.Anthropic(base_url=provider.url, api_key="any")
    kind: Any = langchain_openai.ChatOpenAI
    chain = kind(model="gpt-4o-mini", base_url=provider.openai_url, api_key="any")
    said: Any = {"model": "claude-haiku-4-5", "max_tokens": 50, "messages": ASKED}
    asked: Any = {"model": "gpt-4o-mini", "messages": ASKED}

    def stream_messages() -> None:
        with claude.messages.stream(**said) as stream:
            stream.get_final_message()

    async def at_once() -> None:
        client: Any = openai.AsyncOpenAI(base_url=provider.openai_url, api_key="any")
        await asyncio.gather(*(client.chat.completions.create(**asked) for _ in range(4)))

    return {
        "chat": lambda: gpt.chat.completions.create(**asked),
        "chat stream": lambda: list(gpt.chat.completions.create(**asked, stream=True)),
        "responses": lambda: gpt.responses.create(model="gpt-5.2", input=SCRIPT),
        "embeddings": lambda: gpt.embeddings.create(model="text-embedding-3-small", input="Why?"),
        "messages": lambda: claude.messages.create(**said),
        "messages stream": stream_messages,
        "langchain": lambda: chain.invoke(SCRIPT),
        "langchain stream": lambda: list(chain.stream(SCRIPT)),
        "langchain batch": lambda: chain.batch([SCRIPT] * 3),
        "at once": lambda: asyncio.run(at_once()),
    }


def main(whose: str, order: str) -> None:
    """Print for each use what it counted, what was billed, and whose spans told of a call."""
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    distro._ledgers = list
    distro.attach(provider)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    for instrument in (lambda: theirs(whose), Instrumentor().instrument)[:: 1 if order == "before" else -1]:
        instrument()
    found: dict[str, Any] = {}
    with OfflineProvider() as offline:
        for name, use in uses(offline).items():
            offline.settle()
            offline.clear()
            exporter.clear()
            with otel_llm.interaction(name) as it:
                use()
            offline.settle()
            late.drain()
            layers = [str((span.attributes or {}).get("otel_llm.layer")) for span in exporter.get_finished_spans()]
            billed = [len(offline.bill), sum(entry.cost_nano or 0 for entry in offline.bill)]
            found[name] = {"counted": [it.calls, it.nano_usd], "billed": billed, "layers": layers}
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
