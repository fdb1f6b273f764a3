"""openai-agents: runs, handoffs, guardrails and tools as a tree, with its own tracing on or off; every call once."""
# ruff: noqa: E402

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import closing
from typing import Any, cast

import pytest

agents: Any = pytest.importorskip("agents", reason="openai-agents has an environment of its own")

import openai
from opentelemetry import trace
from opentelemetry.trace import StatusCode

import otel_llm
from examples.offline_provider import OfflineProvider
from otel_llm.frameworks import OpenAIAgentsInstrumentor
from otel_llm_semconv import attributes as A
from tests.conftest import Spans
from tests.frameworks.conftest import Tell, held_against_bill, model_calls, said, stories, tree

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
HANDOFF = """\
ask INTERNAL
  invoke_workflow INTERNAL
    invoke_agent desk INTERNAL
      chat gpt-4o-mini CLIENT
      handoff INTERNAL
    invoke_agent refunds INTERNAL
      chat gpt-4o-mini CLIENT
      execute_tool weather INTERNAL
      chat gpt-4o-mini CLIENT"""
TEAM = """\
ask INTERNAL
  invoke_workflow trip INTERNAL
    invoke_agent boss INTERNAL
      chat gpt-4o-mini CLIENT
      execute_tool expert INTERNAL
        invoke_agent expert INTERNAL
          chat gpt-4o-mini CLIENT
          execute_tool weather INTERNAL
          chat gpt-4o-mini CLIENT
      chat gpt-4o-mini CLIENT"""
GUARDED = """\
ask INTERNAL
  invoke_agent guarded INTERNAL
    chat gpt-4o-mini CLIENT
    on_topic INTERNAL
      invoke_agent judge INTERNAL
        chat gpt-4o-mini CLIENT
    polite INTERNAL"""


@pytest.fixture(autouse=True)
def nothing_exported() -> None:
    """The SDK would send its traces to OpenAI."""
    agents.set_trace_processors([])


@pytest.fixture(params=["traced", "untraced"])
def tracing(request: pytest.FixtureRequest) -> Iterator[None]:
    """The SDK's own tracing is on, or off."""
    agents.set_tracing_disabled(request.param == "untraced")
    yield
    agents.set_tracing_disabled(False)


@pytest.fixture
def at_work(no_fault: None) -> Iterator[None]:
    """The adapter is at work during the test."""
    OpenAIAgentsInstrumentor().instrument()
    yield
    OpenAIAgentsInstrumentor().uninstrument()


@agents.function_tool
def weather(city: str) -> str:
    """The weather in a city."""
    if city == "Hell":
        raise LookupError(city)
    return f"Rain in {city}."


@agents.function_tool
async def clock(city: str) -> str:
    """The time in a city."""
    await asyncio.sleep(0.01)
    return f"Noon in {city}."


@agents.function_tool(failure_error_function=None)
def fragile() -> str:
    """Breaks."""
    raise LookupError("broken")


def gpt(provider: OfflineProvider, kind: str = "OpenAIResponsesModel") -> Any:
    unverified = openai.DefaultAsyncHttpxClient(verify=False)  # or it loads certificates, for longer than a test takes
    client = openai.AsyncOpenAI(base_url=provider.openai_url, api_key="any", http_client=unverified)
    return getattr(agents, kind)(model="gpt-4o-mini", openai_client=client)


def support(model: Any) -> Any:
    """An agent with two tools."""
    return agents.Agent(name="support", model=model, tools=[weather, clock])


def desk(model: Any) -> Any:
    """An agent that hands over to another one."""
    refunds = agents.Agent(name="refunds", model=model, tools=[weather])
    return agents.Agent(name="desk", model=model, handoffs=[refunds])


def boss(model: Any) -> Any:
    """An agent with an agent for a tool."""
    script = '[[offline: tool weather {"city": "Oslo"}]]'
    expert = agents.Agent(name="expert", model=model, tools=[weather], instructions=script)
    tool = expert.as_tool(tool_name="expert", tool_description="Ask the expert.")
    return agents.Agent(name="boss", model=model, tools=[tool])


def guarded(model: Any) -> Any:
    """An agent that another one watches."""
    judge = agents.Agent(name="judge", model=model)
    verdict = agents.GuardrailFunctionOutput

    async def on_topic(context: Any, agent: Any, question: Any) -> Any:
        result = await agents.Runner.run(judge, "[[offline: say yes]] On topic?", context=context.context)
        return verdict(output_info=None, tripwire_triggered=result.final_output != "yes" or "rude" in str(question))

    async def polite(context: Any, agent: Any, output: Any) -> Any:
        return verdict(output_info=None, tripwire_triggered=False)

    return agents.Agent(
        name="guarded",
        model=model,
        input_guardrails=[agents.InputGuardrail(guardrail_function=on_topic)],
        output_guardrails=[agents.OutputGuardrail(guardrail_function=polite)],
    )


def plan(script: str) -> str:
    """A question that goes like this."""
    return f"[[offline: {script}]] Why?"


def plainly(result: Any) -> Any:
    """What a program sees of a result, without the ids that differ from run to run."""
    usage = result.context_wrapper.usage
    items = sorted(f"{item.type} {item.agent.name} {getattr(item, 'output', '')}" for item in result.new_items)
    return result.final_output, result.last_agent.name, items, usage.input_tokens, usage.output_tokens


async def run(agent: Any, question: str, **options: Any) -> Any:
    return plainly(await agents.Runner.run(agent, question, **options))


async def run_sync(agent: Any, question: str, **options: Any) -> Any:
    def in_a_thread() -> Any:
        asyncio.set_event_loop(loop)  # old versions do not make one
        return agents.Runner.run_sync(agent, question, **options)

    with closing(asyncio.new_event_loop()) as loop:
        return plainly(await asyncio.to_thread(in_a_thread))


async def run_streamed(agent: Any, question: str, **options: Any) -> Any:
    around = trace.get_current_span()
    result = agents.Runner.run_streamed(agent, question, **options)
    kinds: list[str] = []
    async for event in result.stream_events():
        assert trace.get_current_span() is around
        kinds.append(event.type)
    return plainly(result), sorted(kinds)


WAYS: dict[str, Any] = {"run": run, "run_sync": run_sync, "run_streamed": run_streamed}
MODELS = ("OpenAIResponsesModel", "OpenAIChatCompletionsModel")


def failures(found: list[Any]) -> dict[str, str]:
    """The spans that failed, and how."""
    failed = {span.name: said(span, A.ERROR_TYPE) for span in found if said(span, A.ERROR_TYPE)}
    assert set(failed) == {span.name for span in found if span.status.status_code is StatusCode.ERROR}
    return failed


both = pytest.mark.usefixtures("at_work", "instrumented")
alone = pytest.mark.usefixtures("at_work")


class TestStories:
    @pytest.mark.usefixtures("tracing")
    @pytest.mark.parametrize("kind", MODELS)
    @pytest.mark.parametrize("way", WAYS)
    async def test_an_agent_with_tools_at_once_and_a_retry(
        self, way: str, kind: str, provider: OfflineProvider, tell: Tell
    ) -> None:
        told = await tell(lambda: WAYS[way](support(gpt(provider, kind)), plan(f"429 once; {PLAN}")))
        assert told == AGENT

    @pytest.mark.usefixtures("tracing")
    @pytest.mark.parametrize("way", WAYS)
    async def test_a_handoff_has_a_workflow_around_it(self, way: str, provider: OfflineProvider, tell: Tell) -> None:
        # Of a plan, only the steps count whose tools are offered: for the second agent, the first one is none.
        script = 'turns: tool transfer_to_refunds {} | say - | tool weather {"city": "Oslo"} | say Done.'
        assert await tell(lambda: WAYS[way](desk(gpt(provider)), plan(script))) == HANDOFF

    @pytest.mark.parametrize("way", WAYS)
    async def test_an_agent_as_a_tool_is_inside_of_it(self, way: str, provider: OfflineProvider, tell: Tell) -> None:
        script = plan('turns: tool expert {"input": "why"} | say Done.')
        config = agents.RunConfig(workflow_name="trip")
        assert await tell(lambda: WAYS[way](boss(gpt(provider)), script, run_config=config)) == TEAM

    @pytest.mark.parametrize("way", WAYS)
    async def test_guardrails_are_steps(self, way: str, provider: OfflineProvider, tell: Tell) -> None:
        # An older version does not wait for the guardrail of a stream that ends before it.
        script = plan("slow 200ms; say Done.")
        assert await tell(lambda: WAYS[way](guarded(gpt(provider)), script)) == GUARDED

    @pytest.mark.usefixtures("tracing")
    async def test_without_a_name_or_a_handoff_one_agent_is_the_root(
        self, provider: OfflineProvider, spans: Spans, at_work: None, instrumented: None
    ) -> None:
        with otel_llm.interaction("ask"):
            await run(support(gpt(provider)), "tea", run_config=agents.RunConfig(tracing_disabled=True))
        assert tree(spans()) == "ask INTERNAL\n  invoke_agent support INTERNAL\n    chat gpt-4o-mini CLIENT"

    async def test_a_trace_of_the_user_is_a_workflow_around_its_runs(
        self, provider: OfflineProvider, tell: Tell
    ) -> None:
        async def day() -> Any:
            with agents.trace("day trip", group_id="c-1"), agents.custom_span("morning"):
                return [await way(support(gpt(provider)), "tea") for way in (run, run_streamed)]

        assert await tell(day) == (
            "ask INTERNAL\n"
            "  invoke_workflow day trip INTERNAL\n"
            "    morning INTERNAL\n"
            "      invoke_agent support INTERNAL\n"
            "        chat gpt-4o-mini CLIENT\n"
            "      invoke_agent support INTERNAL\n"
            "        chat gpt-4o-mini CLIENT"
        )

    @both
    async def test_agents_tools_and_conversations_have_their_names(
        self, provider: OfflineProvider, spans: Spans
    ) -> None:
        config = agents.RunConfig(workflow_name="trip", group_id="c-1")
        await run(support(gpt(provider)), plan(PLAN), run_config=config)
        found = spans()
        by_operation = {
            operation: [s for s in found if said(s, A.GEN_AI_OPERATION_NAME) == operation]
            for operation in ("invoke_workflow", "invoke_agent", "execute_tool", "chat")
        }
        (workflow,), (agent,) = by_operation["invoke_workflow"], by_operation["invoke_agent"]
        assert said(workflow, A.GEN_AI_WORKFLOW_NAME) == "trip"
        assert said(workflow, A.GEN_AI_CONVERSATION_ID) == said(agent, A.GEN_AI_CONVERSATION_ID) == "c-1"
        tools = by_operation["execute_tool"]
        assert sorted(said(tool, A.GEN_AI_TOOL_NAME) for tool in tools) == ["clock", "weather", "weather"]
        assert len({said(tool, A.GEN_AI_TOOL_CALL_ID) for tool in tools} - {None}) == 3
        assert {said(span, A.GEN_AI_AGENT_NAME) for span in found if span is not workflow} == {"support"}

    @both
    async def test_eight_at_once_never_mix(self, provider: OfflineProvider, spans: Spans) -> None:
        model = gpt(provider)

        async def one(number: int) -> None:
            with otel_llm.interaction("ask", user_id=f"u-{number}") as it:
                await (run_streamed if number % 2 else run)(support(model), plan(PLAN))
                assert it.calls == 3

        await asyncio.gather(*map(one, range(8)))
        found = spans()
        assert stories(found) == [AGENT] * 8
        held_against_bill(found, provider)


class TestFailures:
    @both
    @pytest.mark.usefixtures("tracing")
    @pytest.mark.parametrize("way", WAYS)
    async def test_a_tool_fails_and_the_model_is_told(self, way: str, provider: OfflineProvider, spans: Spans) -> None:
        await WAYS[way](support(gpt(provider)), plan('turns: tool weather {"city": "Hell"} | say Done.'))
        assert failures(spans()) == {"execute_tool weather": "LookupError"}

    @both
    @pytest.mark.usefixtures("tracing")
    @pytest.mark.parametrize("way", WAYS)
    async def test_a_tool_fails_and_so_does_the_run(self, way: str, provider: OfflineProvider, spans: Spans) -> None:
        with pytest.raises(agents.UserError):
            await WAYS[way](agents.Agent(name="bold", model=gpt(provider), tools=[fragile]), plan("tool fragile {}"))
        told = failures(spans())
        assert told == {
            "execute_tool fragile": told["execute_tool fragile"],
            "invoke_agent bold": "agents.exceptions.UserError",
        }

    @both
    @pytest.mark.usefixtures("tracing")
    @pytest.mark.parametrize("way", WAYS)
    async def test_too_many_turns(self, way: str, provider: OfflineProvider, spans: Spans) -> None:
        with pytest.raises(agents.MaxTurnsExceeded):
            await WAYS[way](support(gpt(provider)), plan(PLAN), max_turns=1)
        kind = "AgentsException" if way == "run_streamed" else "MaxTurnsExceeded"
        assert failures(spans()) == {"invoke_agent support": f"agents.exceptions.{kind}"}

    @both
    async def test_a_guardrail_stops_it(self, provider: OfflineProvider, spans: Spans) -> None:
        with pytest.raises(agents.InputGuardrailTripwireTriggered):
            await run(guarded(gpt(provider)), plan("slow 1s; say rude."))
        told = failures(spans())
        assert told == {"invoke_agent guarded": "agents.exceptions.InputGuardrailTripwireTriggered"}

    @both
    async def test_a_fallback_is_no_failure(self, provider: OfflineProvider, spans: Spans) -> None:
        try:
            raise LookupError("the first choice")
        except LookupError:
            await run(support(gpt(provider)), plan(PLAN))
        assert failures(spans()) == {}

    @both
    async def test_the_model_fails(self, provider: OfflineProvider, spans: Spans) -> None:
        with pytest.raises(openai.BadRequestError):
            await run(support(gpt(provider)), plan("400"))
        found = spans()
        assert failures(found) == dict.fromkeys(("chat gpt-4o-mini", "invoke_agent support"), "openai.BadRequestError")
        assert len(model_calls(found)) == 1

    @both
    @pytest.mark.usefixtures("tracing")
    async def test_a_stream_that_nobody_reads_to_its_end(self, provider: OfflineProvider, spans: Spans) -> None:
        result = agents.Runner.run_streamed(support(gpt(provider)), plan(f"slow chunks 20ms; {PLAN}"))
        async for event in result.stream_events():
            if event.type == "raw_response_event":
                break
        result.cancel()
        await asyncio.sleep(0.2)
        provider.settle()
        found = spans()
        assert tree(found) == "invoke_agent support INTERNAL\n  chat gpt-4o-mini CLIENT"
        assert failures(found) == {}
        assert not trace.get_current_span().get_span_context().is_valid


class TestWithoutTheSDK:
    """What the framework itself says, where nobody else saw the call."""

    @alone
    @pytest.mark.parametrize("kind", MODELS)
    @pytest.mark.parametrize("way", WAYS)
    async def test_its_usage_is_the_bill(self, way: str, kind: str, provider: OfflineProvider, spans: Spans) -> None:
        with otel_llm.interaction("ask"):
            # Old versions tell nothing of the cache in chat completions.
            script = PLAN if kind == MODELS[1] else f"cache hit 10; {PLAN}"
            config = agents.RunConfig(model_settings=agents.ModelSettings(include_usage=True))
            await WAYS[way](support(gpt(provider, kind)), plan(script), run_config=config)
        found = spans()
        assert tree(found).replace("chat CLIENT", "chat gpt-4o-mini CLIENT") == AGENT
        held_against_bill(found, provider, layer="framework")

    @alone
    async def test_a_model_that_asks_nobody_is_no_call(self, spans: Spans) -> None:
        with agents.trace("quiet"), agents.generation_span(model="none"):
            pass
        assert tree(spans()) == "invoke_workflow quiet INTERNAL"


class TestInstallation:
    @alone
    async def test_their_processors_hear_what_they_heard_without_us(self, provider: OfflineProvider) -> None:
        heard: list[str] = []

        class Theirs(agents.TracingProcessor):
            def on_trace_start(self, trace: Any) -> None: ...
            def on_trace_end(self, trace: Any) -> None: ...
            def on_span_start(self, span: Any) -> None: ...
            def on_span_end(self, span: Any) -> None:
                heard.append(span.span_data.type)

            def shutdown(self) -> None: ...
            def force_flush(self) -> None: ...

        agents.set_trace_processors([Theirs()])
        await run(support(gpt(provider)), plan(PLAN))
        with_us = list(heard)
        OpenAIAgentsInstrumentor().uninstrument()
        heard.clear()
        await run(support(gpt(provider)), plan(PLAN))
        assert sorted(heard) == sorted(with_us)

    def test_it_is_left_as_it_was(self) -> None:
        tracing = agents.tracing
        kinds = (tracing.spans.SpanImpl, tracing.spans.NoOpSpan, tracing.traces.TraceImpl, tracing.traces.NoOpTrace)

        def ours() -> list[Any]:
            methods = [method for kind in kinds for method in cast("Any", vars(kind)).values()]
            return [method for method in methods if hasattr(method, "_self_wrapper")]

        OpenAIAgentsInstrumentor().instrument()
        assert len(ours()) == 10
        OpenAIAgentsInstrumentor().uninstrument()
        assert not ours()
