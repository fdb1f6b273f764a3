"""pydantic-ai: runs of agents, their tools and graphs as a tree, and every model call once."""
# ruff: noqa: E402

from __future__ import annotations

import asyncio
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, cast

import pytest

pydantic_ai: Any = pytest.importorskip("pydantic_ai", reason="pydantic-ai has an environment of its own")

import anthropic
import openai
from opentelemetry import trace

import otel_llm
from examples.offline_provider import OfflineProvider
from otel_llm.frameworks import PydanticAIInstrumentor
from otel_llm_semconv import attributes as A
from tests.conftest import Spans
from tests.frameworks.conftest import Tell, held_against_bill, id_of, model_calls, said, tree

graphs: Any = pytest.importorskip("pydantic_graph")
instrument_model: Any = pytest.importorskip("pydantic_ai.models.instrumented").instrument_model
OpenAIModel: Any = pytest.importorskip("pydantic_ai.models.openai").OpenAIChatModel
AnthropicModel: Any = pytest.importorskip("pydantic_ai.models.anthropic").AnthropicModel
OpenAIProvider: Any = pytest.importorskip("pydantic_ai.providers.openai").OpenAIProvider
AnthropicProvider: Any = pytest.importorskip("pydantic_ai.providers.anthropic").AnthropicProvider

YOUNG = not pydantic_ai.__version__.startswith("1.")
PLAN = (
    'turns: tool weather {"city": "Oslo"} + tool clock {"city": "Oslo"} | tool weather {"city": "Bergen"} | say Done.'
)
AGENT = """\
ask INTERNAL
  invoke_agent support INTERNAL
    chat gpt-4o-mini CLIENT
    execute_tool clock INTERNAL
    execute_tool weather INTERNAL
    chat gpt-4o-mini CLIENT
    execute_tool weather INTERNAL
    chat gpt-4o-mini CLIENT"""
TEAM = """\
ask INTERNAL
  invoke_agent boss INTERNAL
    chat gpt-4o-mini CLIENT
    execute_tool expert INTERNAL
      invoke_agent expert INTERNAL
        chat claude-sonnet-4-5 CLIENT
        execute_tool weather INTERNAL
        chat claude-sonnet-4-5 CLIENT
    execute_tool expert INTERNAL
      invoke_agent expert INTERNAL
        chat claude-sonnet-4-5 CLIENT
        execute_tool weather INTERNAL
        chat claude-sonnet-4-5 CLIENT
    chat gpt-4o-mini CLIENT"""
GRAPH = """\
ask INTERNAL
  invoke_workflow trip INTERNAL
    plan INTERNAL
      invoke_agent support INTERNAL
        chat gpt-4o-mini CLIENT
    book INTERNAL
      chat gpt-4o-mini CLIENT"""


@pytest.fixture
def at_work(no_fault: None) -> Iterator[None]:
    """The adapter is at work during the test."""
    PydanticAIInstrumentor().instrument()
    yield
    PydanticAIInstrumentor().uninstrument()


def gpt(provider: OfflineProvider) -> Any:
    client = openai.AsyncOpenAI(base_url=provider.openai_url, api_key="any")
    return OpenAIModel("gpt-4o-mini", provider=OpenAIProvider(openai_client=client))


def claude(provider: OfflineProvider) -> Any:
    client = anthropic.AsyncAnthropic(base_url=provider.url, api_key="any")
    return AnthropicModel("claude-sonnet-4-5", provider=AnthropicProvider(anthropic_client=client))


def weather(city: str) -> str:
    """The weather in a city."""
    if city == "Atlantis":
        raise pydantic_ai.ModelRetry("no such city")
    if city == "Hell":
        raise LookupError(city)
    return f"Rain in {city}."


async def clock(city: str) -> str:
    """The time in a city."""
    await asyncio.sleep(0.01)
    return f"Noon in {city}."


def support(provider: OfflineProvider, **settings: Any) -> Any:
    """An agent with two tools."""
    return pydantic_ai.Agent(gpt(provider), name="support", tools=[weather, clock], **settings)


def plan(script: str) -> str:
    """A question that goes like this."""
    return f"[[offline: {script}]] Why?"


async def run(agent: Any, question: str) -> Any:
    return (await agent.run(question)).output


async def run_sync(agent: Any, question: str) -> Any:
    return (await asyncio.to_thread(agent.run_sync, question)).output


async def run_stream(agent: Any, question: str) -> list[str]:
    async with agent.run_stream(question) as reply:
        return [text async for text in reply.stream_text(delta=True)]


async def run_stream_sync(agent: Any, question: str) -> list[str]:
    return await asyncio.to_thread(lambda: list(agent.run_stream_sync(question).stream_text(delta=True)))


async def iterate(agent: Any, question: str) -> Any:
    async with agent.iter(question) as running:
        nodes = [type(node).__name__ async for node in running]
    return nodes, running.result.output


async def stream_every_request(agent: Any, question: str) -> Any:
    heard: list[str] = []

    async def listen(_: Any, events: Any) -> None:
        heard.extend([type(event).__name__ async for event in events])

    return (await agent.run(question, event_stream_handler=listen)).output, sorted(heard)


WAYS = (run, run_sync, run_stream, run_stream_sync, iterate, stream_every_request)


@pytest.mark.parametrize("way", WAYS)
async def test_an_agent_reads_like_what_happened(way: Any, provider: OfflineProvider, tell: Tell, spans: Spans) -> None:
    agent = support(provider)
    if way is run_stream_sync and not hasattr(agent, "run_stream_sync"):
        pytest.skip("younger")
    assert await tell(lambda: way(agent, plan(f"429 once; {PLAN}"))) == AGENT
    assert [said(call, A.OTEL_LLM_ATTEMPTS) for call in model_calls(spans())] == [2, 2, 2]
    told = [span for span in spans() if span.parent is not None]
    assert {said(span, A.GEN_AI_AGENT_NAME) for span in told} == {"support"}
    tools = [span for span in told if said(span, A.GEN_AI_OPERATION_NAME) == "execute_tool"]
    assert sorted(said(span, A.GEN_AI_TOOL_NAME) for span in tools) == ["clock", "weather", "weather"]
    assert all(said(span, A.GEN_AI_TOOL_CALL_ID).startswith("call_") for span in tools)
    assert not trace.get_current_span().get_span_context().is_valid


@pytest.mark.parametrize("way", [run, run_sync, iterate])
async def test_agents_that_ask_each_other(way: Any, provider: OfflineProvider, tell: Tell, spans: Spans) -> None:
    inner = pydantic_ai.Agent(claude(provider), name="expert", tools=[weather])
    boss = pydantic_ai.Agent(gpt(provider), name="boss")

    async def expert(ctx: Any, city: str) -> str:
        """Ask the expert."""
        found = await inner.run(plan(f'turns: tool weather {{"city": "{city}"}} | say Rain.'), usage=ctx.usage)
        return found.output

    expert.__annotations__["ctx"] = pydantic_ai.RunContext[None]
    boss.tool(expert)
    both = plan('turns: tool expert {"city": "Oslo"} + tool expert {"city": "Bergen"} | say Done.')
    assert await tell(lambda: way(boss, both)) == TEAM
    names = {(span.name, said(span, A.GEN_AI_AGENT_NAME)) for span in model_calls(spans())}
    assert names == {("chat gpt-4o-mini", "boss"), ("chat claude-sonnet-4-5", "expert")}


@pytest.mark.parametrize("way", [run, iterate])
async def test_an_answer_in_a_shape_is_no_tool(way: Any, provider: OfflineProvider, tell: Tell) -> None:
    @dataclass
    class City:
        name: str

    agent = support(provider, output_type=City)
    told = await tell(
        lambda: way(agent, plan('turns: tool weather {"city": "Oslo"} | tool final_result {"name": "x"}'))
    )
    assert told == (
        "ask INTERNAL\n"
        "  invoke_agent support INTERNAL\n"
        "    chat gpt-4o-mini CLIENT\n"
        "    execute_tool weather INTERNAL\n"
        "    chat gpt-4o-mini CLIENT"
    )


async def test_toolsets_in_toolsets_execute_once(provider: OfflineProvider, tell: Tell) -> None:
    toolsets: Any = pytest.importorskip("pydantic_ai.toolsets")
    inner = toolsets.CombinedToolset([toolsets.FunctionToolset([weather, clock])])
    agent = pydantic_ai.Agent(gpt(provider), name="support", toolsets=[toolsets.CombinedToolset([inner])])
    assert await tell(lambda: run(agent, plan(PLAN))) == AGENT


@pytest.mark.parametrize("way", [run, run_stream, iterate])
async def test_a_tool_that_asks_for_another_try(way: Any, provider: OfflineProvider, tell: Tell, spans: Spans) -> None:
    agent = support(provider)
    script = plan('turns: tool weather {"city": "Atlantis"} | tool weather {"city": "Oslo"} | say Done.')
    told = await tell(lambda: way(agent, script))
    assert told.count("chat gpt-4o-mini") == 3
    errors = [said(span, A.ERROR_TYPE) for span in spans() if said(span, A.GEN_AI_TOOL_NAME)]
    assert sorted(errors, key=str) == [None, "pydantic_ai.exceptions.ModelRetry"]
    assert all(span.status.is_ok for span in spans() if not said(span, A.GEN_AI_TOOL_NAME))


@pytest.mark.parametrize("way", WAYS)
async def test_a_tool_that_fails(way: Any, provider: OfflineProvider, tell: Tell, spans: Spans) -> None:
    agent = support(provider)
    if way is run_stream_sync and not hasattr(agent, "run_stream_sync"):
        pytest.skip("younger")

    async def failing() -> str:
        with pytest.raises(LookupError) as caught:
            await way(agent, plan('tool weather {"city": "Hell"}'))
        return repr(caught.value)

    await tell(failing)
    failed = {span.name: said(span, A.ERROR_TYPE) for span in spans() if not span.status.is_ok}
    assert failed == {"execute_tool weather": "LookupError", "invoke_agent support": "LookupError"}


@pytest.mark.usefixtures("instrumented", "at_work")
async def test_a_stream_that_is_left(provider: OfflineProvider, spans: Spans) -> None:
    agent = support(provider)
    async with agent.run_stream(plan("chunks 20; slow chunks 20ms")) as reply:
        async for _ in reply.stream_text(delta=True, debounce_by=None):
            break
    assert not trace.get_current_span().get_span_context().is_valid
    assert tree(spans()) == "invoke_agent support INTERNAL\n  chat gpt-4o-mini CLIENT"
    (call,) = model_calls(spans())
    left = ("aborted", "abandoned") if YOUNG else ("completed",)  # it used to read on to the end
    assert said(call, A.OTEL_LLM_STREAM_OUTCOME) in left
    assert all(span.status.is_ok for span in spans())


async def test_what_stands_in_the_block_is_inside_and_what_follows_is_not(
    provider: OfflineProvider, tell: Tell
) -> None:
    agent = support(provider)

    async def act() -> None:
        async with agent.run_stream("Why?") as reply:
            await reply.get_output()
            trace.get_tracer("app").start_span("inside").end()
        trace.get_tracer("app").start_span("after").end()

    assert await tell(act) == (
        "ask INTERNAL\n"
        "  invoke_agent support INTERNAL\n"
        "    chat gpt-4o-mini CLIENT\n"
        "    inside INTERNAL\n"
        "  after INTERNAL"
    )


async def test_a_conversation_is_one(provider: OfflineProvider, tell: Tell, spans: Spans) -> None:
    agent = support(provider)

    async def act() -> None:
        first = await agent.run("Why?")
        await agent.run("And then?", message_history=first.all_messages())

    await tell(act)
    runs = [span for span in spans() if said(span, A.GEN_AI_OPERATION_NAME) == "invoke_agent"]
    conversations = {said(span, A.GEN_AI_CONVERSATION_ID) for span in runs}
    assert len(runs) == 2
    assert len(conversations) == 1
    assert (conversations != {None}) == YOUNG


def trip(provider: OfflineProvider) -> Callable[[], Any]:
    """A graph: an agent plans, a model books."""
    agent = support(provider)

    async def book() -> str:
        client = openai.AsyncOpenAI(base_url=provider.openai_url, api_key="any")
        await client.chat.completions.create(model="gpt-4o-mini", messages=[{"role": "user", "content": "Book."}])
        return "booked"

    if hasattr(graphs, "GraphBuilder"):
        builder = graphs.GraphBuilder(name="trip", output_type=str)

        async def plan(ctx: Any) -> str:
            return await run(agent, "Oslo")

        async def booking(ctx: Any) -> str:
            return await book()

        first, second = builder.step(plan), builder.step(booking, node_id="book")
        builder.add(
            builder.edge_from(builder.start_node).to(first),
            builder.edge_from(first).to(second),
            builder.edge_from(second).to(builder.end_node),
        )
        return builder.build().run
    return _old_trip(lambda: run(agent, "Oslo"), book)


def _old_trip(make: Callable[[], Any], book: Callable[[], Any]) -> Callable[[], Any]:
    kind: Any = graphs.BaseNode

    async def run_plan(self: Any, ctx: Any) -> Any:
        await make()
        return second()

    async def run_book(self: Any, ctx: Any) -> Any:
        return graphs.End(await book())

    def node(name: str, run: Any) -> Any:
        made = types.new_class(name, (kind[None, None, str],), exec_body=lambda body: body.update(run=run))
        return cast("Any", dataclass)(made)

    second, first = node("book", run_book), node("plan", run_plan)
    run_book.__annotations__ |= {"ctx": graphs.GraphRunContext, "return": graphs.End[str]}
    run_plan.__annotations__ |= {"ctx": graphs.GraphRunContext, "return": second}
    graph = graphs.Graph(nodes=[first, second], name="trip")

    async def run_graph() -> Any:
        return (await graph.run(first())).output

    return run_graph


async def test_a_graph_tells_its_nodes(provider: OfflineProvider, tell: Tell) -> None:
    assert await tell(trip(provider)) == GRAPH


@pytest.mark.usefixtures("instrumented", "at_work")
@pytest.mark.parametrize("asked", ["agent", "all", "model"])
async def test_who_has_it_trace_itself_sees_its_spans_and_counts_once(
    asked: str, provider: OfflineProvider, spans: Spans, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = support(provider)
    if asked == "agent":
        agent.instrument = True
    elif asked == "all":
        monkeypatch.setattr(pydantic_ai.Agent, "_instrument_default", True)
    else:
        agent.model = instrument_model(agent.model, True)
    with otel_llm.interaction("ask") as it:
        assert await run(agent, plan(PLAN)) == "Done."
    assert it.calls == len(provider.bill) == 3
    ours = [span for span in spans() if cast("Any", span.instrumentation_scope).name != "pydantic-ai"]
    assert tree(ours).splitlines() == ["ask INTERNAL", *["chat gpt-4o-mini CLIENT"] * 3]
    held_against_bill(ours, provider)
    theirs = [span for span in spans() if span not in ours and (span.attributes or {}).get(A.GEN_AI_TOOL_NAME) is None]
    beneath = {cast("Any", call.parent).span_id for call in model_calls(ours)}
    assert beneath < {id_of(span) for span in theirs}


def test_it_is_left_as_it_was() -> None:
    before = pydantic_ai.Agent.__dict__["iter"]
    PydanticAIInstrumentor().instrument()
    assert pydantic_ai.Agent.__dict__["iter"] is not before
    PydanticAIInstrumentor().uninstrument()
    assert pydantic_ai.Agent.__dict__["iter"] is before
