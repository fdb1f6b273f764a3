"""dspy: programs, their modules, agents, tools and retrievers as a tree, and every model call once."""
# ruff: noqa: E402
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import asyncio
import gc
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest

os.environ["DSPY_CACHEDIR"] = tempfile.mkdtemp()
os.environ |= {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_TELEMETRY": "False"}
dspy: Any = pytest.importorskip("dspy", reason="dspy has an environment of its own")

from examples.offline_provider import OfflineProvider
from otel_llm.frameworks import DSPyInstrumentor
from otel_llm_semconv import attributes as A
from tests.conftest import Spans
from tests.frameworks.conftest import Tell, model_calls, said, tree

pytestmark = pytest.mark.asyncio(loop_scope="session")

FIELDS: dict[str, Any] = {
    "next_thought": "Look.",
    "next_tool_name": "weather",
    "next_tool_args": {"city": "Oslo"},
    "reasoning": "So it is.",
    "answer": "Rain.",
    "plan": "A walk.",
}
TURN = """\
chat gpt-4o-mini CLIENT
execute_tool weather INTERNAL"""
AGENT = f"{TURN}\n{TURN}\nchat gpt-4o-mini CLIENT"

GUIDE = """\
ask INTERNAL
  invoke_workflow Guide INTERNAL
    retrieval CLIENT
    planner INTERNAL
      draft INTERNAL
        chat gpt-4o-mini CLIENT
    think INTERNAL
      chat gpt-4o-mini CLIENT
    invoke_agent helper INTERNAL
      chat gpt-4o-mini CLIENT
      execute_tool weather INTERNAL
      chat gpt-4o-mini CLIENT"""


@pytest.fixture
def traced(instrumented: None, no_fault: None) -> Iterator[None]:
    """The SDKs and dspy are instrumented during the test."""
    DSPyInstrumentor().instrument()
    yield
    DSPyInstrumentor().uninstrument()


def beneath(names: str, lines: str) -> str:
    """The lines, deeper in the tree: beneath these."""
    above = names.split(" > ")
    told = [f"{'  ' * depth}{name} INTERNAL" for depth, name in enumerate(above)]
    return "\n".join([*told, *(f"{'  ' * len(above)}{line}" for line in lines.splitlines())])


def asked(script: str = "", **fields: Any) -> str:
    """A question that is answered by all fields that anybody asks for."""
    return f"[[offline: {script}say {json.dumps(FIELDS | fields)}]] Well?"


ENGINES = ["auto", "litellm"] if hasattr(dspy, "lm15") else [None]
"""Newer versions send most calls themselves."""


@pytest.fixture(params=ENGINES)
def model(request: pytest.FixtureRequest, provider: OfflineProvider) -> Iterator[Any]:
    """The model at the provider."""
    options: dict[str, Any] = {"api_base": provider.openai_url, "api_key": "any", "cache": False}
    if request.param is not None:
        options["engine"] = request.param
    lm = dspy.LM("openai/gpt-4o-mini", **options)
    with dspy.context(lm=lm, adapter=dspy.JSONAdapter()):
        yield lm


def weather(city: str) -> str:
    """The weather in a city."""
    return f"Rain in {city}."


def broken(city: str) -> str:
    """Fails."""
    raise LookupError(city)


class Support(dspy.Signature):
    """Answer."""

    question: str = dspy.InputField()
    answer: str = dspy.OutputField()


async def answer(program: Any) -> str:
    """What it says in the end."""
    return (await program.acall(question=asked())).answer


async def test_an_agent(tell: Tell, model: Any, spans: Spans) -> None:
    agent = dspy.ReAct(Support, tools=[weather], max_iters=2)
    assert await tell(lambda: agent(question=asked()).answer) == beneath("ask > invoke_agent Support", AGENT)
    assert [said(call, A.GEN_AI_AGENT_NAME) for call in model_calls(spans())] == ["Support"] * 3
    assert await tell(lambda: answer(agent)) == beneath("ask > invoke_agent Support", AGENT)


class Retriever:
    """Finds."""

    k = 2

    def __call__(self, query: str, k: int = 1) -> list[Any]:
        return [dspy.Example(long_text=f"About {query}.") for _ in range(k)]


class Guide(dspy.Module):
    """Reads, asks twice at once, and asks an agent."""

    def __init__(self) -> None:
        super().__init__()
        self.search = dspy.Retrieve(k=2)
        self.think = dspy.ChainOfThought("question, context -> answer")
        self.planner = Planner()
        self.helper = dspy.ReAct("question -> answer", tools=[weather], max_iters=1)

    def forward(self, question: str) -> Any:
        context = self.search("Tea").passages
        # By name, as the tree has what overlaps: on a busy machine the one may end before the other begins.
        thoughts = [(self.planner, {"question": question}), (self.think, {"question": question, "context": context})]
        dspy.Parallel(num_threads=2, disable_progress_bar=True)(thoughts)
        return self.helper(question=question)

    async def aforward(self, question: str) -> Any:
        context = self.search("Tea").passages
        await asyncio.gather(
            self.planner.acall(question=question), self.think.acall(question=question, context=context)
        )
        return await self.helper.acall(question=question)


class Planner(dspy.Module):
    """Plans."""

    def __init__(self) -> None:
        super().__init__()
        self.draft = dspy.Predict("question -> plan")

    def forward(self, question: str) -> Any:
        return self.draft(question=question)

    async def aforward(self, question: str) -> Any:
        return await self.draft.acall(question=question)


async def test_a_program(tell: Tell, model: Any) -> None:
    with dspy.context(rm=Retriever()):
        assert await tell(lambda: Guide()(question=asked()).answer) == GUIDE
        assert await tell(lambda: answer(Guide())) == GUIDE


async def test_what_has_no_name_is_no_step(tell: Tell, model: Any) -> None:
    alone = dspy.ChainOfThought("question -> answer")
    assert await tell(lambda: alone(question=asked()).answer) == "ask INTERNAL\n  chat gpt-4o-mini CLIENT"
    agent = dspy.ReAct("question -> answer", tools=[weather], max_iters=1)
    once = beneath("ask > invoke_agent", f"{TURN}\nchat gpt-4o-mini CLIENT")
    assert await tell(lambda: agent(question=asked()).answer) == once


async def test_an_agent_that_finishes(tell: Tell, model: Any) -> None:
    agent = dspy.ReAct(Support, tools=[weather], max_iters=3)
    script = asked(next_tool_name="finish", next_tool_args={})
    calls = "chat gpt-4o-mini CLIENT\nchat gpt-4o-mini CLIENT"
    assert await tell(lambda: agent(question=script).answer) == beneath("ask > invoke_agent Support", calls)


@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
async def test_a_stream(tell: Tell, model: Any, asynchronous: bool) -> None:
    async def streamed() -> list[str]:
        agent = dspy.streamify(dspy.ReAct(Support, tools=[weather], max_iters=2), is_async_program=asynchronous)
        return [type(chunk).__name__ async for chunk in agent(question=asked())]

    assert await tell(streamed) == beneath("ask > invoke_agent Support", AGENT)


@pytest.mark.usefixtures("traced")
async def test_a_stream_that_is_left(model: Any, spans: Spans) -> None:
    program, begun = dspy.streamify(dspy.ReAct(Support, tools=[weather]), is_async_program=True), asyncio.Event()

    async def reading() -> None:
        async for _ in program(question=asked("chunks 20; slow chunks 20ms; ")):
            begun.set()

    reader = asyncio.create_task(reading())
    await asyncio.wait_for(begun.wait(), 60)
    reader.cancel()
    with suppress(asyncio.CancelledError):
        await reader
    for _ in range(100):
        gc.collect()
        await asyncio.sleep(0.01)
        if model_calls(spans()):
            break
    (call,) = model_calls(spans())
    assert said(call, A.OTEL_LLM_STREAM_OUTCOME) in ("aborted", "abandoned")
    assert tree(spans()) == "invoke_agent Support INTERNAL\n  chat gpt-4o-mini CLIENT"
    assert all(span.status.is_ok for span in spans())


async def test_a_tool_that_fails(tell: Tell, model: Any, spans: Spans) -> None:
    agent = dspy.ReAct(Support, tools=[broken], max_iters=1)
    await tell(lambda: agent(question=asked(next_tool_name="broken")).answer)
    failed = {span.name: said(span, A.ERROR_TYPE) for span in spans() if not span.status.is_ok}
    assert failed == {"execute_tool broken": "LookupError"}


@pytest.mark.usefixtures("traced")
async def test_a_model_that_fails(model: Any, provider: OfflineProvider, spans: Spans) -> None:
    with pytest.raises(Exception, match="scripted failure"), dspy.context(lm=model.copy(num_retries=0)):
        await dspy.ReAct(Support, tools=[weather]).acall(question=asked("400; "))
    assert {span.name for span in spans() if not span.status.is_ok} == {"invoke_agent Support", "chat gpt-4o-mini"}
    assert not provider.bill
    assert {said(call, A.OTEL_LLM_COST_STATUS) for call in model_calls(spans())} == {"free"}


@pytest.mark.usefixtures("traced")
async def test_a_call_that_is_tried_again(model: Any, provider: OfflineProvider, spans: Spans) -> None:
    if getattr(model, "engine", None) == "litellm":
        pytest.skip("dspy does not try again then")
    program = dspy.ReAct(Support, tools=[weather], max_iters=1)
    assert program(question=asked("429 once; ")).answer == "Rain."
    calls = model_calls(spans())
    assert sum(said(call, A.OTEL_LLM_ATTEMPTS) for call in calls) == len(provider.requests) == 4
    priced = [said(call, A.OTEL_LLM_COST_NANO_USD) for call in calls if said(call, A.OTEL_LLM_COST_STATUS) == "priced"]
    assert sorted(priced) == sorted(entry.cost_nano or 0 for entry in provider.bill)
