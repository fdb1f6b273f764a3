"""smolagents: its agents, plans, steps and tools as a tree, and every model call once."""
# ruff: noqa: E402

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, cast

import pytest

smolagents: Any = pytest.importorskip("smolagents", reason="smolagents has an environment of its own")

from opentelemetry import trace

from examples.offline_provider import OfflineProvider
from otel_llm.frameworks import SmolagentsInstrumentor
from otel_llm_semconv import attributes as A
from tests.conftest import Spans
from tests.frameworks.conftest import Tell, id_of, model_calls, said, tree

PLAN = (
    'turns: tool weather {"city": "Oslo"} + tool clock {"city": "Oslo"} | tool weather {"city": "Bergen"}'
    ' | tool final_answer {"answer": "Rain."}'
)
AGENT = """\
ask INTERNAL
  invoke_agent support INTERNAL
    step INTERNAL
      chat gpt-4o-mini CLIENT
      execute_tool clock INTERNAL
      execute_tool weather INTERNAL
    step INTERNAL
      chat gpt-4o-mini CLIENT
      execute_tool weather INTERNAL
    step INTERNAL
      chat gpt-4o-mini CLIENT
      execute_tool final_answer INTERNAL"""
TEAM = """\
ask INTERNAL
  invoke_agent manager INTERNAL
    step INTERNAL
      chat gpt-4o-mini CLIENT
      invoke_agent support INTERNAL
        step INTERNAL
          chat gpt-4o-mini CLIENT
          execute_tool clock INTERNAL
        step INTERNAL
          chat gpt-4o-mini CLIENT
          execute_tool final_answer INTERNAL
    step INTERNAL
      chat gpt-4o-mini CLIENT
      execute_tool final_answer INTERNAL"""
CODER = """\
ask INTERNAL
  invoke_agent coder INTERNAL
    plan coder INTERNAL
      chat gpt-4o-mini CLIENT
    step INTERNAL
      chat gpt-4o-mini CLIENT
      execute_tool python_interpreter INTERNAL
        execute_tool clock INTERNAL
        execute_tool final_answer INTERNAL
        execute_tool weather INTERNAL"""


@smolagents.tool
def weather(city: str) -> str:
    """The weather in a city.

    Args:
        city: Where.
    """
    return f"Rain in {city}."


@smolagents.tool
def clock(city: str) -> str:
    """The time in a city.

    Args:
        city: Where.
    """
    return f"Noon in {city}."


@smolagents.tool
def broken(city: str) -> str:
    """Fails.

    Args:
        city: Where.
    """
    raise ValueError(city)


def agent(provider: OfflineProvider, *tools: Any, kind: str = "ToolCallingAgent", **settings: Any) -> Any:
    """An agent with tools, that says nothing on the console."""
    model = smolagents.OpenAIServerModel(
        "gpt-4o-mini", provider.openai_url, api_key="any", client_kwargs={"max_retries": 2}
    )
    options: dict[str, Any] = {"name": "support", "description": "Helps.", "verbosity_level": 0, "max_steps": 5}
    return getattr(smolagents, kind)(tools=list(tools), model=model, **options | settings)


def asked(script: str) -> str:
    """A question that the provider answers by `script`."""
    return f"[[offline: {script}]] Well?"


def streamed(made: Any, task: str) -> list[Any]:
    """What comes out of a stream, but for times and ids."""
    return [
        (type(part).__name__, getattr(part, "output", getattr(part, "content", None)))
        for part in made.run(task, stream=True)
        if type(part).__name__ not in ("ToolOutput", "ToolCall")  # in the order in which tools are done
    ]


WAYS: dict[str, Callable[[Any, str], Any]] = {
    "run": lambda made, task: made.run(task),
    "stream": streamed,
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("stream_outputs", [False, True], ids=["whole", "tokens"])
async def test_an_agent(tell: Tell, provider: OfflineProvider, way: str, stream_outputs: bool) -> None:
    made = agent(provider, weather, clock, stream_outputs=stream_outputs)
    assert await tell(lambda: WAYS[way](made, asked(PLAN))) == AGENT


async def test_a_retry_is_an_attempt(tell: Tell, provider: OfflineProvider, spans: Spans) -> None:
    made = agent(provider, weather, clock)
    assert await tell(lambda: made.run(asked(f"429 once; {PLAN}"))) == AGENT
    found = spans()
    assert [said(call, A.OTEL_LLM_ATTEMPTS) for call in model_calls(found)] == [2, 2, 2]
    inside = [span for span in found if span.parent is not None]
    named = [span for span in inside if span.name != "step"]
    assert {said(span, A.GEN_AI_AGENT_NAME) for span in named} == {"support"}


async def test_agents_of_an_agent(tell: Tell, provider: OfflineProvider, spans: Spans) -> None:
    end = 'tool final_answer {"answer": "Noon."}'
    clerk = asked(f'turns: tool clock {{"city": "Oslo"}} | {end}')
    task = asked(f'turns: tool support {{"task": "time", "additional_args": {{}}}} | {end}')

    def team() -> Any:
        helper = agent(provider, clock)
        helper.prompt_templates["managed_agent"]["task"] = clerk  # what it is asked, whatever it is asked
        manager = agent(provider, name="manager", managed_agents=[helper])
        return manager.run(task)

    assert await tell(team) == TEAM
    names = [said(call, A.GEN_AI_AGENT_NAME) for call in model_calls(spans())]
    assert names == ["manager", "support", "support", "manager"]


@pytest.mark.parametrize("way", WAYS)
async def test_an_agent_that_plans_and_writes_code(tell: Tell, provider: OfflineProvider, way: str) -> None:
    code = "<code>\nfinal_answer(weather('Oslo') + clock('Oslo'))\n</code>"
    made = agent(provider, weather, clock, kind="CodeAgent", name="coder", planning_interval=3)
    assert await tell(lambda: WAYS[way](made, asked(f"say {code}"))) == CODER


async def test_a_tool_that_fails(tell: Tell, provider: OfflineProvider, spans: Spans) -> None:
    made = agent(provider, broken, name=None)
    script = 'turns: tool broken {"city": "Oslo"} | tool final_answer {"answer": "No."}'
    told = await tell(lambda: made.run(asked(script)))
    assert told.splitlines()[1] == "  invoke_agent INTERNAL", "a class is no name"
    failed = [span for span in spans() if said(span, A.GEN_AI_TOOL_NAME) == "broken"]
    assert {said(span, A.ERROR_TYPE) for span in failed} == {"ValueError"}


@pytest.fixture
def both(instrumented: None, no_fault: None) -> Iterator[None]:
    """smolagents is instrumented, and the SDKs are."""
    SmolagentsInstrumentor().instrument()
    yield
    SmolagentsInstrumentor().uninstrument()


@pytest.mark.usefixtures("both")
def test_a_model_that_fails(provider: OfflineProvider, spans: Spans) -> None:
    with pytest.raises(smolagents.AgentError):
        agent(provider).run(asked("400"))
    found = spans()
    assert tree(found) == "invoke_agent support INTERNAL\n  step INTERNAL\n    chat gpt-4o-mini CLIENT"
    errors = [said(span, A.ERROR_TYPE) for span in found]
    assert errors == ["openai.BadRequestError", *["smolagents.utils.AgentGenerationError"] * 2]


@pytest.mark.usefixtures("both")
def test_a_stream_that_is_left(provider: OfflineProvider, spans: Spans) -> None:
    stream = agent(provider, stream_outputs=True).run(asked("slow chunks 20ms; say one two three"), stream=True)
    next(stream)
    assert trace.get_current_span() is trace.INVALID_SPAN, "nothing is current between the parts"
    with suppress(RuntimeError):  # smolagents yields on, closed or not
        stream.close()
    del stream
    gc.collect()
    found = spans()
    assert tree(found) == "invoke_agent support INTERNAL\n  step INTERNAL\n    chat gpt-4o-mini CLIENT"
    (call,) = model_calls(found)
    assert said(call, A.OTEL_LLM_STREAM_OUTCOME) in ("aborted", "abandoned")


async def test_threads_of_a_user_stay_apart(tell: Tell, provider: OfflineProvider, spans: Spans) -> None:
    def both() -> list[Any]:
        def run(name: str) -> Any:
            return agent(provider, weather, clock, name=name).run(asked(PLAN))

        with ThreadPoolExecutor() as pool:
            return list(pool.map(run, ("one", "two")))

    told = await tell(both)
    one, two = (AGENT.replace("support", name).partition("\n")[2] for name in ("one", "two"))
    assert told == f"ask INTERNAL\n{one}\n{two}"
    found = {id_of(span): span for span in spans()}
    for call in model_calls(list(found.values())):
        step = found[cast("Any", call.parent).span_id]
        owner = found[cast("Any", step.parent).span_id]
        assert said(call, A.GEN_AI_AGENT_NAME) == said(owner, A.GEN_AI_AGENT_NAME)
