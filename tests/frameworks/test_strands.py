"""strands-agents: its own spans as a tree without content or money, and every model call once."""
# ruff: noqa: E402

from __future__ import annotations

import asyncio
import gc
import importlib
import logging
from collections.abc import AsyncGenerator, Callable, Iterator
from typing import Any

import pytest

strands: Any = pytest.importorskip("strands", reason="strands-agents has an environment of its own")

from opentelemetry import trace

from examples.offline_provider import OfflineProvider
from otel_llm import content
from otel_llm.frameworks import StrandsInstrumentor
from otel_llm_semconv import attributes as A
from tests.conftest import Spans
from tests.frameworks.conftest import Tell, model_calls, said, tree

multiagent: Any = importlib.import_module("strands.multiagent")
models: Any = importlib.import_module("strands.models")
openai: Any = importlib.import_module("strands.models.openai")
anthropic: Any = importlib.import_module("strands.models.anthropic")
tracing: Any = importlib.import_module("strands.telemetry.tracer")

PLAN = (
    'turns: tool weather {"city": "Oslo"} + tool clock {"city": "Oslo"} | tool weather {"city": "Bergen"} | say Done.'
)
AGENT = """\
ask INTERNAL
  invoke_agent support INTERNAL
    execute_event_loop_cycle INTERNAL
      chat MODEL CLIENT
      execute_tool clock INTERNAL
      execute_tool weather INTERNAL
    execute_event_loop_cycle INTERNAL
      chat MODEL CLIENT
      execute_tool weather INTERNAL
    execute_event_loop_cycle INTERNAL
      chat MODEL CLIENT"""
GRAPH = """\
ask INTERNAL
  invoke_graph INTERNAL
    invoke_agent flights INTERNAL
      execute_event_loop_cycle INTERNAL
        chat gpt-4o-mini CLIENT
    invoke_agent hotels INTERNAL
      execute_event_loop_cycle INTERNAL
        chat gpt-4o-mini CLIENT
        execute_tool clock INTERNAL
      execute_event_loop_cycle INTERNAL
        chat gpt-4o-mini CLIENT
    invoke_agent plan INTERNAL
      execute_event_loop_cycle INTERNAL
        chat gpt-4o-mini CLIENT"""
DESK = """\
ask INTERNAL
  invoke_agent desk INTERNAL
    execute_event_loop_cycle INTERNAL
      chat gpt-4o-mini CLIENT
      execute_tool helper INTERNAL
        look up INTERNAL
          invoke_agent support INTERNAL
            execute_event_loop_cycle INTERNAL
              chat gpt-4o-mini CLIENT
    execute_event_loop_cycle INTERNAL
      chat gpt-4o-mini CLIENT"""


@strands.tool
def weather(city: str) -> str:
    """The weather in a city."""
    return f"Rain in {city}."


@strands.tool
def clock(city: str) -> str:
    """The time in a city."""
    return f"Noon in {city}."


@strands.tool
def broken(city: str) -> str:
    """Fails."""
    raise ValueError(city)


def gpt(provider: OfflineProvider) -> Any:
    """OpenAI's model at the provider."""
    client = {"base_url": provider.openai_url, "api_key": "any"}
    return openai.OpenAIModel(client_args=client, model_id="gpt-4o-mini")


def claude(provider: OfflineProvider) -> Any:
    """Anthropic's model at the provider."""
    client = {"base_url": provider.url, "api_key": "any"}
    return anthropic.AnthropicModel(client_args=client, model_id="claude-haiku-4-5", max_tokens=500)


MODELS: dict[str, Callable[[OfflineProvider], Any]] = {"gpt-4o-mini": gpt, "claude-haiku-4-5": claude}


def support(model: Any, *tools: Any, **settings: Any) -> Any:
    """An agent with tools, that prints nothing."""
    return strands.Agent(model=model, tools=list(tools), **{"name": "support", "callback_handler": None} | settings)


def asked(script: str) -> str:
    """A question that the provider answers by `script`."""
    return f"[[offline: {script}]] Secret?"


def in_one(agent: Any, task: str) -> str:
    """The whole answer."""
    return str(agent(task))


async def asynchronously(agent: Any, task: str) -> str:
    """The whole answer."""
    return str(await agent.invoke_async(task))


async def streamed(agent: Any, task: str) -> list[Any]:
    """The answer as it comes."""
    return [event["data"] async for event in agent.stream_async(task) if "data" in event]


WAYS: dict[str, Callable[[Any, str], Any]] = {"sync": in_one, "async": asynchronously, "streamed": streamed}


@pytest.fixture
def strands_only(no_fault: None) -> Iterator[None]:
    """strands is instrumented, and no SDK is."""
    StrandsInstrumentor().instrument()
    yield
    StrandsInstrumentor().uninstrument()


@pytest.fixture
def both(instrumented: None, strands_only: None) -> None:
    """strands is instrumented, and the SDKs are."""


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("model", MODELS)
async def test_an_agent(tell: Tell, provider: OfflineProvider, way: str, model: str) -> None:
    def run() -> Any:
        return WAYS[way](support(MODELS[model](provider), weather, clock), asked(PLAN))

    assert await tell(run) == AGENT.replace("MODEL", model)


async def test_agents_have_their_names_and_nothing_leaves(tell: Tell, provider: OfflineProvider, spans: Spans) -> None:
    def run() -> str:
        return in_one(support(gpt(provider), weather, clock, system_prompt="Secretly."), asked(f"429 once; {PLAN}"))

    assert await tell(run) == AGENT.replace("MODEL", "gpt-4o-mini")
    found = spans()
    assert [said(call, A.OTEL_LLM_ATTEMPTS) for call in model_calls(found)] == [2, 2, 2]
    inner = [span for span in found if said(span, A.GEN_AI_OPERATION_NAME) in ("invoke_agent", "execute_tool", "chat")]
    assert len(inner) == 7
    assert {said(span, A.GEN_AI_AGENT_NAME) for span in inner} == {"support"}
    assert not [span.name for span in found if "Oslo" in span.to_json() or "ecret" in span.to_json()]
    root = next(span for span in found if span.parent is None)
    assert said(root, A.OTEL_LLM_INTERACTION_TOOL_CALLS) == 3


async def test_a_graph_of_agents(tell: Tell, provider: OfflineProvider, spans: Spans) -> None:
    def run() -> str:
        graph = multiagent.GraphBuilder()
        for name, tools in (("plan", ()), ("flights", ()), ("hotels", (clock,))):
            graph.add_node(support(gpt(provider), *tools, name=name), name)
        graph.add_edge("plan", "flights")
        graph.add_edge("plan", "hotels")
        graph.set_entry_point("plan")
        return str(graph.build()(asked('tool clock {"city": "Oslo"}')).status)

    assert await tell(run) == GRAPH
    names = sorted(said(call, A.GEN_AI_AGENT_NAME) for call in model_calls(spans()))
    assert names == ["flights", "hotels", "hotels", "plan"]


async def test_a_swarm_hands_over(tell: Tell, provider: OfflineProvider, spans: Spans) -> None:
    def run() -> str:
        agents = [support(gpt(provider), name="one"), support(gpt(provider), name="two")]
        # The second begins the plan anew, and hands over to itself.
        swarm = multiagent.Swarm(agents, max_handoffs=2)
        hand = 'tool handoff_to_agent {"agent_name": "two", "message": "Please."}'
        return str(swarm(asked(f"turns: {hand} | say Done.")).status)

    told = await tell(run)
    assert "invoke_swarm" in told
    assert "execute_tool handoff_to_agent" in told
    assert {said(call, A.GEN_AI_AGENT_NAME) for call in model_calls(spans())} == {"one", "two"}


async def test_an_agent_in_a_tool(tell: Tell, provider: OfflineProvider, spans: Spans) -> None:
    tracer = trace.get_tracer("app")

    @strands.tool
    def helper() -> str:
        """Helps."""
        with tracer.start_as_current_span("look up"):
            return in_one(support(gpt(provider)), asked("say Done."))

    assert await tell(lambda: in_one(support(gpt(provider), helper, name="desk"), asked("tool helper {}"))) == DESK
    assert [said(call, A.GEN_AI_AGENT_NAME) for call in model_calls(spans())] == ["desk", "support", "desk"]


async def test_a_tool_that_fails(tell: Tell, provider: OfflineProvider, spans: Spans) -> None:
    await tell(lambda: in_one(support(gpt(provider), broken), asked('tool broken {"city": "Oslo"}')))
    (tool,) = [span for span in spans() if said(span, A.GEN_AI_TOOL_NAME) == "broken"]
    assert "Oslo" not in str(dict(tool.attributes or {}))


@pytest.mark.usefixtures("both")
async def test_a_stream_that_is_left(provider: OfflineProvider, spans: Spans, monkeypatch: pytest.MonkeyPatch) -> None:
    # strands holds contexts across its yields: the loop closes one generator after the other, each in another context,
    # and whoever keeps what is logged of that keeps the next generator.
    monkeypatch.setattr(logging.getLogger("opentelemetry.context"), "disabled", True)
    task = asked("chunks 40; slow chunks 50ms; say one two three four five six seven eight")
    events: AsyncGenerator[Any] = support(gpt(provider)).stream_async(task)
    while "data" not in await anext(events):
        pass
    await events.aclose()
    del events
    for _ in range(100):
        gc.collect()
        await asyncio.sleep(0.02)
        if model_calls(spans()):
            break
    (call,) = model_calls(spans())
    assert said(call, A.OTEL_LLM_STREAM_OUTCOME) in ("aborted", "abandoned")
    assert said(call, A.GEN_AI_AGENT_NAME) == "support"


class InHouse(models.Model):  # pyright: ignore[reportUntypedBaseClass]
    """A model that no SDK of ours asks."""

    def __init__(self) -> None:
        self.config = {"model_id": "gpt-4o-mini"}

    def update_config(self, **_: Any) -> None:
        """It has none."""

    def get_config(self) -> Any:
        """What it is called."""
        return self.config

    async def structured_output(self, *_: Any, **__: Any) -> AsyncGenerator[Any]:
        """It has no structure."""
        for nothing in ():
            yield nothing

    async def stream(self, *_: Any, **__: Any) -> AsyncGenerator[Any]:
        """It says water."""
        yield {"messageStart": {"role": "assistant"}}
        yield {"contentBlockStart": {"start": {}}}
        yield {"contentBlockDelta": {"delta": {"text": "water"}}}
        yield {"contentBlockStop": {}}
        yield {"messageStop": {"stopReason": "end_turn"}}
        usage = {"inputTokens": 1000, "outputTokens": 50, "totalTokens": 1050}
        yield {"metadata": {"usage": usage, "metrics": {"latencyMs": 1}}}


@pytest.mark.usefixtures("both")
async def test_a_call_that_nobody_else_tells_of_is_a_span(spans: Spans) -> None:
    assert in_one(support(InHouse()), "Well?") == "water\n"
    found = spans()
    assert tree(found).splitlines()[-1].startswith("    chat ")
    (call,) = [span for span in found if said(span, A.GEN_AI_USAGE_INPUT_TOKENS) is not None]
    assert (said(call, A.GEN_AI_USAGE_INPUT_TOKENS), said(call, A.GEN_AI_USAGE_OUTPUT_TOKENS)) == (1000, 50)
    assert said(call, A.OTEL_LLM_LAYER) == "foreign"


@pytest.mark.usefixtures("strands_only")
async def test_without_the_sdk_its_own_spans_count(provider: OfflineProvider, spans: Spans) -> None:
    in_one(support(gpt(provider), weather, clock), asked(PLAN))
    counted = [span for span in spans() if said(span, A.OTEL_LLM_LAYER) == "foreign"]
    assert len(counted) == len(provider.bill) == 3
    assert sum(said(call, A.GEN_AI_USAGE_OUTPUT_TOKENS) for call in counted) == sum(
        entry.usage.output_tokens for entry in provider.bill
    )


@pytest.mark.usefixtures("both")
async def test_content_is_told_where_that_is_asked_for(
    provider: OfflineProvider, spans: Spans, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", "SPAN_ONLY")
    content.modes.cache_clear()
    try:
        in_one(support(gpt(provider), weather), asked('tool weather {"city": "Oslo"}'))
    finally:
        content.modes.cache_clear()
    (tool,) = [span for span in spans() if span.name == "execute_tool weather"]
    assert "Oslo" in tool.to_json()


def test_it_is_left_as_it_was() -> None:
    its_own = tracing.Tracer.__init__
    tracer = tracing.get_tracer().tracer
    StrandsInstrumentor().instrument()
    assert "start_span" in vars(tracer)
    assert "start_span" in vars(tracing.Tracer().tracer)
    StrandsInstrumentor().uninstrument()
    assert "start_span" not in vars(tracer)
    assert tracing.Tracer.__init__ is its_own
