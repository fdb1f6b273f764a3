"""crewai: crews, flows and agents tell what they do, and each model call counts once with the SDK's numbers."""
# ruff: noqa: E402

from __future__ import annotations

import asyncio
import os
import tempfile
import threading
from collections.abc import Callable, Iterator
from typing import Any, cast
from unittest.mock import Mock

import pytest

# Or they call home, and ask questions.
os.environ |= {"CREWAI_DISABLE_TELEMETRY": "true", "CREWAI_TESTING": "true"}
os.environ |= {"ANONYMIZED_TELEMETRY": "False", "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
KEPT = tempfile.TemporaryDirectory()
os.environ["CREWAI_STORAGE_DIR"] = KEPT.name
crewai: Any = pytest.importorskip("crewai", reason="crewai has an environment of its own")

from opentelemetry import trace
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import otel_llm
from examples.offline_provider import OfflineProvider
from otel_llm.frameworks import CrewAIInstrumentor
from otel_llm_semconv import attributes as A
from tests.conftest import Spans
from tests.frameworks.conftest import Tell, held_against_bill, model_calls, said, tree

tool: Any = pytest.importorskip("crewai.tools").tool
flows: Any = pytest.importorskip("crewai.flow.flow")
telemetry: Any = pytest.importorskip("crewai.telemetry.telemetry")
knowledge: Any = pytest.importorskip("crewai.knowledge.source.string_knowledge_source")

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")

PLAN = (
    '429 once; turns: tool weather {"city": "Oslo"} + tool clock {"city": "Oslo"} | tool weather {"city": "Bergen"}'
    " | say Done."
)
DELEGATE = (
    'turns: tool delegate_work_to_coworker {"task": "Look.", "context": "Here.", "coworker": "guide"} | say Done.'
)
AGENT = """\
ask INTERNAL
  invoke_agent guide INTERNAL
    chat gpt-4o-mini CLIENT
    execute_tool clock INTERNAL
    execute_tool weather INTERNAL
    chat gpt-4o-mini CLIENT
    execute_tool weather INTERNAL
    chat gpt-4o-mini CLIENT"""
CREW = """\
ask INTERNAL
  invoke_workflow trip INTERNAL
    plan INTERNAL
      invoke_agent guide INTERNAL
        chat gpt-4o-mini CLIENT
        execute_tool clock INTERNAL
        execute_tool weather INTERNAL
        chat gpt-4o-mini CLIENT
        execute_tool weather INTERNAL
        chat gpt-4o-mini CLIENT"""
TOGETHER = """\
ask INTERNAL
  invoke_workflow INTERNAL
    flights INTERNAL
      invoke_agent {kind} guide INTERNAL
        chat gpt-4o-mini CLIENT
        execute_tool clock INTERNAL
        execute_tool weather INTERNAL
        chat gpt-4o-mini CLIENT
        execute_tool weather INTERNAL
        chat gpt-4o-mini CLIENT
    hotels INTERNAL
      invoke_agent driver INTERNAL
        chat gpt-4o-mini CLIENT
    invoke_agent driver INTERNAL
      chat gpt-4o-mini CLIENT"""
MANAGED = """\
ask INTERNAL
  invoke_workflow trip INTERNAL
    plan INTERNAL
      invoke_agent Crew Manager INTERNAL
        chat gpt-4o-mini CLIENT
        execute_tool Delegate work to coworker INTERNAL
          invoke_agent guide INTERNAL
            chat gpt-4o-mini CLIENT
        chat gpt-4o-mini CLIENT"""
FLOW = """\
ask INTERNAL
  invoke_workflow Trip INTERNAL
    plan INTERNAL
      invoke_workflow trip INTERNAL
        plan INTERNAL
          invoke_agent guide INTERNAL
            chat gpt-4o-mini CLIENT
    flights INTERNAL
      invoke_agent guide INTERNAL
        chat gpt-4o-mini CLIENT
    hotels INTERNAL
      invoke_agent guide INTERNAL
        chat gpt-4o-mini CLIENT
    summary INTERNAL
      chat gpt-4o-mini CLIENT"""
KNOWING = """\
ask INTERNAL
  invoke_workflow trip INTERNAL
    embeddings text-embedding-3-small CLIENT
    plan INTERNAL
      invoke_agent guide INTERNAL
        chat gpt-4o-mini CLIENT
        retrieval guide CLIENT
          embeddings text-embedding-3-small CLIENT
        chat gpt-4o-mini CLIENT"""
FAILED = """\
ask INTERNAL
  invoke_workflow trip INTERNAL
    plan INTERNAL
      invoke_agent guide INTERNAL
        chat gpt-4o-mini CLIENT
        chat gpt-4o-mini CLIENT
        chat gpt-4o-mini CLIENT"""


@tool("weather")
def weather(city: str) -> str:
    """The weather in a city."""
    if city == "Hell":
        raise LookupError(city)
    return f"Rain in {city}."


@tool("clock")
def clock(city: str) -> str:
    """The time in a city."""
    return f"Noon in {city}."


@pytest.fixture
def at_work(no_fault: None, instrumented: None) -> Iterator[None]:
    """The adapter and the SDKs are at work during the test."""
    CrewAIInstrumentor().instrument()
    yield
    CrewAIInstrumentor().uninstrument()


def gpt(provider: OfflineProvider, **settings: Any) -> Any:
    """OpenAI's model at the provider."""
    return crewai.LLM(model="gpt-4o-mini", base_url=provider.openai_url, api_key="any", **settings)


def agent(provider: OfflineProvider, role: str = "guide", **settings: Any) -> Any:
    """An agent with two tools."""
    known = {"goal": "Help.", "backstory": "A guide.", "llm": gpt(provider), "tools": [weather, clock]}
    return crewai.Agent(role=role, **known | settings)


def task(who: Any, name: str | None, script: str = "", **settings: Any) -> Any:
    """A task that goes like this."""
    asked = f"[[offline: {script}]] Why?"
    return crewai.Task(name=name, description=asked, expected_output="An answer.", agent=who, **settings)


def crew(provider: OfflineProvider, script: str = "", llm: Any = None, **settings: Any) -> Any:
    """A crew of one agent with one task."""
    guide = agent(provider, llm=llm or gpt(provider))
    return crewai.Crew(name="trip", agents=[guide], tasks=[task(guide, "plan", script)], **settings)


async def in_thread(function: Callable[[], Any]) -> Any:
    """What it returns where no event loop runs: newer plain functions of crewai refuse to be called in one."""
    return await asyncio.to_thread(function)


async def kickoff(provider: OfflineProvider) -> Any:
    return (await in_thread(crew(provider, PLAN).kickoff)).raw


async def kickoff_async(provider: OfflineProvider) -> Any:
    return (await crew(provider, PLAN).kickoff_async()).raw


async def akickoff(provider: OfflineProvider) -> Any:
    return (await crew(provider, PLAN).akickoff()).raw


async def streamed_calls(provider: OfflineProvider) -> Any:
    return (await in_thread(crew(provider, PLAN, gpt(provider, stream=True)).kickoff)).raw


async def stream(provider: OfflineProvider) -> Any:
    return await in_thread(lambda: [chunk.content for chunk in crew(provider, PLAN, stream=True).kickoff()])


async def astream(provider: OfflineProvider) -> Any:
    return [chunk.content async for chunk in await crew(provider, PLAN, stream=True).akickoff()]


async def left_stream(provider: OfflineProvider) -> Any:
    def first() -> Any:
        chunk = next(iter(crew(provider, PLAN, stream=True).kickoff()))
        for worker in threading.enumerate():
            if worker.name.endswith("(run)"):  # it works on until it is done
                worker.join()
        return chunk.content

    return await in_thread(first)


class TestStories:
    @pytest.mark.parametrize(
        "way",
        [kickoff, kickoff_async, akickoff, streamed_calls, stream, astream, left_stream],
        ids=lambda way: way.__name__,
    )
    async def test_a_crew(
        self, way: Callable[[OfflineProvider], Any], provider: OfflineProvider, tell: Tell, spans: Spans
    ) -> None:
        assert await tell(lambda: way(provider)) == CREW
        calls = model_calls(spans())
        assert {said(span, A.OTEL_LLM_ATTEMPTS) for span in calls} == {2}
        assert {said(span, A.GEN_AI_REQUEST_STREAM) for span in calls} == {True if "stream" in way.__name__ else None}
        inside = [span for span in spans() if span.name.startswith(("chat", "execute_tool"))]
        assert {said(span, A.GEN_AI_AGENT_NAME) for span in inside} == {"guide"}

    @pytest.mark.parametrize("way", ["in a thread", "in a loop", "async"])
    async def test_an_agent_alone(self, way: str, provider: OfflineProvider, tell: Tell) -> None:
        async def program() -> Any:
            ask = agent(provider).kickoff_async if way == "async" else agent(provider).kickoff
            question = f"[[offline: {PLAN}]] Why?"
            return (await (in_thread(lambda: ask(question)) if way == "in a thread" else ask(question))).raw

        assert await tell(program) == AGENT

    @pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
    async def test_tasks_at_once(self, asynchronous: bool, provider: OfflineProvider, tell: Tell) -> None:
        """The role is told as it was written, and what has no name of its own has none."""

        async def program() -> Any:
            guide, driver = agent(provider, "{kind}  guide\n"), agent(provider, "driver", tools=[])
            flights = task(guide, "flights", PLAN, async_execution=True)
            hotels = task(driver, "hotels", async_execution=True)
            last = task(driver, None, context=[flights, hotels])
            all_of_them = crewai.Crew(agents=[guide, driver], tasks=[flights, hotels, last])
            if asynchronous:
                return (await all_of_them.akickoff({"kind": "old"})).raw
            return (await in_thread(lambda: all_of_them.kickoff({"kind": "old"}))).raw

        assert await tell(program) == TOGETHER

    async def test_a_manager_delegates(self, provider: OfflineProvider, tell: Tell) -> None:
        def program() -> Any:
            managed = crewai.Crew(
                name="trip",
                agents=[agent(provider)],
                tasks=[task(None, "plan", DELEGATE)],
                process=crewai.Process.hierarchical,
                manager_llm=gpt(provider),
            )
            return managed.kickoff().raw

        assert await tell(lambda: in_thread(program)) == MANAGED

    @pytest.mark.parametrize("way", ["async", "stream"])
    async def test_a_flow(self, way: str, provider: OfflineProvider, tell: Tell) -> None:
        class Trip(flows.Flow):
            _skip_auto_memory = True  # it would load a vector database

            @flows.start()
            def plan(self) -> Any:
                return crew(provider).kickoff().raw

            @flows.listen(plan)
            async def flights(self) -> Any:
                return (await agent(provider).kickoff_async("Which?")).raw

            @flows.listen(plan)
            def hotels(self) -> Any:
                return agent(provider).kickoff("Where?")

            @flows.listen(flows.and_(flights, hotels))
            def summary(self) -> Any:
                return gpt(provider).call("Sum up.")

        def streamed() -> Any:
            flow = Trip()
            flow.stream = True
            chunks = flow.kickoff()
            list(chunks)
            return chunks.result

        async def program() -> Any:
            return await (
                Trip().kickoff_async() if way == "async" else in_thread(streamed if way == "stream" else Trip().kickoff)
            )

        assert await tell(program) == FLOW

    async def test_knowledge_is_a_retrieval(self, provider: OfflineProvider, tell: Tell) -> None:
        model = {"model": "text-embedding-3-small", "model_name": "text-embedding-3-small"}
        embedder = {"provider": "openai", "config": {"api_key": "any", "api_base": provider.openai_url, **model}}

        def program() -> Any:
            knowing = crew(provider)
            knowing.agents[0].knowledge_sources = [knowledge.StringKnowledgeSource(content="Tea is wet.")]
            knowing.agents[0].embedder = embedder
            return knowing.kickoff().raw

        assert await tell(lambda: in_thread(program)) == KNOWING

    @pytest.mark.parametrize("model", ["anthropic/claude-haiku-4-5", "litellm"])
    async def test_whoever_makes_the_call_it_is_one(
        self, model: str, provider: OfflineProvider, tell: Tell, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        url, name = (provider.url, model) if model != "litellm" else (provider.openai_url, "openai/gpt-4o-mini")
        settings = {"is_litellm": True, "api_base": url} if model == "litellm" else {}

        monkeypatch.setenv("ANTHROPIC_API_KEY", "any")

        def program() -> Any:
            llm = crewai.LLM(model=name, base_url=url, api_key="any", **settings)
            assert type(llm).__module__ == (
                "crewai.llm" if model == "litellm" else "crewai.llms.providers.anthropic.completion"
            )
            return crew(provider, PLAN.removeprefix("429 once; "), llm).kickoff().raw

        name_of_it = name.partition("/")[2]
        assert await tell(lambda: in_thread(program)) == CREW.replace("gpt-4o-mini", name_of_it)


class TestFailures:
    async def test_a_tool(self, provider: OfflineProvider, tell: Tell, spans: Spans) -> None:
        script = 'turns: tool weather {"city": "Hell"} | say Done.'
        await tell(lambda: in_thread(lambda: crew(provider, script).kickoff().raw))
        assert [(span.name, said(span, A.ERROR_TYPE)) for span in spans() if not span.status.is_ok] == [
            ("execute_tool weather", "LookupError")
        ]

    @pytest.mark.usefixtures("at_work")
    async def test_an_agent_that_tries_again_is_one(self, provider: OfflineProvider, spans: Spans) -> None:
        with pytest.raises(Exception, match="scripted failure"), otel_llm.interaction("ask"):
            await in_thread(crew(provider, "500", gpt(provider, max_retries=0)).kickoff)
        assert tree(spans()) == FAILED
        assert all(said(span, A.ERROR_TYPE) for span in spans() if span.name != "ask")
        assert not provider.bill


class TestTelemetry:
    @pytest.mark.usefixtures("at_work")
    def test_theirs_is_not_among_ours_and_ours_is_not_sent_to_them(
        self, provider: OfflineProvider, spans: Spans, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def nothing(_: Any) -> None:
            return

        theirs, ours, otel = InMemorySpanExporter(), trace.get_tracer_provider(), cast("Any", trace)
        monkeypatch.delenv("CREWAI_DISABLE_TELEMETRY")
        monkeypatch.setattr(telemetry, "SafeOTLPSpanExporter", Mock(return_value=theirs))
        monkeypatch.setattr(telemetry.Telemetry, "_instance", None)
        monkeypatch.setattr(telemetry.Telemetry, "_register_shutdown_handlers", nothing, raising=False)
        monkeypatch.setattr(otel, "_TRACER_PROVIDER", None)
        monkeypatch.setattr(otel, "_TRACER_PROVIDER_SET_ONCE", type(otel._TRACER_PROVIDER_SET_ONCE)())
        at_home = telemetry.Telemetry()
        assert at_home.ready
        at_home.set_tracer()
        assert otel._TRACER_PROVIDER is None
        trace.set_tracer_provider(ours)
        at_home.flow_creation_span("Trip")
        gpt(provider).call("Why?")
        at_home.provider.force_flush()
        assert tree(spans()) == "chat gpt-4o-mini CLIENT"
        held_against_bill(spans(), provider)
        assert "chat gpt-4o-mini" not in {span.name for span in theirs.get_finished_spans()}
