"""Semantic Kernel: its agents, functions, orchestrations and processes as a tree, and every model call once."""
# ruff: noqa: E402
# pyright: reportUntypedBaseClass=false, reportUntypedFunctionDecorator=false, reportUnknownMemberType=false
# pyright: reportInvalidTypeForm=false, reportUnknownParameterType=false, reportUnknownArgumentType=false
# It is not there when the types are checked.

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any

import pytest

sk: Any = pytest.importorskip("semantic_kernel", reason="Semantic Kernel has an environment of its own")
agents: Any = pytest.importorskip("semantic_kernel.agents")
runtimes: Any = pytest.importorskip("semantic_kernel.agents.runtime")
connectors: Any = pytest.importorskip("semantic_kernel.connectors.ai.open_ai")
memory: Any = pytest.importorskip("semantic_kernel.connectors.in_memory")
vectors: Any = pytest.importorskip("semantic_kernel.data.vector")
functions: Any = pytest.importorskip("semantic_kernel.functions")
processes: Any = pytest.importorskip("semantic_kernel.processes")
process_steps: Any = pytest.importorskip("semantic_kernel.processes.kernel_process")
local_runtime: Any = pytest.importorskip("semantic_kernel.processes.local_runtime.local_kernel_process")

import openai
from opentelemetry import context as otel_context
from opentelemetry.context import Context

import otel_llm
from examples.offline_provider import OfflineProvider
from otel_llm.driving import within
from otel_llm.frameworks import SemanticKernelInstrumentor
from otel_llm_semconv import attributes as A
from tests.conftest import Spans
from tests.frameworks.conftest import Tell, held_against_bill, model_calls, said, stories, tree

pytestmark = pytest.mark.asyncio(loop_scope="session")

PLAN = (
    '[[offline: turns: tool town-weather {"city": "Oslo"} + tool town-clock {"city": "Oslo"}'
    ' | tool town-weather {"city": "Bergen"} | say Done.]]'
)
AGENT = """\
ask INTERNAL
  invoke_agent support INTERNAL
    chat gpt-4o-mini CLIENT
    execute_tool town-clock INTERNAL
    execute_tool town-weather INTERNAL
    chat gpt-4o-mini CLIENT
    execute_tool town-weather INTERNAL
    chat gpt-4o-mini CLIENT"""
AGENT_AS_TOOL = """\
ask INTERNAL
  invoke_agent manager INTERNAL
    chat gpt-4o-mini CLIENT
    execute_tool support-support INTERNAL
      invoke_agent support INTERNAL
        chat gpt-4o-mini CLIENT
        execute_tool town-clock INTERNAL
        chat gpt-4o-mini CLIENT
    chat gpt-4o-mini CLIENT"""
PAIR = """\
ask INTERNAL
  invoke_workflow{} INTERNAL
    invoke_agent author INTERNAL
      chat gpt-4o-mini CLIENT
    invoke_agent critic INTERNAL
      chat gpt-4o-mini CLIENT"""
HANDOFF = """\
ask INTERNAL
  invoke_workflow INTERNAL
    invoke_agent author INTERNAL
      chat gpt-4o-mini CLIENT
      execute_tool Handoff-transfer_to_critic INTERNAL
    invoke_agent critic INTERNAL
      chat gpt-4o-mini CLIENT
      execute_tool Handoff-complete_task INTERNAL"""
PROCESS = """\
ask INTERNAL
  invoke_workflow trip INTERNAL
    Plan-plan INTERNAL
      invoke_agent planner INTERNAL
        chat gpt-4o-mini CLIENT
    Book-book INTERNAL
      chat gpt-4o-mini CLIENT"""


class Town:
    """What is known of towns."""

    @functions.kernel_function
    def weather(self, city: str) -> str:
        """The weather in a city."""
        return f"Rain in {city}."

    @functions.kernel_function
    async def clock(self, city: str) -> str:
        """The time in a city."""
        if city == "Atlantis":
            raise ValueError("no such city")
        return f"Noon in {city}."


@pytest.fixture
def both(no_fault: None, instrumented: None) -> Iterator[None]:
    """The framework and the SDKs are instrumented."""
    SemanticKernelInstrumentor().instrument()
    yield
    SemanticKernelInstrumentor().uninstrument()


def gpt(provider: OfflineProvider) -> Any:
    """OpenAI's model at the provider."""
    client = openai.AsyncOpenAI(api_key="any", base_url=provider.openai_url)
    return connectors.OpenAIChatCompletion(ai_model_id="gpt-4o-mini", async_client=client)


def agent(provider: OfflineProvider, name: str | None, **settings: Any) -> Any:
    """An agent."""
    return agents.ChatCompletionAgent(service=gpt(provider), name=name, description=name or "", **settings)


def support(provider: OfflineProvider, **settings: Any) -> Any:
    """An agent with two tools."""
    kernel = sk.Kernel()
    kernel.add_plugin(Town(), "town")
    return agent(provider, "support", kernel=kernel, **settings)


def pair(provider: OfflineProvider) -> list[Any]:
    """Two agents."""
    return [agent(provider, name) for name in ("author", "critic")]


async def answer(runner: Any, question: str) -> Any:
    """What an agent says."""
    return str(await runner.get_response(question))


async def answers(runner: Any, question: str) -> Any:
    """The same, message by message."""
    return [str(item) async for item in runner.invoke(question)]


async def streamed(runner: Any, question: str) -> Any:
    """The same, in pieces."""
    return [str(item) async for item in runner.invoke_stream(question)]


WAYS: list[Callable[[Any, str], Any]] = [answer, answers, streamed]
every_way = pytest.mark.parametrize("way", WAYS)


@every_way
async def test_an_agent(way: Callable[[Any, str], Any], provider: OfflineProvider, tell: Tell, spans: Spans) -> None:
    assert await tell(lambda: way(support(provider), PLAN)) == AGENT
    assert [bool(said(call, A.GEN_AI_REQUEST_STREAM)) for call in model_calls(spans())] == [way is streamed] * 3


@every_way
async def test_retries_are_attempts_of_one_call(
    way: Callable[[Any, str], Any], provider: OfflineProvider, tell: Tell, spans: Spans
) -> None:
    assert await tell(lambda: way(support(provider), PLAN.replace("turns", "429 once; turns"))) == AGENT
    assert [said(call, A.OTEL_LLM_ATTEMPTS) for call in model_calls(spans())] == [2, 2, 2]


@every_way
async def test_an_agent_is_a_tool(way: Callable[[Any, str], Any], provider: OfflineProvider, tell: Tell) -> None:
    inner = support(provider, instructions='[[offline: tool town-clock {"city": "Oslo"}]]')
    manager = agent(provider, "manager", plugins=[inner])
    assert await tell(lambda: way(manager, '[[offline: tool support-support {"messages": "time?"}]]')) == AGENT_AS_TOOL


async def test_names_reach_what_is_inside(provider: OfflineProvider, tell: Tell, spans: Spans) -> None:
    await tell(lambda: streamed(support(provider), PLAN))
    [root] = [span for span in spans() if span.parent is None]
    assert {said(span, A.GEN_AI_AGENT_NAME) for span in spans() if span is not root} == {"support"}
    tools = [span for span in spans() if said(span, A.GEN_AI_OPERATION_NAME) == "execute_tool"]
    assert sorted(said(span, A.GEN_AI_TOOL_NAME) for span in tools) == ["town-clock", "town-weather", "town-weather"]
    assert all(said(span, A.GEN_AI_TOOL_CALL_ID).startswith("call_") for span in tools)


async def test_what_nobody_named_has_no_name(provider: OfflineProvider, tell: Tell) -> None:
    kernel = sk.Kernel()
    kernel.add_service(gpt(provider))

    async def act() -> Any:
        return str(await kernel.invoke_prompt("Hi")), await answer(agent(provider, None), "Hi")

    told = await tell(act)
    assert told == "ask INTERNAL\n  chat gpt-4o-mini CLIENT\n  invoke_agent INTERNAL\n    chat gpt-4o-mini CLIENT"


@pytest.mark.parametrize("stream", [False, True])
async def test_functions_are_steps(provider: OfflineProvider, tell: Tell, *, stream: bool) -> None:
    kernel = sk.Kernel()
    kernel.add_service(gpt(provider))
    kernel.add_plugin(Town(), "town")
    prompt = "Why? {{town.weather city='Oslo'}}"
    kernel.add_function("talk", function_name="tell", prompt=prompt)

    async def act() -> Any:
        if stream:
            pieces = kernel.invoke_stream(plugin_name="talk", function_name="tell")
            return ["".join(map(str, piece)) async for piece in pieces]
        return str(await kernel.invoke(plugin_name="talk", function_name="tell"))

    told = await tell(act)
    assert told == "ask INTERNAL\n  talk-tell INTERNAL\n    town-weather INTERNAL\n    chat gpt-4o-mini CLIENT"


async def test_a_tool_that_fails(provider: OfflineProvider, tell: Tell, spans: Spans) -> None:
    await tell(lambda: answer(support(provider), '[[offline: tool town-clock {"city": "Atlantis"}]]'))
    assert [span.name for span in spans() if said(span, A.ERROR_TYPE)] == ["execute_tool town-clock"]
    assert "no such city" not in repr([span.to_json() for span in spans()])


@pytest.mark.usefixtures("both")
@every_way
async def test_a_call_that_fails(way: Callable[[Any, str], Any], provider: OfflineProvider, spans: Spans) -> None:
    with pytest.raises(Exception, match="failed to complete the prompt"):
        await way(support(provider), "[[offline: 400]]")
    assert tree(spans()) == "invoke_agent support INTERNAL\n  chat gpt-4o-mini CLIENT"
    assert len([span for span in spans() if said(span, A.ERROR_TYPE)]) == 2


@pytest.mark.usefixtures("both")
async def test_nothing_of_a_stream_is_current_between_its_pieces(provider: OfflineProvider) -> None:
    outside = otel_context.get_current()
    async for _ in support(provider).invoke_stream(PLAN):
        assert otel_context.get_current() is outside


@pytest.mark.usefixtures("both")
@pytest.mark.parametrize("how", ["closed", "dropped", "never begun"])
async def test_a_stream_may_be_left(how: str, provider: OfflineProvider, spans: Spans) -> None:
    stream = support(provider).invoke_stream("[[offline: slow chunks 20ms]] Hi")
    if how != "never begun":
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


async def orchestrated(orchestration: Any, task: str, runtime: Any = None) -> Any:
    """What an orchestration comes to."""
    own = runtime or runtimes.InProcessRuntime()
    if runtime is None:
        own.start()
    result = await (await orchestration.invoke(task, own)).get(timeout=20)
    if runtime is None:
        await own.stop_when_idle()
    return sorted(map(str, result)) if isinstance(result, list) else str(result)


@pytest.mark.parametrize("kind", ["SequentialOrchestration", "ConcurrentOrchestration"])
async def test_orchestrations(kind: str, provider: OfflineProvider, tell: Tell) -> None:
    def act() -> Any:
        return orchestrated(getattr(agents, kind)(pair(provider)), "Hi")

    assert await tell(act) == PAIR.format("")


async def test_a_group_chat(provider: OfflineProvider, tell: Tell) -> None:
    def act() -> Any:
        manager = agents.RoundRobinGroupChatManager(max_rounds=2)
        return orchestrated(agents.GroupChatOrchestration(pair(provider), manager, name="office"), "Hi")

    assert await tell(act) == PAIR.format(" office")


async def test_an_old_group_chat(provider: OfflineProvider, tell: Tell) -> None:
    async def act() -> Any:
        chat = agents.AgentGroupChat(agents=pair(provider))
        chat.termination_strategy.maximum_iterations = 2
        await chat.add_chat_message("Hi")
        return [str(message) async for message in chat.invoke()]

    assert await tell(act) == PAIR.format("")


async def test_agents_hand_over(provider: OfflineProvider, tell: Tell) -> None:
    def act() -> Any:
        author, critic = pair(provider)
        handoffs = agents.OrchestrationHandoffs().add(author, critic, "To criticise.")
        return orchestrated(
            agents.HandoffOrchestration([author, critic], handoffs, human_response_function=human),
            "[[offline: turns: tool Handoff-transfer_to_critic {} |"
            ' tool Handoff-complete_task {"task_summary": "Done."} | say Done.]]',
        )

    def human() -> Any:
        return sk.contents.ChatMessageContent(role="user", content="Hi")

    assert await tell(act) == HANDOFF


@pytest.mark.usefixtures("both")
async def test_a_runtime_that_others_started_works_for_each(provider: OfflineProvider, spans: Spans) -> None:
    runtime = runtimes.InProcessRuntime()
    with within(Context()):
        runtime.start()

    async def ask(user: str) -> None:
        with otel_llm.interaction("ask", user_id=user):
            await orchestrated(agents.SequentialOrchestration(pair(provider)), "Hi", runtime)

    await asyncio.gather(ask("u-1"), ask("u-2"))
    await runtime.stop_when_idle()
    assert stories(spans()) == [PAIR.format("")] * 2
    assert sorted(said(call, A.USER_ID) for call in model_calls(spans())) == ["u-1", "u-1", "u-2", "u-2"]
    held_against_bill(spans(), provider)


@pytest.mark.usefixtures("both")
async def test_an_orchestration_that_fails_says_so(provider: OfflineProvider, spans: Spans) -> None:
    with pytest.raises(Exception, match="failed to complete the prompt"):
        await orchestrated(agents.SequentialOrchestration(pair(provider)), "[[offline: 400]]")
    failed = [span.name for span in spans() if said(span, A.ERROR_TYPE)]
    assert sorted(failed) == ["chat gpt-4o-mini", "invoke_agent author", "invoke_workflow"]


async def test_a_process(provider: OfflineProvider, tell: Tell) -> None:
    class Plan(process_steps.KernelProcessStep):
        @functions.kernel_function
        async def plan(self, context: process_steps.KernelProcessStepContext) -> str:
            await answer(agent(provider, "planner"), "Hi")
            await context.emit_event(process_steps.KernelProcessEvent(id="planned", data="Oslo"))
            return "Oslo"

    class Book(process_steps.KernelProcessStep):
        @functions.kernel_function
        async def book(self, kernel: sk.Kernel, town: str) -> str:
            return str(await kernel.invoke_prompt(f"Book {town}."))

    async def act() -> Any:
        kernel = sk.Kernel()
        kernel.add_service(gpt(provider))
        process = processes.ProcessBuilder(name="trip")
        plan, book = process.add_step(Plan), process.add_step(Book)
        process.on_input_event("start").send_event_to(plan)
        plan.on_event("planned").send_event_to(book, parameter_name="town")
        async with await local_runtime.start(process.build(), kernel, "start") as running:
            await running.local_process.process_task

    assert await tell(act) == PROCESS


async def test_a_search(provider: OfflineProvider, tell: Tell) -> None:
    definition = vectors.VectorStoreCollectionDefinition(
        fields=[
            vectors.VectorStoreField("key", name="id", type="str"),
            vectors.VectorStoreField("vector", name="vector", type="float", dimensions=3),
        ]
    )

    async def act() -> Any:
        collection = memory.InMemoryCollection(
            record_type=dict, definition=definition, collection_name="handbook", embedding_generator=None
        )
        await collection.ensure_collection_exists()
        await collection.upsert([{"id": "1", "vector": [0.1, 0.2, 0.3]}])
        found = await collection.search(vector=[0.1, 0.2, 0.3])
        first = [result.record["id"] async for result in found.results]
        return first, await answer(agent(provider, "support"), "Hi")

    told = await tell(act)
    assert told == (
        "ask INTERNAL\n  retrieval handbook CLIENT\n  invoke_agent support INTERNAL\n    chat gpt-4o-mini CLIENT"
    )


@pytest.mark.usefixtures("both")
async def test_its_own_traces_stay_when_the_user_asks_for_them(
    provider: OfflineProvider, spans: Spans, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("agent_diagnostics.decorators", "model_diagnostics.decorators", "model_diagnostics.function_tracer"):
        settings = import_module(f"semantic_kernel.utils.telemetry.{module}").MODEL_DIAGNOSTICS_SETTINGS
        monkeypatch.setattr(settings, "enable_otel_diagnostics", True)
    await answer(support(provider), PLAN)
    counted = [span.name for span in spans() if said(span, A.OTEL_LLM_COST_STATUS)]
    assert counted == ["chat gpt-4o-mini"] * 3
    told = [span for span in spans() if span.instrumentation_scope and span not in model_calls(spans())]
    assert {span.instrumentation_scope.name.partition(".")[0] for span in told if span.instrumentation_scope} == {
        "semantic_kernel"
    }
