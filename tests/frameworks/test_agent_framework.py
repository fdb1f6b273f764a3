"""Microsoft's Agent Framework: its agents, tools and workflows as a tree, and every model call once."""
# ruff: noqa: E402
# pyright: reportInvalidTypeForm=false, reportUnknownParameterType=false, reportUnknownMemberType=false
# It is not there when the types are checked.

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Iterator
from typing import Any

import pytest

framework: Any = pytest.importorskip("agent_framework", reason="Agent Framework has an environment of its own")
clients: Any = pytest.importorskip("agent_framework.openai")
observability: Any = pytest.importorskip("agent_framework.observability")

from examples.offline_provider import OfflineProvider
from otel_llm.frameworks import AgentFrameworkInstrumentor
from otel_llm_semconv import attributes as A
from tests.conftest import Spans
from tests.frameworks.conftest import Tell, model_calls, said, tree

pytestmark = pytest.mark.asyncio(loop_scope="session")

PLAN = (
    '[[offline: turns: tool weather {"city": "Oslo"} + tool clock {"city": "Oslo"} | tool weather {"city": "Bergen"}'
    " | say Done.]]"
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
AGENT_AS_TOOL = """\
ask INTERNAL
  invoke_agent manager INTERNAL
    chat gpt-4o-mini CLIENT
    execute_tool support INTERNAL
      invoke_agent support INTERNAL
        chat gpt-4o-mini CLIENT
        execute_tool clock INTERNAL
        chat gpt-4o-mini CLIENT
    chat gpt-4o-mini CLIENT"""
WORKFLOW = """\
ask INTERNAL
  invoke_workflow trip INTERNAL
    plan INTERNAL
      chat gpt-4o-mini CLIENT
    invoke_agent flights INTERNAL
      chat gpt-4o-mini CLIENT
    invoke_agent hotels INTERNAL
      chat gpt-4o-mini CLIENT
    summary INTERNAL
      chat gpt-4o-mini CLIENT"""

OFFICE = """\
ask INTERNAL
  invoke_workflow INTERNAL
    invoke_agent author INTERNAL
      chat gpt-4o-mini CLIENT
    invoke_agent critic INTERNAL
      chat gpt-4o-mini CLIENT"""
FUNCTIONS = """\
ask INTERNAL
  invoke_workflow trip INTERNAL
    plan INTERNAL
      invoke_agent planner INTERNAL
        chat gpt-4o-mini CLIENT"""


def weather(city: str) -> str:
    """The weather in a city."""
    return f"Rain in {city}."


def clock(city: str) -> str:
    """The time in a city."""
    if city == "Atlantis":
        raise ValueError("no such city")
    return f"Noon in {city}."


@pytest.fixture
def both(no_fault: None, instrumented: None) -> Iterator[None]:
    """The framework and the SDKs are instrumented."""
    AgentFrameworkInstrumentor().instrument()
    yield
    AgentFrameworkInstrumentor().uninstrument()


def gpt(provider: OfflineProvider, kind: str = "OpenAIChatCompletionClient") -> Any:
    """OpenAI's model at the provider."""
    return getattr(clients, kind)(model="gpt-4o-mini", api_key="any", base_url=provider.openai_url)


def support(provider: OfflineProvider, **settings: Any) -> Any:
    """An agent with two tools."""
    return framework.Agent(gpt(provider), name="support", tools=[weather, clock], **settings)


async def answer(agent: Any, question: str) -> Any:
    """What an agent says."""
    said = await agent.run(question)
    return said.text, dict(said.usage_details)


async def streamed(agent: Any, question: str) -> Any:
    """The same, in pieces, and who is asking between them."""
    stream = agent.run(question, stream=True)
    pieces = [piece.text async for piece in stream]
    return pieces, (await stream.get_final_response()).text


async def all_at_last(agent: Any, question: str) -> Any:
    """A stream of which only the end is wanted."""
    return (await agent.run(question, stream=True).get_final_response()).text


WAYS: list[Callable[[Any, str], Any]] = [answer, streamed, all_at_last]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", ["OpenAIChatCompletionClient", "OpenAIChatClient"])
async def test_an_agent(way: Callable[[Any, str], Any], kind: str, provider: OfflineProvider, tell: Tell) -> None:
    agent = framework.Agent(gpt(provider, kind), name="support", tools=[weather, clock])
    assert await tell(lambda: way(agent, PLAN)) == AGENT


@pytest.mark.parametrize("way", WAYS)
async def test_retries_are_attempts_of_one_call(
    way: Callable[[Any, str], Any], provider: OfflineProvider, tell: Tell, spans: Spans
) -> None:
    agent = support(provider)
    assert await tell(lambda: way(agent, PLAN.replace("turns", "429 once; turns"))) == AGENT
    assert [said(call, A.OTEL_LLM_ATTEMPTS) for call in model_calls(spans())] == [2, 2, 2]


@pytest.mark.parametrize("way", WAYS)
async def test_an_agent_is_a_tool(way: Callable[[Any, str], Any], provider: OfflineProvider, tell: Tell) -> None:
    inner = support(provider, instructions='[[offline: tool clock {"city": "Oslo"}]]')
    manager = framework.Agent(gpt(provider), name="manager", tools=[inner.as_tool(description="Knows the time.")])
    assert await tell(lambda: way(manager, '[[offline: tool support {"task": "time?"}]]')) == AGENT_AS_TOOL


async def test_names_reach_what_is_inside(provider: OfflineProvider, tell: Tell, spans: Spans) -> None:
    await tell(lambda: streamed(support(provider), PLAN))
    [root] = [span for span in spans() if span.parent is None]
    assert {said(span, A.GEN_AI_AGENT_NAME) for span in spans() if span is not root} == {"support"}
    tools = [span for span in spans() if said(span, A.GEN_AI_OPERATION_NAME) == "execute_tool"]
    assert sorted(said(span, A.GEN_AI_TOOL_NAME) for span in tools) == ["clock", "weather", "weather"]
    assert all(said(span, A.GEN_AI_TOOL_CALL_ID).startswith("call_") for span in tools)


async def test_an_agent_without_a_name_has_none(provider: OfflineProvider, tell: Tell) -> None:
    agent = framework.Agent(gpt(provider))
    told = await tell(lambda: answer(agent, "Hi"))
    assert told == "ask INTERNAL\n  invoke_agent INTERNAL\n    chat gpt-4o-mini CLIENT"


async def test_a_tool_that_fails(provider: OfflineProvider, tell: Tell, spans: Spans) -> None:
    await tell(lambda: answer(support(provider), '[[offline: tool clock {"city": "Atlantis"}]]'))
    failed = [span.name for span in spans() if said(span, A.ERROR_TYPE)]
    assert failed == ["execute_tool clock"]
    assert "no such city" not in repr([span.to_json() for span in spans()])


@pytest.mark.usefixtures("both")
@pytest.mark.parametrize("way", WAYS)
async def test_a_call_that_fails(way: Callable[[Any, str], Any], provider: OfflineProvider, spans: Spans) -> None:
    with pytest.raises(Exception, match="service failed to complete the prompt"):
        await way(support(provider), "[[offline: 400]]")
    assert tree(spans()) == "invoke_agent support INTERNAL\n  chat gpt-4o-mini CLIENT"
    agent = spans()[-1]
    assert said(agent, A.ERROR_TYPE).endswith("ChatClientException")


@pytest.mark.usefixtures("both")
@pytest.mark.parametrize("how", ["dropped", "closed", "never begun"])
async def test_a_stream_may_be_left(how: str, provider: OfflineProvider, spans: Spans) -> None:
    stream = support(provider).run("[[offline: slow chunks 20ms]] Hi", stream=True)
    if how != "never begun":
        assert await anext(stream)
    if how == "closed" and hasattr(stream, "close"):
        await stream.close()
    del stream
    for _ in range(10):
        gc.collect()
        await asyncio.sleep(0.01)
    calls = "" if how == "never begun" else "\n  chat gpt-4o-mini CLIENT"
    assert tree(spans()) == "invoke_agent support INTERNAL" + calls
    assert not [span for span in spans() if said(span, A.ERROR_TYPE)]


def trip(provider: OfflineProvider) -> Any:
    """A workflow of functions and agents, two of them at once."""
    model = gpt(provider)

    @framework.executor(id="plan")
    async def plan(text: str, ctx: framework.WorkflowContext[str]) -> None:
        await model.get_response([framework.Message("user", [text])])
        await ctx.send_message(text)

    @framework.executor(id="summary")
    async def summary(answers: list[framework.AgentExecutorResponse], ctx: framework.WorkflowContext[Any, str]) -> None:
        said = await model.get_response([framework.Message("user", ["sum up"])])
        await ctx.yield_output(said.text)

    agents = [framework.Agent(model, name=name) for name in ("flights", "hotels")]
    builder = framework.WorkflowBuilder(name="trip", start_executor=plan)
    return builder.add_fan_out_edges(plan, agents).add_fan_in_edges(agents, summary).build()


async def outputs(workflow: Any, question: str) -> Any:
    """What a workflow comes to."""
    return [getattr(output, "text", output) for output in (await workflow.run(question)).get_outputs()]


async def last_events(workflow: Any, question: str) -> Any:
    """The same, of a stream; those of two agents at once come in any order."""
    events = [event async for event in workflow.run(question, stream=True)]
    return sorted(getattr(event.data, "text", event.data) for event in events if event.type == "output")


@pytest.mark.parametrize("way", [outputs, last_events])
async def test_a_workflow(way: Callable[[Any, str], Any], provider: OfflineProvider, tell: Tell) -> None:
    assert await tell(lambda: way(trip(provider), "to Oslo")) == WORKFLOW


async def test_a_workflow_is_an_agent(provider: OfflineProvider, tell: Tell) -> None:
    agents = [framework.Agent(gpt(provider), name=name) for name in ("author", "critic")]
    workflow = framework.WorkflowBuilder(start_executor=agents[0]).add_edge(*agents).build()

    async def act() -> str:
        return (await workflow.as_agent("office").run("Hi")).text

    assert await tell(act) == OFFICE


@pytest.mark.skipif(not hasattr(framework, "step"), reason="this version has no functional workflows")
async def test_a_functional_workflow(provider: OfflineProvider, tell: Tell) -> None:
    @framework.step
    async def plan(text: str) -> str:
        return (await framework.Agent(gpt(provider), name="planner").run(text)).text

    @framework.workflow
    async def trip(text: str) -> str:
        return await plan(text)

    assert await tell(lambda: outputs(trip.build() if hasattr(trip, "build") else trip, "to Oslo")) == FUNCTIONS


@pytest.mark.usefixtures("both")
async def test_its_own_traces_stay_when_the_user_asks_for_them(
    provider: OfflineProvider, spans: Spans, monkeypatch: pytest.MonkeyPatch
) -> None:
    observability.enable_instrumentation()
    try:
        await answer(support(provider), PLAN)
    finally:
        observability.OBSERVABILITY_SETTINGS.enable_instrumentation = False
    counted = [span for span in spans() if said(span, A.OTEL_LLM_COST_STATUS)]
    assert [span.name for span in counted] == ["chat gpt-4o-mini"] * 3
    agents = [span for span in spans() if said(span, A.GEN_AI_OPERATION_NAME) == "invoke_agent"]
    assert [(span.name, span.instrumentation_scope.name) for span in agents if span.instrumentation_scope] == [
        ("invoke_agent support", "agent_framework")
    ]
    assert len([span for span in spans() if said(span, A.GEN_AI_OPERATION_NAME) == "execute_tool"]) == 3
