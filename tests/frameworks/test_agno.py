"""agno: agents, teams and workflows tell what they do, and each model call counts once with the SDK's numbers."""
# ruff: noqa: E402

from __future__ import annotations

import asyncio
import gc
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest

os.environ["AGNO_TELEMETRY"] = "false"  # or it calls home
agents: Any = pytest.importorskip("agno.agent", reason="agno has an environment of its own")

import otel_llm
from examples.offline_provider import OfflineProvider
from otel_llm.frameworks import AgnoInstrumentor
from otel_llm_semconv import attributes as A
from tests.conformance.surfaces import got
from tests.conftest import Spans
from tests.frameworks.conftest import Tell, model_calls, said, tree

teams: Any = pytest.importorskip("agno.team")
workflows: Any = pytest.importorskip("agno.workflow")
tools: Any = pytest.importorskip("agno.tools")
models: Any = pytest.importorskip("agno.models.openai")
knowledge: Any = pytest.importorskip("agno.knowledge.knowledge")
embedders: Any = pytest.importorskip("agno.knowledge.embedder.openai")
documents: Any = pytest.importorskip("agno.knowledge.document")
exceptions: Any = pytest.importorskip("agno.exceptions")
VectorDb: Any = pytest.importorskip("agno.vectordb.base").VectorDb

PLAN = (
    '429 once; turns: tool weather {"city": "Oslo"} + tool clock {"city": "Oslo"} | tool weather {"city": "Bergen"}'
    " | say Done."
)
DELEGATE = (
    'turns: tool delegate_task_to_member {"member_id": "guide", "task": "Look."}'
    ' + tool delegate_task_to_member {"member_id": "driver", "task": "Drive."} | say Done.'
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
TEAM = """\
ask INTERNAL
  invoke_agent staff INTERNAL
    chat gpt-4o-mini CLIENT
    execute_tool delegate_task_to_member INTERNAL
      invoke_agent guide INTERNAL
        chat gpt-4o-mini CLIENT
    execute_tool delegate_task_to_member INTERNAL
      invoke_agent driver INTERNAL
        chat gpt-4o-mini CLIENT
    chat gpt-4o-mini CLIENT"""
WORKFLOW = """\
ask INTERNAL
  invoke_workflow trip INTERNAL
    plan INTERNAL
      invoke_agent INTERNAL
        chat gpt-4o-mini CLIENT
    search INTERNAL
      flights INTERNAL
        invoke_agent guide INTERNAL
          chat gpt-4o-mini CLIENT
      hotels INTERNAL
        invoke_agent staff INTERNAL
          chat gpt-4o-mini CLIENT
    summary INTERNAL
      invoke_workflow INTERNAL
        writer INTERNAL
          invoke_agent writer INTERNAL
            chat gpt-4o-mini CLIENT"""
CONTINUED = """\
ask INTERNAL
  invoke_agent guide INTERNAL
    chat gpt-4o-mini CLIENT
  invoke_agent guide INTERNAL
    execute_tool weather INTERNAL
    chat gpt-4o-mini CLIENT"""
KNOWING = """\
ask INTERNAL
  invoke_agent guide INTERNAL
    chat gpt-4o-mini CLIENT
    execute_tool search_knowledge_base INTERNAL
      retrieval handbook CLIENT
        embeddings text-embedding-3-small CLIENT
    chat gpt-4o-mini CLIENT"""


def weather(city: str) -> str:
    """The weather in a city."""
    if city == "Hell":
        raise LookupError(city)
    return f"Rain in {city}."


async def aweather(city: str) -> str:
    """The weather in a city."""
    await asyncio.sleep(0.01)
    return weather(city)


def clock(city: str) -> Iterator[str]:
    """The time in a city."""
    yield "Noon in "
    yield f"{city}."


@pytest.fixture
def at_work(no_fault: None, instrumented: None) -> Iterator[None]:
    """The adapter and the SDKs are at work during the test."""
    AgnoInstrumentor().instrument()
    yield
    AgnoInstrumentor().uninstrument()


def gpt(provider: OfflineProvider) -> Any:
    """OpenAI's model at the provider."""
    return models.OpenAIChat(id="gpt-4o-mini", base_url=provider.openai_url, api_key="any")


def agent(provider: OfflineProvider, name: str | None = "guide", **settings: Any) -> Any:
    """An agent with two tools."""
    return agents.Agent(name=name, **{"model": gpt(provider), "tools": [weather, clock], **settings})


def team(provider: OfflineProvider) -> Any:
    """An agent with two agents."""
    return teams.Team(name="staff", members=[agent(provider), agent(provider, "driver")], model=gpt(provider))


def workflow(provider: OfflineProvider) -> Any:
    """A step, two steps at once, and a step with a workflow of its own."""

    def summary(_: Any) -> Any:
        inner = workflows.Workflow(steps=[agent(provider, "writer")])
        return workflows.StepOutput(content=inner.run("Sum up.").content)

    search = workflows.Parallel(
        workflows.Step(name="flights", agent=agent(provider)),
        workflows.Step(name="hotels", team=team(provider)),
        name="search",
    )
    plan = workflows.Step(name="plan", agent=agent(provider, None))
    return workflows.Workflow(name="trip", steps=[plan, search, summary])


def question(script: str) -> str:
    """One that is answered like this."""
    return f"[[offline: {script}]] Why?"


def run(runner: Any, asked: str, _: str) -> Any:
    return runner.run(asked).content


async def arun(runner: Any, asked: str, _: str) -> Any:
    return (await runner.arun(asked)).content


def stream(runner: Any, asked: str, event: str) -> Any:
    return [chunk.content for chunk in runner.run(asked, stream=True) if chunk.event == event]


async def astream(runner: Any, asked: str, event: str) -> Any:
    chunks = runner.arun(asked, stream=True)
    return [chunk.content async for chunk in chunks if chunk.event == event]


ways = pytest.mark.parametrize("way", [run, arun, stream, astream], ids=lambda way: way.__name__)
Way = Callable[[Any, str, str], Any]


class TestStories:
    @ways
    async def test_an_agent(self, way: Way, provider: OfflineProvider, tell: Tell, spans: Spans) -> None:
        assert await tell(lambda: way(agent(provider), question(PLAN), "RunContent")) == AGENT
        found = spans()
        calls = model_calls(found)
        assert {said(call, A.OTEL_LLM_ATTEMPTS) for call in calls} == {2}
        assert {said(call, A.GEN_AI_REQUEST_STREAM) for call in calls} == {True if "stream" in way.__name__ else None}
        assert {said(span, A.GEN_AI_AGENT_NAME) for span in found if span.name != "ask"} == {"guide"}
        executed = [said(span, A.GEN_AI_TOOL_CALL_ID) for span in found if span.name.startswith("execute_tool")]
        assert len(set(executed)) == len(executed) == 3

    @pytest.mark.parametrize("way", [arun, astream], ids=lambda way: way.__name__)
    async def test_coroutines_are_tools(self, way: Way, provider: OfflineProvider, tell: Tell) -> None:
        weather = tools.Function.from_callable(aweather, name="weather")
        assert await tell(lambda: way(agent(provider, tools=[weather, clock]), question(PLAN), "RunContent")) == AGENT

    @ways
    async def test_a_team(self, way: Way, provider: OfflineProvider, tell: Tell) -> None:
        assert await tell(lambda: way(team(provider), question(DELEGATE), "TeamRunContent")) == TEAM

    @ways
    async def test_a_workflow(self, way: Way, provider: OfflineProvider, tell: Tell) -> None:
        assert await tell(lambda: way(workflow(provider), "Where to?", "WorkflowCompleted")) == WORKFLOW

    @pytest.mark.parametrize("way", [run, arun], ids=lambda way: way.__name__)
    async def test_knowledge_is_a_retrieval(self, way: Way, provider: OfflineProvider, tell: Tell) -> None:
        embedder = embedders.OpenAIEmbedder(api_key="any", base_url=provider.openai_url)

        class Store(VectorDb):
            def search(self, query: str, **_: Any) -> list[Any]:
                return [documents.Document(content="Tea is wet.") for _ in embedder.get_embedding(query)[:1]]

            async def async_search(self, query: str, **_: Any) -> list[Any]:
                return self.search(query)

            def exists(self) -> bool:
                return True

            async def async_exists(self) -> bool:
                return True

        Store.__abstractmethods__ = frozenset()
        handbook = knowledge.Knowledge(name="handbook", vector_db=Store())
        script = 'turns: tool search_knowledge_base {"query": "tea"} | say Done.'
        assert await tell(lambda: way(agent(provider, knowledge=handbook), question(script), "RunContent")) == KNOWING

    async def test_a_run_that_waited_for_a_human_goes_on(self, provider: OfflineProvider, tell: Tell) -> None:
        def program() -> Any:
            guide = agent(provider, tools=[tools.tool(requires_confirmation=True, name="weather")(weather)])
            paused = guide.run(question('turns: tool weather {"city": "Oslo"} | say Done.'), session_id="s")
            for asked in paused.tools_requiring_confirmation:
                asked.confirmed = True
            return guide.continue_run(run_response=paused).content

        assert await tell(program) == CONTINUED


class TestFailures:
    @ways
    async def test_a_tool(self, way: Way, provider: OfflineProvider, tell: Tell, spans: Spans) -> None:
        script = 'turns: tool weather {"city": "Hell"} | say Done.'
        await tell(lambda: way(agent(provider), question(script), "RunContent"))
        failed = [(span.name, said(span, A.ERROR_TYPE)) for span in spans() if not span.status.is_ok]
        assert failed == [("execute_tool weather", "LookupError")]

    @pytest.mark.usefixtures("at_work")
    async def test_a_stream_that_is_left(self, provider: OfflineProvider, spans: Spans) -> None:
        with otel_llm.interaction("ask"):
            chunks = agent(provider).run(question("slow chunks 20ms; tokens out=500"), stream=True)
            assert any(chunk.content for chunk in chunks)
            chunks.close()
            del chunks
            gc.collect()
        provider.settle()
        assert tree(spans()) == "ask INTERNAL\n  invoke_agent guide INTERNAL\n    chat gpt-4o-mini CLIENT"
        assert all(span.status.is_ok for span in spans())
        assert said(model_calls(spans())[0], A.OTEL_LLM_STREAM_OUTCOME) in ("aborted", "abandoned")

    @pytest.mark.parametrize("way", [run, arun, stream, astream], ids=lambda way: way.__name__)
    @pytest.mark.usefixtures("at_work")
    async def test_a_model(self, way: Way, provider: OfflineProvider, spans: Spans) -> None:
        """Newer ones return the failure, older ones raise it."""
        with suppress(exceptions.ModelProviderError):
            await got(way(agent(provider), question("400"), ""))
        found = [(span.name, said(span, A.ERROR_TYPE)) for span in spans() if not span.status.is_ok]
        assert [name for name, _ in found] == ["chat gpt-4o-mini", "invoke_agent guide"]
        assert all(error for _, error in found)


@pytest.mark.usefixtures("at_work")
def test_a_session_is_a_conversation(provider: OfflineProvider, spans: Spans) -> None:
    agent(provider).run("Why?", session_id="s-1")
    team(provider).run("Why?", session_id="s-1")
    roots = [span for span in spans() if span.parent is None]
    assert [said(span, A.GEN_AI_CONVERSATION_ID) for span in roots] == ["s-1", "s-1"]
