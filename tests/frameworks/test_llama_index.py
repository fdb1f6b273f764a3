"""llama_index: its workflows, agents, tools, retrievers and engines as a tree, and every model call once."""
# pyright: reportMissingImports=false, reportUnknownVariableType=false, reportUnknownMemberType=false
# pyright: reportUnknownArgumentType=false, reportUntypedBaseClass=false, reportUntypedFunctionDecorator=false
# pyright: reportUnknownParameterType=false
# llama_index is in an environment of its own.

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest

pytest.importorskip("llama_index.core", reason="llama_index has an environment of its own")
os.environ["LLAMA_INDEX_CACHE_DIR"] = os.devnull

import openai
from llama_index.core import Document, VectorStoreIndex
from llama_index.core.agent.workflow import AgentWorkflow, FunctionAgent, ReActAgent
from llama_index.core.instrumentation import root_dispatcher
from llama_index.core.query_engine import RetrieverQueryEngine
from llama_index.core.retrievers import BaseRetriever
from llama_index.core.schema import NodeWithScore, TextNode
from llama_index.core.tools import FunctionTool, QueryEngineTool
from llama_index.core.workflow import (
    Context,
    Event,
    HumanResponseEvent,
    InputRequiredEvent,
    StartEvent,
    StopEvent,
    Workflow,
    step,
)
from llama_index.embeddings.openai import OpenAIEmbedding
from llama_index.llms.openai import OpenAI

import otel_llm
from examples.offline_provider import OfflineProvider
from otel_llm.frameworks import LlamaIndexInstrumentor
from otel_llm_semconv import attributes as A
from tests.conftest import Spans
from tests.frameworks.conftest import Tell, held_against_bill, model_calls, said, tree

pytestmark = pytest.mark.asyncio(loop_scope="session")

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

TEAM = """\
ask INTERNAL
  invoke_workflow INTERNAL
    invoke_agent researcher INTERNAL
      chat gpt-4o-mini CLIENT
      execute_tool weather INTERNAL
      chat gpt-4o-mini CLIENT
      execute_tool handoff INTERNAL
    invoke_agent writer INTERNAL
      chat gpt-4o-mini CLIENT
      execute_tool clock INTERNAL
      chat gpt-4o-mini CLIENT"""
BOSS = """\
ask INTERNAL
  invoke_agent boss INTERNAL
    chat gpt-4o-mini CLIENT
    execute_tool ask_expert INTERNAL
      invoke_agent expert INTERNAL
        chat gpt-4o-mini CLIENT
        execute_tool clock INTERNAL
        chat gpt-4o-mini CLIENT
    chat gpt-4o-mini CLIENT"""
STEPS = """\
plan INTERNAL
  chat gpt-4o-mini CLIENT
search INTERNAL
  chat gpt-4o-mini CLIENT
search INTERNAL
  chat gpt-4o-mini CLIENT
sum_up INTERNAL
sum_up INTERNAL
  chat gpt-4o-mini CLIENT"""
ANSWER = """\
retrieval handbook CLIENT
  embeddings text-embedding-3-small CLIENT
chat gpt-4o-mini CLIENT"""


@pytest.fixture
def traced(instrumented: None, no_fault: None) -> Iterator[None]:
    """The SDKs and llama_index are instrumented during the test."""
    LlamaIndexInstrumentor().instrument()
    yield
    LlamaIndexInstrumentor().uninstrument()


def beneath(names: str, lines: str) -> str:
    """The lines, deeper in the tree: beneath these."""
    above = names.split(" > ")
    told = [f"{'  ' * depth}{name} INTERNAL" for depth, name in enumerate(above)]
    return "\n".join([*told, *(f"{'  ' * len(above)}{line}" for line in lines.splitlines())])


def weather(city: str) -> str:
    """The weather in a city."""
    return f"Rain in {city}."


async def clock(city: str) -> str:
    """The time in a city."""
    return f"Noon in {city}."


def broken(city: str) -> str:
    """Fails."""
    raise LookupError(city)


def asked(script: str) -> str:
    """A question that the provider answers by `script`."""
    return f"[[offline: {script}]] Well?"


def model(provider: OfflineProvider, **settings: Any) -> Any:
    """OpenAI's model at the provider."""
    return OpenAI(model="gpt-4o-mini", api_base=provider.openai_url, api_key="any", **settings)


def agent(provider: OfflineProvider, *tools: Any, kind: Any = FunctionAgent, **settings: Any) -> Any:
    """An agent with tools."""
    return kind(**{"name": "support", "tools": list(tools), "llm": model(provider), **settings})


async def answer(run: Any) -> str:
    """What an agent says in the end."""
    return str(await run)


@pytest.mark.parametrize("streaming", [True, False], ids=["streamed", "plain"])
async def test_an_agent(tell: Tell, provider: OfflineProvider, spans: Spans, streaming: bool) -> None:
    helper = agent(provider, weather, clock, streaming=streaming)
    assert await tell(lambda: answer(helper.run(asked(PLAN)))) == beneath("ask > invoke_agent support", TURNS)
    calls = model_calls(spans())
    assert [said(call, A.GEN_AI_AGENT_NAME) for call in calls] == ["support"] * 3
    assert [said(call, A.OTEL_LLM_ATTEMPTS) for call in calls] == [2, 2, 2]
    tools = [span for span in spans() if span.name.startswith("execute_tool")]
    assert all(said(span, A.GEN_AI_TOOL_CALL_ID) and said(span, A.GEN_AI_AGENT_NAME) == "support" for span in tools)


async def test_two_agents_take_turns(tell: Tell, provider: OfflineProvider, spans: Spans) -> None:
    researcher = agent(provider, weather, name="researcher", description="Looks.", can_handoff_to=["writer"])
    writer = agent(provider, weather, clock, name="writer", description="Writes.", can_handoff_to=["researcher"])
    team = AgentWorkflow(agents=[researcher, writer], root_agent="researcher")
    handoff = 'tool handoff {"to_agent": "writer", "reason": "Done."}'
    plan = f'turns: tool weather {{"city": "Oslo"}} | {handoff} | tool clock {{"city": "Oslo"}} | say Done.'
    assert await tell(lambda: answer(team.run(asked(plan)))) == TEAM
    agents = [said(call, A.GEN_AI_AGENT_NAME) for call in model_calls(spans())]
    assert agents == ["researcher"] * 2 + ["writer"] * 2


async def test_an_agent_without_a_name(tell: Tell, provider: OfflineProvider) -> None:
    helper = agent(provider, weather, name="Agent")
    script = asked('tool weather {"city": "Oslo"}')
    one_tool = "chat gpt-4o-mini CLIENT\nexecute_tool weather INTERNAL\nchat gpt-4o-mini CLIENT"
    assert await tell(lambda: answer(helper.run(script))) == beneath("ask > invoke_agent", one_tool)
    team = AgentWorkflow(agents=[helper])
    assert await tell(lambda: answer(team.run(script))) == beneath("ask > invoke_workflow > invoke_agent", one_tool)


async def test_an_agent_that_writes_what_it_thinks(tell: Tell, provider: OfflineProvider) -> None:
    say = 'Thought: weather.\nAction: weather\nAction Input: {"city": "Oslo"}'
    script = asked(f"turns: say {say} | say Thought: I can answer without using any more tools.\nAnswer: Rain.")
    helper = agent(provider, weather, kind=ReActAgent)
    told = await tell(lambda: answer(helper.run(script, max_iterations=3, early_stopping_method="generate")))
    assert told.startswith("ask INTERNAL\n  invoke_agent support INTERNAL\n    chat gpt-4o-mini CLIENT")


async def test_an_agent_inside_of_a_tool(tell: Tell, provider: OfflineProvider, spans: Spans) -> None:
    expert = agent(provider, clock, name="expert")

    async def ask_expert(question: str) -> str:
        """Ask the expert."""
        return str(await expert.run(asked('tool clock {"city": "Oslo"}')))

    boss = agent(provider, ask_expert, name="boss")
    told = await tell(lambda: answer(boss.run(asked('tool ask_expert {"question": "when"}'))))
    assert told == BOSS
    agents = [said(call, A.GEN_AI_AGENT_NAME) for call in model_calls(spans())]
    assert agents == ["boss", "expert", "expert", "boss"]


class Route(Event):
    question: str


class Part(Event):
    text: str


class Trip(Workflow):
    """Plans, asks twice at once, sums up."""

    def __init__(self, llm: Any, **settings: Any) -> None:
        super().__init__(**settings)
        self.llm = llm

    @step
    async def plan(self, ctx: Context, ev: StartEvent) -> Route | None:
        await self.llm.acomplete("plan")
        ctx.send_event(Route(question="flights"))
        ctx.send_event(Route(question="hotels"))
        return None

    @step
    async def search(self, ev: Route) -> Part:
        return Part(text=str(await self.llm.acomplete(ev.question)))

    @step(num_workers=1)  # of two at once, workflows run one again
    async def sum_up(self, ctx: Context, ev: Part) -> StopEvent | None:
        parts = ctx.collect_events(ev, [Part, Part])
        if parts is None:
            return None
        return StopEvent(result="".join([str(part) async for part in await self.llm.astream_complete("sum up")]))


class Journey(Workflow):
    """A trip inside."""

    def __init__(self, trip: Trip) -> None:
        super().__init__()
        self.trip = trip

    @step
    async def go(self, ev: StartEvent) -> StopEvent:
        return StopEvent(result=await self.trip.run())


@pytest.mark.parametrize(("settings", "name"), [({}, "Trip"), ({"workflow_name": "trip"}, "trip")])
async def test_a_workflow_of_ones_own(
    tell: Tell, provider: OfflineProvider, settings: dict[str, Any], name: str
) -> None:
    trip = Trip(model(provider), **settings)
    assert await tell(lambda: answer(trip.run())) == beneath(f"ask > invoke_workflow {name}", STEPS)
    around = "ask > invoke_workflow Journey > go"
    told = await tell(lambda: answer(Journey(trip).run()))
    assert told == beneath(f"{around} > invoke_workflow {name}", STEPS)


async def test_runs_at_once_stand_beside_each_other(tell: Tell, provider: OfflineProvider) -> None:
    async def several() -> list[str]:
        helper = agent(provider)
        runs = [helper.run("One?"), helper.run("Two?")]
        await model(provider).acomplete("Three?")
        return [str(await run) for run in runs]

    run = "\n  invoke_agent support INTERNAL\n    chat gpt-4o-mini CLIENT"
    assert await tell(several) == f"ask INTERNAL\n  chat gpt-4o-mini CLIENT{run}{run}"


async def test_a_tool_that_fails(tell: Tell, provider: OfflineProvider, spans: Spans) -> None:
    helper = agent(provider, broken, weather)
    plan = asked('turns: tool broken {"city": "Oslo"} + tool weather {"city": "Oslo"} | say Done.')
    assert "execute_tool broken" in await tell(lambda: answer(helper.run(plan)))
    failed = {span.name: said(span, A.ERROR_TYPE) for span in spans() if not span.status.is_ok}
    assert failed == {"execute_tool broken": "LookupError"}


@pytest.mark.usefixtures("traced")
async def test_a_model_that_fails(provider: OfflineProvider, spans: Spans) -> None:
    with pytest.raises(openai.InternalServerError):
        await agent(provider, llm=model(provider, max_retries=0)).run(asked("500"))
    assert tree(spans()) == "invoke_agent support INTERNAL\n  chat gpt-4o-mini CLIENT"
    assert not any(span.status.is_ok for span in spans())


@pytest.mark.usefixtures("traced")
async def test_a_run_that_is_left(provider: OfflineProvider, spans: Spans) -> None:
    with otel_llm.interaction("ask", user_id="u-1"):
        run = agent(provider, weather).run(asked("chunks 20; slow chunks 20ms"))
        async for event in run.stream_events():
            if getattr(event, "delta", None):
                break
        await run.cancel_run()
        with suppress(Exception):
            await run
    (call,) = model_calls(spans())
    assert tree(spans()) == beneath("ask > invoke_agent support", "chat gpt-4o-mini CLIENT")
    assert said(call, A.OTEL_LLM_STREAM_OUTCOME) in ("aborted", "abandoned")
    assert all(span.status.is_ok for span in spans())


@pytest.mark.usefixtures("traced")
async def test_a_question_to_a_human_is_no_error(provider: OfflineProvider, spans: Spans) -> None:
    async def approve(ctx: Context) -> str:
        """Ask a human."""
        said = await ctx.wait_for_event(
            HumanResponseEvent, waiter_event=InputRequiredEvent(prefix="sure?"), waiter_id="sure"
        )
        return said.response

    approve.__annotations__ = {"ctx": Context, "return": str}
    run = agent(provider, FunctionTool.from_defaults(async_fn=approve)).run(asked("tool approve {}"))
    async for event in run.stream_events():
        if isinstance(event, InputRequiredEvent):
            run.ctx.send_event(HumanResponseEvent(response="yes"))
    await run
    assert all(span.status.is_ok for span in spans())
    assert tree(spans()).startswith("invoke_agent support INTERNAL\n  chat gpt-4o-mini CLIENT\n  execute_tool approve")
    held_against_bill(spans(), provider)


def handbook(provider: OfflineProvider) -> Any:
    """An index with a name."""
    embedder = OpenAIEmbedding(model="text-embedding-3-small", api_base=provider.openai_url, api_key="any")
    index = VectorStoreIndex.from_documents([Document(text="Tea is hot.")], embed_model=embedder)
    index.set_index_id("handbook")
    return index


async def test_query_and_chat_engines(tell: Tell, provider: OfflineProvider, spans: Spans) -> None:
    index = handbook(provider)
    engine = index.as_query_engine(llm=model(provider), similarity_top_k=1)
    chat = index.as_chat_engine(chat_mode="context", llm=model(provider))
    told = beneath("ask > invoke_workflow", ANSWER)
    assert await tell(lambda: str(engine.query("Tea?"))) == told
    [found] = [span for span in spans() if span.name == "retrieval handbook"]
    assert (said(found, A.GEN_AI_DATA_SOURCE_ID), said(found, A.GEN_AI_RETRIEVAL_TOP_K)) == ("handbook", 1)
    assert await tell(lambda: answer(engine.aquery("Tea?"))) == told
    assert await tell(lambda: str(chat.chat("Tea?", []))) == told
    assert await tell(lambda: answer(chat.achat("Tea?", []))) == told


async def test_an_engine_as_a_tool(tell: Tell, provider: OfflineProvider) -> None:
    engine = handbook(provider).as_query_engine(llm=model(provider))
    helper = agent(provider, QueryEngineTool.from_defaults(engine, name="look_up"))
    told = await tell(lambda: answer(helper.run(asked('tool look_up {"input": "Tea?"}'))))
    inside = beneath("execute_tool look_up", ANSWER)
    calls = f"chat gpt-4o-mini CLIENT\n{inside}\nchat gpt-4o-mini CLIENT"
    assert told == beneath("ask > invoke_agent support", calls)


async def test_a_retriever_of_ones_own(tell: Tell, provider: OfflineProvider) -> None:
    class Shelf(BaseRetriever):
        def _retrieve(self, query_bundle: Any) -> list[Any]:
            return [NodeWithScore(node=TextNode(text=str(query_bundle)))]

    engine = RetrieverQueryEngine.from_args(Shelf(), llm=model(provider))
    told = beneath("ask > invoke_workflow", "retrieval Shelf CLIENT\nchat gpt-4o-mini CLIENT")
    assert await tell(lambda: str(engine.query("Tea?"))) == told


async def test_threads(tell: Tell, provider: OfflineProvider) -> None:
    engine = handbook(provider).as_query_engine(llm=model(provider))

    async def several() -> list[str]:
        return [str(it) for it in await asyncio.gather(*(asyncio.to_thread(engine.query, "Tea?") for _ in range(3)))]

    told = await tell(several)
    assert told.count(beneath("invoke_workflow", ANSWER).replace("\n", "\n  ")) == 3


def test_it_is_left_as_it_was() -> None:
    before = list(root_dispatcher.span_handlers)
    LlamaIndexInstrumentor().instrument()
    assert len(root_dispatcher.span_handlers) == len(before) + 1
    LlamaIndexInstrumentor().uninstrument()
    assert root_dispatcher.span_handlers == before
