"""AutoGen: its agents, teams and tools as a tree, and every model call once."""
# ruff: noqa: E402
# pyright: reportUnknownMemberType=false, reportUntypedBaseClass=false, reportUnknownParameterType=false
# pyright: reportInvalidTypeForm=false, reportUntypedFunctionDecorator=false
# It is not there when the types are checked.

from __future__ import annotations

import asyncio
import gc
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

agents: Any = pytest.importorskip("autogen_agentchat.agents", reason="AutoGen has an environment of its own")
conditions: Any = pytest.importorskip("autogen_agentchat.conditions")
teams: Any = pytest.importorskip("autogen_agentchat.teams")
tools: Any = pytest.importorskip("autogen_agentchat.tools")
core: Any = pytest.importorskip("autogen_core")
models: Any = pytest.importorskip("autogen_core.models")
openai: Any = pytest.importorskip("autogen_ext.models.openai")

from opentelemetry import context as otel_context
from opentelemetry.context import Context

import otel_llm
from examples.offline_provider import OfflineProvider
from otel_llm.driving import within
from otel_llm.frameworks import AutoGenInstrumentor
from otel_llm_semconv import attributes as A
from tests.conftest import Spans
from tests.frameworks.conftest import Tell, held_against_bill, model_calls, said, stories, tree

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
NAMED = hasattr(teams.RoundRobinGroupChat, "name")
"""Whether teams have names in this version."""
TEAM = f"""\
ask INTERNAL
  invoke_workflow {"office " if NAMED else ""}INTERNAL
    invoke_agent author INTERNAL
      chat gpt-4o-mini CLIENT
    invoke_agent critic INTERNAL
      chat gpt-4o-mini CLIENT"""
SELECTED = """\
ask INTERNAL
  invoke_workflow INTERNAL
    chat gpt-4o-mini CLIENT
    invoke_agent author INTERNAL
      chat gpt-4o-mini CLIENT
    chat gpt-4o-mini CLIENT
    invoke_agent author INTERNAL
      chat gpt-4o-mini CLIENT"""
SWARM = """\
ask INTERNAL
  invoke_workflow INTERNAL
    invoke_agent author INTERNAL
      chat gpt-4o-mini CLIENT
      execute_tool transfer_to_critic INTERNAL
    invoke_agent critic INTERNAL
      chat gpt-4o-mini CLIENT"""
NESTED = """\
ask INTERNAL
  invoke_workflow INTERNAL
    invoke_agent editor INTERNAL
      chat gpt-4o-mini CLIENT
    invoke_agent society INTERNAL
      invoke_workflow INTERNAL
        invoke_agent author INTERNAL
          chat gpt-4o-mini CLIENT
        invoke_agent critic INTERNAL
          chat gpt-4o-mini CLIENT
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
    AutoGenInstrumentor().instrument()
    yield
    AutoGenInstrumentor().uninstrument()


def gpt(provider: OfflineProvider, **settings: Any) -> Any:
    """OpenAI's model at the provider."""
    url = provider.openai_url
    return openai.OpenAIChatCompletionClient(model="gpt-4o-mini", api_key="any", base_url=url, **settings)


def agent(provider: OfflineProvider, name: str, **settings: Any) -> Any:
    """An agent."""
    return agents.AssistantAgent(name, gpt(provider), **settings)


def support(provider: OfflineProvider, **settings: Any) -> Any:
    """An agent with two tools, which may use them often."""
    if NAMED:
        settings["max_tool_iterations"] = 5
    return agent(provider, "support", tools=[weather, clock], **settings)


def pair(provider: OfflineProvider) -> list[Any]:
    """Two agents."""
    return [agent(provider, name, description=name) for name in ("author", "critic")]


def office(provider: OfflineProvider, **settings: Any) -> Any:
    """A team of two."""
    if NAMED:
        settings["name"] = "office"
    return teams.RoundRobinGroupChat(pair(provider), max_turns=2, **settings)


def plainly(message: Any) -> Any:
    """What a program sees of a message, without the ids that differ from run to run."""
    content = re.sub(r"call_\w+", "call", str(getattr(message, "content", None)))
    return type(message).__name__, getattr(message, "source", None), content


async def answer(runner: Any, task: str) -> Any:
    """What an agent or a team comes to."""
    result = await runner.run(task=task)
    return [plainly(message) for message in result.messages], getattr(result, "stop_reason", None)


async def streamed(runner: Any, task: str) -> Any:
    """The same, message by message."""
    return [plainly(message) async for message in runner.run_stream(task=task)]


WAYS: list[Callable[[Any, str], Any]] = [answer, streamed]
every_way = pytest.mark.parametrize("way", WAYS)


@every_way
@pytest.mark.parametrize("tokens", [False, True])
@pytest.mark.skipif(not NAMED, reason="this version uses tools once")
async def test_an_agent(
    way: Callable[[Any, str], Any], provider: OfflineProvider, tell: Tell, spans: Spans, *, tokens: bool
) -> None:
    assert await tell(lambda: way(support(provider, model_client_stream=tokens), PLAN)) == AGENT
    assert [bool(said(call, A.GEN_AI_REQUEST_STREAM)) for call in model_calls(spans())] == [tokens] * 3


@every_way
async def test_retries_are_attempts_of_one_call(
    way: Callable[[Any, str], Any], provider: OfflineProvider, tell: Tell, spans: Spans
) -> None:
    told = await tell(lambda: way(support(provider), PLAN.replace("turns", "429 once; turns")))
    assert told == (AGENT if NAMED else "\n".join(AGENT.splitlines()[:5]))
    assert {said(call, A.OTEL_LLM_ATTEMPTS) for call in model_calls(spans())} == {2}


@every_way
async def test_an_agent_is_a_tool(way: Callable[[Any, str], Any], provider: OfflineProvider, tell: Tell) -> None:
    def manager() -> Any:
        script = '[[offline: tool clock {"city": "Oslo"}]]'
        more: dict[str, Any] = {"system_message": script, "reflect_on_tool_use": True}
        inner = agent(provider, "support", tools=[clock], description="Knows the time.", **more)
        return agent(provider, "manager", tools=[tools.AgentTool(inner)], reflect_on_tool_use=True)

    assert await tell(lambda: way(manager(), '[[offline: tool support {"task": "time?"}]]')) == AGENT_AS_TOOL


async def test_names_reach_what_is_inside(provider: OfflineProvider, tell: Tell, spans: Spans) -> None:
    await tell(lambda: streamed(support(provider), PLAN))
    [root] = [span for span in spans() if span.parent is None]
    assert {said(span, A.GEN_AI_AGENT_NAME) for span in spans() if span is not root} == {"support"}
    used = [span for span in spans() if said(span, A.GEN_AI_OPERATION_NAME) == "execute_tool"]
    assert {said(span, A.GEN_AI_TOOL_NAME) for span in used} == {"clock", "weather"}
    if NAMED:
        assert all(said(span, A.GEN_AI_TOOL_CALL_ID).startswith("call_") for span in used)


async def test_a_tool_that_fails(provider: OfflineProvider, tell: Tell, spans: Spans) -> None:
    await tell(lambda: answer(support(provider), '[[offline: tool clock {"city": "Atlantis"}]]'))
    assert [span.name for span in spans() if said(span, A.ERROR_TYPE)] == ["execute_tool clock"]
    assert "no such city" not in repr([span.to_json() for span in spans()])


@pytest.mark.usefixtures("both")
@every_way
async def test_a_call_that_fails(way: Callable[[Any, str], Any], provider: OfflineProvider, spans: Spans) -> None:
    with pytest.raises(Exception, match="400"):
        await way(support(provider), "[[offline: 400]]")
    assert tree(spans()) == "invoke_agent support INTERNAL\n  chat gpt-4o-mini CLIENT"
    assert len([span for span in spans() if said(span, A.ERROR_TYPE)]) == 2


@every_way
async def test_a_team(way: Callable[[Any, str], Any], provider: OfflineProvider, tell: Tell) -> None:
    assert await tell(lambda: way(office(provider), "Hi")) == TEAM


async def test_a_selector_asks_the_model(provider: OfflineProvider, tell: Tell) -> None:
    def team() -> Any:
        prompt = "[[offline: say author]]"
        more = {"selector_prompt": prompt, "allow_repeated_speaker": True}
        return teams.SelectorGroupChat(pair(provider), gpt(provider), max_turns=2, **more)

    assert await tell(lambda: answer(team(), "Hi")) == SELECTED


async def test_a_swarm_hands_over(provider: OfflineProvider, tell: Tell) -> None:
    def team() -> Any:
        author = agent(provider, "author", handoffs=["critic"])
        return teams.Swarm([author, agent(provider, "critic")], max_turns=2)

    assert await tell(lambda: answer(team(), "[[offline: turns: tool transfer_to_critic {} | say Done.]]")) == SWARM


@every_way
async def test_teams_in_teams(way: Callable[[Any, str], Any], provider: OfflineProvider, tell: Tell) -> None:
    def team() -> Any:
        inner = teams.RoundRobinGroupChat(pair(provider), max_turns=2)
        society = agents.SocietyOfMindAgent("society", inner, gpt(provider))
        return teams.RoundRobinGroupChat([agent(provider, "editor"), society], max_turns=2)

    assert await tell(lambda: way(team(), "Hi")) == NESTED


@pytest.mark.usefixtures("both")
async def test_a_runtime_that_others_started_works_for_each(provider: OfflineProvider, spans: Spans) -> None:
    runtime = core.SingleThreadedAgentRuntime()
    with within(Context()):
        runtime.start()

    async def ask(user: str) -> None:
        with otel_llm.interaction("ask", user_id=user):
            await answer(office(provider, runtime=runtime), "Hi")

    await asyncio.gather(ask("u-1"), ask("u-2"))
    await runtime.stop_when_idle()
    assert stories(spans()) == [TEAM, TEAM]
    assert sorted(said(call, A.USER_ID) for call in model_calls(spans())) == ["u-1", "u-1", "u-2", "u-2"]
    held_against_bill(spans(), provider)


@dataclass
class Said:
    """A message."""

    text: str


class Assistant(core.RoutedAgent):
    """An agent of the core, which asks a model, and tells others about it."""

    def __init__(self, model: Any, next_topic: str | None) -> None:
        super().__init__("assistant")
        self._model, self._next = model, next_topic

    @core.message_handler
    async def handle(self, message: Said, ctx: core.MessageContext) -> Said:
        said = await self._model.create([models.UserMessage(content=message.text, source="user")])
        if self._next is not None:
            await self.publish_message(Said("go on"), core.TopicId(self._next, "default"))
        return Said(said.content)


async def test_messages_of_the_core(provider: OfflineProvider, tell: Tell) -> None:
    async def act() -> Any:
        runtime = core.SingleThreadedAgentRuntime()
        await Assistant.register(runtime, "first", lambda: Assistant(gpt(provider), "second"))
        await Assistant.register(runtime, "second", lambda: Assistant(gpt(provider), None))
        await runtime.add_subscription(core.TypeSubscription("second", "second"))
        runtime.start()
        said = await runtime.send_message(Said("Hi"), core.AgentId("first", "default"))
        await runtime.stop_when_idle()
        return said

    assert await tell(act) == "ask INTERNAL\n  chat gpt-4o-mini CLIENT\n  chat gpt-4o-mini CLIENT"


@pytest.mark.usefixtures("both")
async def test_nothing_of_a_stream_is_current_between_its_messages(provider: OfflineProvider) -> None:
    outside = otel_context.get_current()
    async for _ in office(provider).run_stream(task="Hi"):
        assert otel_context.get_current() is outside


@pytest.mark.usefixtures("both")
@pytest.mark.parametrize("how", ["closed", "dropped", "never begun"])
async def test_a_stream_may_be_left(how: str, provider: OfflineProvider, spans: Spans) -> None:
    stream = support(provider, model_client_stream=True).run_stream(task="[[offline: slow chunks 20ms]] Hi")
    if how != "never begun":
        for _ in range(3):
            assert await anext(stream)
    if how == "closed":
        await stream.aclose()
    del stream
    for _ in range(10):
        gc.collect()
        await asyncio.sleep(0.01)
    told = "" if how == "never begun" else "invoke_agent support INTERNAL\n  chat gpt-4o-mini CLIENT"
    assert tree(spans()) == told
    assert not [span for span in spans() if said(span, A.ERROR_TYPE)]


@pytest.mark.usefixtures("both")
async def test_a_runtime_with_a_provider_of_the_user_keeps_its_own_traces(
    provider: OfflineProvider, spans: Spans
) -> None:
    from opentelemetry import trace

    runtime = core.SingleThreadedAgentRuntime(tracer_provider=trace.get_tracer_provider())
    runtime.start()
    await answer(office(provider, runtime=runtime), "Hi")
    await runtime.stop_when_idle()
    assert [span.name for span in spans() if span.name.startswith("autogen ")]
    held_against_bill([span for span in spans() if not span.name.startswith("autogen ")], provider)
