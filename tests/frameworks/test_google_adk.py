"""google-adk: its own spans as a tree without content or money, and every model call once."""
# ruff: noqa: E402

from __future__ import annotations

import asyncio
import importlib
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing
from typing import Any, cast

import pytest

agents: Any = pytest.importorskip("google.adk.agents", reason="google-adk has an environment of its own")

from opentelemetry import trace

from examples.offline_provider import OfflineProvider
from otel_llm import content
from otel_llm.frameworks import GoogleADKInstrumentor
from otel_llm_semconv import attributes as A
from tests.conftest import Spans
from tests.frameworks.conftest import Tell, model_calls, said, tree

configs: Any = importlib.import_module("google.adk.agents.run_config")
models: Any = importlib.import_module("google.adk.models")
runners: Any = importlib.import_module("google.adk.runners")
agent_tool: Any = importlib.import_module("google.adk.tools.agent_tool")
tracing: Any = importlib.import_module("google.adk.telemetry.tracing")
types: Any = importlib.import_module("google.genai.types")
OLD = not hasattr(tracing, "_start_call_llm_span")

PLAN = (
    'turns: tool weather {"city": "Oslo"} + tool clock {"city": "Oslo"} | tool weather {"city": "Bergen"} | say Done.'
)
RUN = "invocation" if OLD else "invoke_workflow support"
AGENT = f"""\
ask INTERNAL
  {RUN} INTERNAL
    invoke_agent support INTERNAL
      generate_content gemini-2.5-flash CLIENT
      execute_tool clock INTERNAL
      execute_tool weather INTERNAL
      generate_content gemini-2.5-flash CLIENT
      execute_tool weather INTERNAL
      generate_content gemini-2.5-flash CLIENT"""
TRIP = f"""\
ask INTERNAL
  {RUN.replace("support", "trip")} INTERNAL
    invoke_agent trip INTERNAL
      invoke_agent plan INTERNAL
        generate_content gemini-2.5-flash CLIENT
      invoke_agent search INTERNAL
        invoke_agent flights INTERNAL
          generate_content gemini-2.5-flash CLIENT
        invoke_agent hotels INTERNAL
          generate_content gemini-2.5-flash CLIENT
          execute_tool clock INTERNAL
          generate_content gemini-2.5-flash CLIENT
      invoke_agent twice INTERNAL
        invoke_agent check INTERNAL
          generate_content gemini-2.5-flash CLIENT
        invoke_agent check INTERNAL
          generate_content gemini-2.5-flash CLIENT"""
DESK = f"""\
ask INTERNAL
  {RUN.replace("support", "desk")} INTERNAL
    invoke_agent desk INTERNAL
      generate_content gemini-2.5-flash CLIENT
      execute_tool helper INTERNAL
        {RUN.replace("support", "helper")} INTERNAL
          invoke_agent helper INTERNAL
            generate_content gemini-2.5-flash CLIENT
      generate_content gemini-2.5-flash CLIENT"""


def weather(city: str) -> str:
    """The weather in a city."""
    return f"Rain in {city}."


def clock(city: str) -> str:
    """The time in a city."""
    return f"Noon in {city}."


def broken(city: str) -> str:
    """Fails."""
    raise ValueError(city)


@pytest.fixture(autouse=True)
def at_provider(provider: OfflineProvider, monkeypatch: pytest.MonkeyPatch) -> None:
    """Gemini is there."""
    monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", provider.url)
    monkeypatch.setenv("GOOGLE_API_KEY", "any")


@pytest.fixture
def adk_only(no_fault: None) -> Iterator[None]:
    """google-adk is instrumented, and no SDK is."""
    GoogleADKInstrumentor().instrument()
    yield
    GoogleADKInstrumentor().uninstrument()


@pytest.fixture
def both(instrumented: None, adk_only: None) -> None:
    """google-adk is instrumented, and the SDKs are."""


def support(*tools: Any, **settings: Any) -> Any:
    """An agent with tools."""
    retries = types.HttpRetryOptions(initial_delay=0.01, attempts=2)
    model = models.Gemini(model="gemini-2.5-flash", retry_options=retries)
    options: dict[str, Any] = {"name": "support", "model": model, "instruction": "Help.", "tools": list(tools)}
    return agents.LlmAgent(**options | settings)


def plain(event: Any) -> Any:
    """What a program sees of an event, without ids and times."""
    parts = (event.content and event.content.parts) or ()
    told = [part.function_call or part.function_response or part.text for part in parts]
    return event.author, event.partial, [getattr(part, "args", getattr(part, "response", part)) for part in told]


class Chat:
    """A conversation with an agent."""

    def __init__(self, agent: Any, script: str, *, stream: bool = False) -> None:
        self.runner: Any = runners.InMemoryRunner(agent=agent, app_name="app")
        mode = configs.StreamingMode.SSE if stream else configs.StreamingMode.NONE
        self.asked: dict[str, Any] = {
            "user_id": "theirs",
            "new_message": types.Content(role="user", parts=[types.Part(text=f"[[offline: {script}]] Secret?")]),
            "run_config": configs.RunConfig(streaming_mode=mode),
        }

    async def events(self) -> AsyncGenerator[Any]:
        """As they come."""
        session = await self.runner.session_service.create_session(app_name="app", user_id="theirs")
        async with aclosing(self.runner.run_async(session_id=session.id, **self.asked)) as events:
            async for event in events:
                yield event

    async def run(self) -> list[Any]:
        """All of it."""
        return sorted([plain(event) async for event in self.events()], key=repr)

    def run_in_thread(self) -> list[Any]:
        """All of it, by the runner that has a loop of its own."""
        session = self.runner.session_service.create_session_sync(app_name="app", user_id="theirs")
        return sorted([plain(event) for event in self.runner.run(session_id=session.id, **self.asked)], key=repr)


WAYS: dict[str, Callable[[Any, str], Any]] = {
    "async": lambda agent, script: Chat(agent, script).run(),
    "streamed": lambda agent, script: Chat(agent, script, stream=True).run(),
    "sync": lambda agent, script: Chat(agent, script).run_in_thread(),
}


@pytest.mark.parametrize("way", WAYS)
async def test_an_agent(tell: Tell, way: str) -> None:
    assert await tell(lambda: WAYS[way](support(weather, clock), PLAN)) == AGENT


async def test_agents_have_their_names_and_nothing_leaves(tell: Tell, spans: Spans) -> None:
    assert await tell(lambda: Chat(support(weather, clock), f"503 once; {PLAN}").run()) == AGENT
    found = spans()
    assert [said(call, A.OTEL_LLM_ATTEMPTS) for call in model_calls(found)] == [2, 2, 2]
    inner = [span for span in found if said(span, A.GEN_AI_OPERATION_NAME) not in (None, "invoke_workflow")]
    assert len(inner) == 7
    assert {said(span, A.GEN_AI_AGENT_NAME) for span in inner} == {"support"}
    words = [word for span in found for word in (span.to_json(), *span.events) if "Oslo" in str(word)]
    assert not words
    root = next(span for span in found if span.parent is None)
    assert said(root, A.OTEL_LLM_INTERACTION_TOOL_CALLS) == 3


async def test_a_workflow_of_agents(tell: Tell, spans: Spans) -> None:
    def trip() -> Any:
        search = agents.ParallelAgent(
            name="search", sub_agents=[support(name="flights"), support(clock, name="hotels")]
        )
        twice = agents.LoopAgent(name="twice", sub_agents=[support(name="check")], max_iterations=2)
        return agents.SequentialAgent(name="trip", sub_agents=[support(name="plan"), search, twice])

    assert await tell(lambda: Chat(trip(), 'tool clock {"city": "Oslo"}').run()) == TRIP
    names = sorted(said(call, A.GEN_AI_AGENT_NAME) for call in model_calls(spans()))
    assert names == ["check", "check", "flights", "hotels", "hotels", "plan"]


async def test_an_agent_as_a_tool(tell: Tell, spans: Spans) -> None:
    helper = support(name="helper", description="Helps.")
    desk = support(agent_tool.AgentTool(helper), name="desk")
    script = 'turns: tool helper {"request": "Help!"} | say Done.'
    assert await tell(lambda: Chat(desk, script).run()) == DESK
    assert [said(call, A.GEN_AI_AGENT_NAME) for call in model_calls(spans())] == ["desk", "helper", "desk"]


async def test_an_agent_hands_over(tell: Tell, spans: Spans) -> None:
    def desk() -> Any:
        return support(
            name="desk", sub_agents=[support(name="helper", description="Helps.", disallow_transfer_to_parent=True)]
        )

    script = 'turns: tool transfer_to_agent {"agent_name": "helper"} | say Done.'
    told = await tell(lambda: Chat(desk(), script).run())
    assert "execute_tool transfer_to_agent" in told
    assert [said(call, A.GEN_AI_AGENT_NAME) for call in model_calls(spans())] == ["desk", "helper"]


async def test_a_tool_that_fails(tell: Tell, spans: Spans) -> None:
    async def run() -> str:
        with pytest.raises(ValueError, match="Oslo") as error:
            await Chat(support(broken), 'tool broken {"city": "Oslo"}').run()
        return str(error.value)

    await tell(run)
    (tool,) = [span for span in spans() if said(span, A.GEN_AI_TOOL_NAME) == "broken"]
    assert not tool.status.is_ok


@pytest.mark.usefixtures("both")
async def test_a_stream_that_is_left(spans: Spans) -> None:
    events = Chat(
        support(), "chunks 40; slow chunks 50ms; say one two three four five six seven eight", stream=True
    ).events()
    assert (await anext(events)).partial
    assert trace.get_current_span() is trace.INVALID_SPAN or OLD, "nothing is current between the events"
    await events.aclose()
    del events
    found = spans()
    (call,) = model_calls(found)
    assert said(call, A.OTEL_LLM_STREAM_OUTCOME) in ("aborted", "abandoned")
    assert {span.name for span in found} >= {"invoke_agent support"} or OLD


class InHouse(models.BaseLlm):  # pyright: ignore[reportUntypedBaseClass]
    """A model that no SDK of ours asks."""

    async def generate_content_async(self, llm_request: Any, stream: bool = False) -> AsyncGenerator[Any]:
        """It says water."""
        used = types.GenerateContentResponseUsageMetadata(prompt_token_count=1000, candidates_token_count=50)
        words = types.Content(role="model", parts=[types.Part(text="water")])
        yield models.LlmResponse(content=words, usage_metadata=used)


@pytest.mark.usefixtures("both")
async def test_a_call_that_nobody_else_tells_of_is_a_span(spans: Spans) -> None:
    await Chat(support(model=InHouse(model="gemini-2.5-flash")), "").run()
    (call,) = [span for span in spans() if said(span, A.GEN_AI_USAGE_INPUT_TOKENS) is not None]
    assert (said(call, A.GEN_AI_USAGE_INPUT_TOKENS), said(call, A.GEN_AI_USAGE_OUTPUT_TOKENS)) == (1000, 50)
    assert said(call, A.OTEL_LLM_LAYER) == "foreign"
    root = next(span for span in spans() if span.parent is None)
    assert said(root, A.OTEL_LLM_INTERACTION_CALLS) == 1


@pytest.mark.usefixtures("adk_only")
async def test_without_the_sdk_its_own_spans_count(provider: OfflineProvider, spans: Spans) -> None:
    await Chat(support(weather, clock), PLAN).run()
    counted = [span for span in spans() if said(span, A.OTEL_LLM_LAYER) == "foreign"]
    assert sum(said(call, A.GEN_AI_USAGE_INPUT_TOKENS) for call in counted) == sum(
        entry.usage.input_tokens for entry in provider.bill
    )
    assert len(counted) == len(provider.bill) == 3


@pytest.mark.usefixtures("both")
async def test_content_is_told_where_that_is_asked_for(spans: Spans, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", "SPAN_ONLY")
    content.modes.cache_clear()
    try:
        await Chat(support(weather), 'tool weather {"city": "Oslo"}').run()
    finally:
        content.modes.cache_clear()
    (tool,) = [span for span in spans() if span.name == "execute_tool weather"]
    assert "Oslo" in tool.to_json()


async def test_it_is_left_as_it_was(provider: OfflineProvider, spans: Spans) -> None:
    tracer = tracing.tracer
    GoogleADKInstrumentor().instrument()
    GoogleADKInstrumentor().uninstrument()
    assert not {"start_span", "start_as_current_span"} & set(cast("dict[str, Any]", vars(tracer)))
    await Chat(support(), "say Done.").run()
    assert "generate_content" in tree(spans()) or OLD
    provider.settle()


async def test_the_bill_of_many_at_once(tell: Tell) -> None:
    async def many() -> Any:
        made = [support(weather, clock, name=f"agent_{number}") for number in range(5)]
        runs: list[Any] = [Chat(agent, PLAN).run() for agent in made]
        return await asyncio.gather(*runs)

    told = await tell(many)
    assert told.count("generate_content") == 15
