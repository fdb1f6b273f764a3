"""haystack: pipelines, components, agents, tools and retrievers as a tree, and every model call once."""
# pyright: reportMissingImports=false, reportUnknownVariableType=false, reportUnknownMemberType=false
# pyright: reportUnknownArgumentType=false, reportUntypedFunctionDecorator=false, reportUnknownParameterType=false
# pyright: reportUntypedClassDecorator=false, reportUntypedBaseClass=false
# haystack is in an environment of its own.

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest

os.environ["HAYSTACK_TELEMETRY_ENABLED"] = "false"
pytest.importorskip("haystack", reason="haystack has an environment of its own")

import haystack
import openai
from haystack import Document, Pipeline, component
from haystack.components.agents import Agent
from haystack.components.builders import ChatPromptBuilder
from haystack.components.embedders import OpenAITextEmbedder
from haystack.components.generators.chat import OpenAIChatGenerator
from haystack.components.retrievers.in_memory import InMemoryEmbeddingRetriever
from haystack.dataclasses import ChatMessage
from haystack.document_stores.in_memory import InMemoryDocumentStore
from haystack.tools import Tool
from haystack.utils import Secret
from opentelemetry import trace

from examples.offline_provider import OfflineProvider
from otel_llm.frameworks import HaystackInstrumentor
from otel_llm_semconv import attributes as A
from tests.conftest import Spans
from tests.frameworks.conftest import Tell, model_calls, said, tree

pytestmark = pytest.mark.asyncio(loop_scope="session")

AsyncPipeline: Any = getattr(haystack, "AsyncPipeline", Pipeline)
"""From 3.0 on a pipeline is both."""
PLAN = (
    '429 once; turns: tool weather {"city": "Oslo"} + tool clock {"city": "Oslo"} | tool weather {"city": "Bergen"}'
    " | say Done."
)
TURNS = """\
chat gpt-4o-mini CLIENT
execute_tool clock INTERNAL
execute_tool weather INTERNAL
chat gpt-4o-mini CLIENT
execute_tool weather INTERNAL
chat gpt-4o-mini CLIENT"""
RAG = """\
embedder INTERNAL
  embeddings text-embedding-3-small CLIENT
retrieval retriever CLIENT
prompt INTERNAL
llm INTERNAL
  chat gpt-4o-mini CLIENT"""

BOSS = """\
ask INTERNAL
  invoke_agent INTERNAL
    chat gpt-4o-mini CLIENT
    execute_tool ask_expert INTERNAL
      invoke_agent INTERNAL
        chat gpt-4o-mini CLIENT
        execute_tool clock INTERNAL
        chat gpt-4o-mini CLIENT
    chat gpt-4o-mini CLIENT"""


@pytest.fixture
def traced(instrumented: None, no_fault: None) -> Iterator[None]:
    """The SDKs and haystack are instrumented during the test."""
    HaystackInstrumentor().instrument()
    yield
    HaystackInstrumentor().uninstrument()


def beneath(names: str, lines: str) -> str:
    """The lines, deeper in the tree: beneath these."""
    above = names.split(" > ")
    told = [f"{'  ' * depth}{name} INTERNAL" for depth, name in enumerate(above)]
    return "\n".join([*told, *(f"{'  ' * len(above)}{line}" for line in lines.splitlines())])


def weather(city: str) -> str:
    """The weather in a city."""
    return f"Rain in {city}."


def clock(city: str) -> str:
    """The time in a city."""
    return f"Noon in {city}."


def broken(city: str) -> str:
    """Fails."""
    raise LookupError(city)


def tool(function: Any) -> Tool:
    """The function as a tool."""
    schema = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    return Tool(name=function.__name__, description=str(function.__doc__), parameters=schema, function=function)


def model(provider: OfflineProvider, **settings: Any) -> Any:
    """OpenAI's model at the provider."""
    return OpenAIChatGenerator(
        model="gpt-4o-mini", api_base_url=provider.openai_url, api_key=Secret.from_token("any"), **settings
    )


def agent(provider: OfflineProvider, *functions: Any, **settings: Any) -> Any:
    """An agent with tools."""
    helper = Agent(chat_generator=model(provider, **settings), tools=[tool(function) for function in functions])
    helper.warm_up()
    return helper


def asked(script: str) -> list[ChatMessage]:
    """A question that the provider answers by `script`."""
    return [ChatMessage.from_user(f"[[offline: {script}]] Well?")]


def last(result: Any) -> str | None:
    """What it says in the end."""
    return result["messages"][-1].text


async def alast(run: Any) -> str | None:
    """What it says in the end."""
    return last(await run)


async def test_an_agent(tell: Tell, provider: OfflineProvider, spans: Spans) -> None:
    helper = agent(provider, weather, clock)
    told = beneath("ask > invoke_agent", TURNS)
    assert await tell(lambda: last(helper.run(messages=asked(PLAN)))) == told
    assert [said(call, A.OTEL_LLM_ATTEMPTS) for call in model_calls(spans())] == [2, 2, 2]
    assert await tell(lambda: alast(helper.run_async(messages=asked(PLAN)))) == told


async def test_a_stream(tell: Tell, provider: OfflineProvider) -> None:
    def run() -> tuple[str | None, int]:
        pieces: list[Any] = []
        helper = agent(provider, weather, clock, streaming_callback=pieces.append)
        return last(helper.run(messages=asked(PLAN))), len(pieces)

    assert await tell(run) == beneath("ask > invoke_agent", TURNS)


async def test_an_agent_in_a_pipeline(tell: Tell, provider: OfflineProvider, spans: Spans) -> None:
    def run(kind: Any) -> Any:
        pipeline = kind(metadata={"name": "desk"})
        pipeline.add_component("support", agent(provider, weather, clock))
        return pipeline

    told = beneath("ask > invoke_workflow desk > invoke_agent support", TURNS)
    data = {"support": {"messages": asked(PLAN)}}
    assert await tell(lambda: last(run(Pipeline).run(data)["support"])) == told
    assert {said(call, A.GEN_AI_AGENT_NAME) for call in model_calls(spans())} == {"support"}

    async def arun() -> str | None:
        return last((await run(AsyncPipeline).run_async(data))["support"])

    assert await tell(arun) == told


def rag(provider: OfflineProvider, kind: Any) -> Any:
    """A pipeline that looks up and answers."""
    store = InMemoryDocumentStore()
    store.write_documents([Document(content="Tea is hot.", embedding=[0.1] * 8)])
    pipeline = kind()
    embedder = OpenAITextEmbedder(
        model="text-embedding-3-small", api_base_url=provider.openai_url, api_key=Secret.from_token("any"), dimensions=8
    )
    pipeline.add_component("embedder", embedder)
    pipeline.add_component("retriever", InMemoryEmbeddingRetriever(store, top_k=1))
    template = [ChatMessage.from_user("{% for it in documents %}{{ it.content }}{% endfor %} Hot?")]
    pipeline.add_component("prompt", ChatPromptBuilder(template, required_variables="*"))
    pipeline.add_component("llm", model(provider))
    pipeline.connect("embedder.embedding", "retriever.query_embedding")
    pipeline.connect("retriever.documents", "prompt.documents")
    pipeline.connect("prompt.prompt", "llm.messages")
    return pipeline


async def test_a_pipeline(tell: Tell, provider: OfflineProvider, spans: Spans) -> None:
    data = {"embedder": {"text": "Hot?"}}
    told = beneath("ask > invoke_workflow", RAG)
    assert await tell(lambda: rag(provider, Pipeline).run(data)["llm"]["replies"][0].text) == told
    [found] = [span for span in spans() if span.name == "retrieval retriever"]
    assert said(found, A.GEN_AI_RETRIEVAL_TOP_K) == 1

    async def run() -> str:
        return (await rag(provider, AsyncPipeline).run_async(data))["llm"]["replies"][0].text

    assert await tell(run) == told

    async def stepwise() -> list[list[str]]:
        return [sorted(part) async for part in rag(provider, AsyncPipeline).run_async_generator(data)]

    assert await tell(stepwise) == told


async def test_a_tool_that_fails(tell: Tell, provider: OfflineProvider, spans: Spans) -> None:
    helper = Agent(chat_generator=model(provider), tools=[tool(broken)], raise_on_tool_invocation_failure=False)
    helper.warm_up()
    await tell(lambda: last(helper.run(messages=asked('tool broken {"city": "Oslo"}'))))
    failed = {span.name for span in spans() if not span.status.is_ok}
    assert failed == {"execute_tool broken"}


@pytest.mark.usefixtures("traced")
async def test_a_model_that_fails(provider: OfflineProvider, spans: Spans) -> None:
    helper = agent(provider, weather, max_retries=0)
    with pytest.raises(Exception, match="scripted failure"):
        helper.run(messages=asked("400"))
    assert tree(spans()) == "invoke_agent INTERNAL\n  chat gpt-4o-mini CLIENT"
    assert not any(span.status.is_ok for span in spans())


async def test_an_agent_inside_of_a_tool(tell: Tell, provider: OfflineProvider) -> None:
    expert = agent(provider, clock)

    def ask_expert(city: str) -> str:
        """Ask the expert."""
        return str(last(expert.run(messages=asked(f'tool clock {{"city": "{city}"}}'))))

    boss = agent(provider, ask_expert)
    assert await tell(lambda: last(boss.run(messages=asked('tool ask_expert {"city": "Oslo"}')))) == BOSS


async def test_a_component_of_ones_own(tell: Tell, provider: OfflineProvider) -> None:
    @component
    class Shout:
        @component.output_types(messages=list[ChatMessage])
        def run(self, text: str) -> dict[str, Any]:
            client = openai.OpenAI(base_url=provider.openai_url, api_key="any")
            client.embeddings.create(model="text-embedding-3-small", input=text)
            return {"messages": [ChatMessage.from_user(text.upper())]}

    class Desk(Pipeline):
        pass

    def run() -> str:
        desk = Desk()
        desk.add_component("shout", Shout())
        desk.add_component("llm", model(provider))
        desk.connect("shout", "llm")
        return desk.run({"shout": {"text": "tea?"}})["llm"]["replies"][0].text

    inside = "shout INTERNAL\n  embeddings text-embedding-3-small CLIENT\nllm INTERNAL\n  chat gpt-4o-mini CLIENT"
    assert await tell(run) == beneath("ask > invoke_workflow Desk", inside)


def test_its_own_spans_are_silent_where_nobody_asked_for_them() -> None:
    native = pytest.importorskip("haystack.tracing.opentelemetry", reason="haystack 3.0 leaves that to others")
    HaystackInstrumentor().uninstrument()
    for scope, silent in (("haystack", True), ("my_app", False)):
        haystack.tracing.enable_tracing(native.OpenTelemetryTracer(trace.get_tracer(scope)))
        HaystackInstrumentor().instrument()
        assert haystack.tracing.is_tracing_enabled() is not silent
        HaystackInstrumentor().uninstrument()
        assert haystack.tracing.is_tracing_enabled()
        haystack.tracing.disable_tracing()
