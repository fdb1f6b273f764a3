"""LangChain and LangGraph: each model call once with the SDK's numbers, in a tree that reads like what happened."""

from __future__ import annotations

import asyncio
import copy
import pickle
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any, cast

import openai
import pytest
from langchain import agents
from langchain_anthropic import ChatAnthropic
from langchain_core.caches import InMemoryCache
from langchain_core.callbacks import AsyncCallbackHandler
from langchain_core.documents import Document
from langchain_core.language_models import FakeListChatModel, FakeListLLM
from langchain_core.messages import HumanMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.outputs import ChatResult
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import RunnableConfig, RunnableLambda, RunnableParallel
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, MessagesState, StateGraph  # pyright: ignore[reportMissingTypeStubs]
from langgraph.prebuilt import ToolNode, tools_condition
from langgraph.types import Command, interrupt
from opentelemetry import context as otel_context
from opentelemetry import trace

import otel_llm
from examples.offline_provider import OfflineProvider
from otel_llm.frameworks import LangChainInstrumentor
from otel_llm.integrations import SDKInstrumentor
from otel_llm_semconv import attributes as A
from tests.conftest import Spans
from tests.frameworks.conftest import held_against_bill, model_calls, said, stories, trace_of, tree

PLAN = (
    '[[offline: turns: tool weather {"city": "Oslo"} + tool clock {"city": "Oslo"} | tool weather {"city": "Bergen"}'
    " | say Done.]]"
)
AGENT = """\
invoke_agent support INTERNAL
  chat gpt-4o-mini CLIENT
  execute_tool clock INTERNAL
  execute_tool weather INTERNAL
  chat gpt-4o-mini CLIENT
  execute_tool weather INTERNAL
  chat gpt-4o-mini CLIENT"""
TRIP = """\
invoke_workflow trip INTERNAL
  plan INTERNAL
    chat gpt-4o-mini CLIENT
  flights INTERNAL
    chat claude-sonnet-4-5 CLIENT
  hotels INTERNAL
    invoke_agent support INTERNAL
      chat gpt-4o-mini CLIENT
  summary INTERNAL
    chat gpt-4o-mini CLIENT"""


@tool
def weather(city: str) -> str:
    """The weather in a city."""
    return f"Rain in {city}."


@tool
def clock(city: str) -> str:
    """The time in a city."""
    return f"Noon in {city}."


@pytest.fixture
def langchain(no_fault: None) -> Iterator[None]:
    """LangChain is instrumented during the test."""
    LangChainInstrumentor().instrument()
    yield
    LangChainInstrumentor().uninstrument()


create_agent: Any = cast("Any", agents).create_agent
LOOP = asyncio.Runner()
"""One loop for all tests: LangChain keeps its HTTP clients for the next."""


def run(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """What it returns."""
    return LOOP.run(coroutine)


@pytest.fixture(scope="module", autouse=True)
def loop() -> Iterator[None]:
    """The loop is closed in the end."""
    with LOOP:
        yield


both = pytest.mark.usefixtures("langchain", "instrumented")
alone = pytest.mark.usefixtures("langchain")


def gpt(provider: OfflineProvider, **settings: Any) -> ChatOpenAI:
    """OpenAI's model at the provider."""
    options: dict[str, Any] = {"model": "gpt-4o-mini", "base_url": provider.openai_url, "api_key": "any", **settings}
    return ChatOpenAI(**options)


def claude(provider: OfflineProvider, **settings: Any) -> ChatAnthropic:
    """Anthropic's model at the provider."""
    options: dict[str, Any] = {"model": "claude-sonnet-4-5", "base_url": provider.url, "api_key": "any", **settings}
    return ChatAnthropic(**options)


def support(provider: OfflineProvider, **settings: Any) -> Any:
    """An agent with two tools."""
    return create_agent(gpt(provider, **settings), [weather, clock], name="support")


def ask(text: str) -> Any:
    """What an agent or a graph is asked."""
    return {"messages": [HumanMessage(text)]}


def trip(provider: OfflineProvider) -> Any:
    """A graph: a plan, two branches at once, a summary."""
    model, other, agent = gpt(provider), claude(provider), support(provider)

    def node(answer: Callable[[Any], Any]) -> Callable[[MessagesState], dict[str, Any]]:
        return lambda state: {"messages": [answer(state["messages"])]}

    graph: Any = StateGraph(MessagesState)
    graph.add_node("plan", node(model.invoke))
    graph.add_node("flights", node(other.invoke))
    graph.add_node("hotels", node(lambda messages: agent.invoke({"messages": messages})["messages"][-1]))
    graph.add_node("summary", node(lambda _: model.invoke("sum up")))
    graph.add_edge(START, "plan")
    graph.add_edge("plan", "flights")
    graph.add_edge("plan", "hotels")
    graph.add_edge(["flights", "hotels"], "summary")
    graph.add_edge("summary", END)
    return graph.compile(name="trip")


def plainly(result: Any) -> Any:
    """What a program sees of a result, without the ids that differ from run to run."""
    if isinstance(result, dict):
        return {name: plainly(value) for name, value in result.items()}  # pyright: ignore[reportUnknownVariableType]
    if isinstance(result, (list, tuple)):
        # Two tools at once are done in any order.
        return sorted(map(plainly, cast("list[Any]", result)), key=repr)
    if hasattr(result, "content"):
        calls = [(call["name"], call["args"]) for call in getattr(result, "tool_calls", ())]
        return type(result).__name__, result.content, calls, getattr(result, "usage_metadata", None)
    return result if isinstance(result, (str, int, float)) else type(result).__name__


async def collected(stream: AsyncIterator[Any]) -> list[Any]:
    """All chunks."""
    return [chunk async for chunk in stream]


WAYS: dict[str, Callable[[Any, Any], Any]] = {
    "invoke": lambda agent, question: agent.invoke(question),
    "ainvoke": lambda agent, question: run(agent.ainvoke(question)),
    "stream": lambda agent, question: list(agent.stream(question)),
    "astream": lambda agent, question: run(collected(agent.astream(question))),
    "batch": lambda agent, question: agent.batch([question]),
    "abatch": lambda agent, question: run(agent.abatch([question])),
}
TOKENS: dict[str, Callable[[Any, Any], Any]] = {
    "stream of tokens": lambda agent, question: list(agent.stream(question, stream_mode="messages")),
    "astream of tokens": lambda agent, question: run(collected(agent.astream(question, stream_mode="messages"))),
    "events": lambda agent, question: run(collected(agent.astream_events(question, version="v2"))),
}


class TestStories:
    @pytest.mark.parametrize("way", WAYS)
    def test_an_agent_is_one_interaction_and_its_result_is_what_it_is_without_us(
        self, way: str, provider: OfflineProvider, spans: Spans, instrumentors: list[SDKInstrumentor], no_fault: None
    ) -> None:
        agent = support(provider)
        without = plainly(WAYS[way](agent, ask(PLAN)))
        provider.clear()
        for instrumentor in (*instrumentors, LangChainInstrumentor()):
            instrumentor.instrument()
        try:
            assert plainly(WAYS[way](agent, ask(PLAN))) == without
        finally:
            for instrumentor in (*instrumentors, LangChainInstrumentor()):
                instrumentor.uninstrument()
        found = spans()
        assert tree(found) == AGENT
        held_against_bill(found, provider)
        assert len({said(span, A.OTEL_LLM_INTERACTION_ID) for span in found}) == 1
        root = next(span for span in found if span.parent is None)
        assert said(root, A.OTEL_LLM_INTERACTION_CALLS) == 3
        assert {said(span, A.GEN_AI_AGENT_NAME) for span in found} == {"support"}

    @both
    @pytest.mark.parametrize("way", TOKENS)
    def test_streamed_tokens_have_their_usage_at_any_base_url(
        self, way: str, provider: OfflineProvider, spans: Spans
    ) -> None:
        assert TOKENS[way](support(provider), ask(PLAN))
        found = spans()
        assert tree(found) == AGENT
        held_against_bill(found, provider)
        assert all(said(call, A.GEN_AI_REQUEST_STREAM) for call in model_calls(found))

    @both
    @pytest.mark.parametrize("way", WAYS)
    def test_a_graph_tells_its_nodes_and_branches(self, way: str, provider: OfflineProvider, spans: Spans) -> None:
        WAYS[way](trip(provider), ask("to Oslo"))
        found = spans()
        assert tree(found) == TRIP
        held_against_bill(found, provider)

    @both
    def test_retries_are_attempts_of_one_call(self, provider: OfflineProvider, spans: Spans) -> None:
        support(provider).invoke(ask(PLAN.replace("turns", "429 once; turns")))
        found = spans()
        assert tree(found) == AGENT
        held_against_bill(found, provider)
        assert [said(call, A.OTEL_LLM_ATTEMPTS) for call in model_calls(found)] == [2, 2, 2]

    @both
    def test_tools_and_agents_have_their_names(self, provider: OfflineProvider, spans: Spans) -> None:
        support(provider).invoke(ask(PLAN), {"configurable": {"thread_id": "t-1"}})
        found = spans()
        root = next(span for span in found if span.parent is None)
        assert said(root, A.GEN_AI_OPERATION_NAME) == "invoke_agent"
        assert said(root, A.GEN_AI_CONVERSATION_ID) == "t-1"
        tools = [span for span in found if said(span, A.GEN_AI_OPERATION_NAME) == "execute_tool"]
        assert sorted(said(span, A.GEN_AI_TOOL_NAME) for span in tools) == ["clock", "weather", "weather"]
        assert {said(span, A.GEN_AI_TOOL_TYPE) for span in tools} == {"function"}
        assert all(said(span, A.GEN_AI_TOOL_CALL_ID).startswith("call_") for span in tools)

    @both
    def test_plumbing_is_silent_and_a_class_is_no_name(self, provider: OfflineProvider, spans: Spans) -> None:
        prompt = ChatPromptTemplate.from_messages([("user", "{topic}")])
        chain: Any = prompt | gpt(provider) | StrOutputParser() | RunnableLambda(lambda text: f"<{text}>")
        chain.invoke({"topic": "tea"})
        assert tree(spans()) == "invoke_workflow INTERNAL\n  chat gpt-4o-mini CLIENT"

    @both
    def test_the_usual_nodes_of_a_loop_are_no_steps(self, provider: OfflineProvider, spans: Spans) -> None:
        model = cast("Any", gpt(provider)).bind_tools([clock])

        def agent(state: MessagesState) -> Any:
            return {"messages": [model.invoke(state["messages"])]}

        graph: Any = StateGraph(MessagesState)
        graph.add_node("agent", agent)
        graph.add_node("tools", ToolNode([clock]))
        graph.add_edge(START, "agent")
        graph.add_conditional_edges("agent", tools_condition)
        graph.add_edge("tools", "agent")
        graph.compile(name="loop").invoke(ask('[[offline: tool clock {"city": "Oslo"}]]'))
        assert tree(spans()) == (
            "invoke_workflow loop INTERNAL\n"
            "  chat gpt-4o-mini CLIENT\n"
            "  execute_tool clock INTERNAL\n"
            "  chat gpt-4o-mini CLIENT"
        )

    @both
    def test_branches_of_a_chain_stay_apart(self, provider: OfflineProvider, spans: Spans) -> None:
        both_models = RunnableParallel(a=gpt(provider), b=claude(provider)).with_config(run_name="compare")
        both_models.invoke("tea")
        run(both_models.ainvoke("tea"))
        found = spans()
        assert (
            stories(found)
            == ["invoke_workflow compare INTERNAL\n  chat claude-sonnet-4-5 CLIENT\n  chat gpt-4o-mini CLIENT"] * 2
        )
        held_against_bill(found, provider)

    @both
    def test_a_prompt_or_a_model_alone_is_no_workflow(self, provider: OfflineProvider, spans: Spans) -> None:
        ChatPromptTemplate.from_messages([("user", "{topic}")]).invoke({"topic": "tea"})
        gpt(provider).invoke("tea")
        assert tree(spans()) == "chat gpt-4o-mini CLIENT"

    @both
    def test_a_retriever_is_a_retrieval(self, provider: OfflineProvider, spans: Spans) -> None:
        class Handbook(BaseRetriever):
            def _get_relevant_documents(self, query: str, **_: Any) -> list[Document]:
                return [Document(query)]

        model = gpt(provider)
        chain: Any = Handbook() | RunnableLambda(str) | model
        chain.with_config(run_name="answer").invoke("tea")
        assert tree(spans()) == (
            "invoke_workflow answer INTERNAL\n  retrieval Handbook CLIENT\n  chat gpt-4o-mini CLIENT"
        )


class TestNesting:
    @both
    def test_what_user_code_does_is_inside(self, provider: OfflineProvider, spans: Spans) -> None:
        client = openai.OpenAI(base_url=provider.openai_url, api_key="any")
        tracer = trace.get_tracer("app")

        def direct(_: Any) -> Any:
            with tracer.start_as_current_span("look up"):
                client.embeddings.create(model="text-embedding-3-small", input="tea")
                return gpt(provider).invoke("tea")

        RunnableLambda(direct).with_config(run_name="direct").invoke("tea")
        run(RunnableLambda(direct).with_config(run_name="direct").ainvoke("tea"))
        inside = """\
invoke_workflow direct INTERNAL
  look up INTERNAL
    embeddings text-embedding-3-small CLIENT
    chat gpt-4o-mini CLIENT"""
        assert stories(spans()) == [inside, inside]

    @both
    @pytest.mark.parametrize("way", WAYS)
    def test_an_agent_inside_a_tool_has_calls_of_its_own(
        self, way: str, provider: OfflineProvider, spans: Spans
    ) -> None:
        inner = create_agent(claude(provider), [clock], name="expert")

        @tool
        def expert(question: str) -> str:
            """Ask the expert."""
            # An own list of callbacks takes LangChain's knowledge of the parent away.
            return inner.invoke(ask(question), {"callbacks": []} if question == "cut" else None)["messages"][-1].text

        agent = create_agent(gpt(provider), [expert], name="boss")
        steps = 'tool expert {"question": "why"} | tool expert {"question": "cut"} | say Done.'
        WAYS[way](agent, ask(f"[[offline: turns: {steps}]]"))
        found = spans()
        ask_expert = """\
  execute_tool expert INTERNAL
    invoke_agent expert INTERNAL
      chat claude-sonnet-4-5 CLIENT
  chat gpt-4o-mini CLIENT"""
        assert tree(found) == f"invoke_agent boss INTERNAL\n  chat gpt-4o-mini CLIENT\n{ask_expert}\n{ask_expert}"
        held_against_bill(found, provider)
        names = {(span.name, said(span, A.GEN_AI_AGENT_NAME)) for span in model_calls(found)}
        assert names == {("chat gpt-4o-mini", "boss"), ("chat claude-sonnet-4-5", "expert")}

    @both
    def test_nothing_is_inherited_by_what_comes_after(self, provider: OfflineProvider, spans: Spans) -> None:
        agent, client = support(provider), openai.AsyncOpenAI(base_url=provider.openai_url, api_key="any")

        async def main() -> None:
            for _ in range(2):
                await agent.ainvoke(ask("one"))
                assert not trace.get_current_span().get_span_context().is_valid
            await client.embeddings.create(model="text-embedding-3-small", input="tea")

        run(main())
        agent.invoke(ask("two"))
        assert not trace.get_current_span().get_span_context().is_valid
        assert otel_context.get_current() == {}
        alone = "invoke_agent support INTERNAL\n  chat gpt-4o-mini CLIENT"
        assert sorted(stories(spans())) == ["embeddings text-embedding-3-small CLIENT", alone, alone, alone]

    @both
    def test_code_between_the_steps_of_a_stream_is_outside(self, provider: OfflineProvider, spans: Spans) -> None:
        agent = support(provider)
        for _ in zip(agent.stream(ask(PLAN)), agent.stream(ask(PLAN)), strict=True):
            assert not trace.get_current_span().get_span_context().is_valid
        with closing(agent.stream(ask(PLAN))) as unfinished:
            next(unfinished)
            agent.invoke(ask(PLAN))

        async def main() -> None:
            async for _ in agent.astream(ask(PLAN)):
                assert not trace.get_current_span().get_span_context().is_valid
                break
            await agent.ainvoke(ask(PLAN))

        run(main())
        found = spans()
        told = stories(found)
        assert told.count(AGENT) == 4
        assert len(told) == 6
        held_against_bill(found, provider)

    @both
    def test_fifty_agents_at_once_never_mix(self, provider: OfflineProvider, spans: Spans) -> None:
        agent = support(provider)

        async def one(number: int) -> None:
            with otel_llm.interaction("support.answer", user_id=f"u-{number}") as it:
                if number % 2:
                    await agent.ainvoke(ask(PLAN))
                else:
                    await collected(agent.astream(ask(PLAN), stream_mode="messages"))
                assert it.calls == 3

        async def many() -> None:
            await asyncio.gather(*map(one, range(25)))

        def threaded(number: int) -> None:
            with otel_llm.interaction("support.answer", user_id=f"u-{number}") as it:
                agent.invoke(ask(PLAN))
                assert it.calls == 3

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(threaded, range(25, 50)))
        run(many())
        found = spans()
        inside = "support.answer INTERNAL\n" + "\n".join(f"  {line}" for line in AGENT.splitlines())
        assert stories(found) == [inside] * 50
        held_against_bill(found, provider)
        users = {(trace_of(span), said(span, A.USER_ID)) for span in found}
        assert len(users) == 50
        assert not trace.get_current_span().get_span_context().is_valid


class TestErrors:
    @both
    @pytest.mark.parametrize("way", WAYS)
    def test_a_failing_tool_fails_what_it_is_in(self, way: str, provider: OfflineProvider, spans: Spans) -> None:
        @tool
        def broken(city: str) -> str:
            """Fails."""
            raise LookupError(city)

        agent = create_agent(gpt(provider), [broken], name="support")
        with pytest.raises(LookupError, match="Oslo"):
            WAYS[way](agent, ask('[[offline: tool broken {"city": "Oslo"}]]'))
        failed = {span.name: said(span, A.ERROR_TYPE) for span in spans() if not span.status.is_ok}
        assert failed == {"execute_tool broken": "LookupError", "invoke_agent support": "LookupError"}

    @both
    def test_a_failing_model_is_one_call(self, provider: OfflineProvider, spans: Spans) -> None:
        with pytest.raises(openai.InternalServerError):
            support(provider, max_retries=1).invoke(ask("[[offline: 500]]"))
        found = spans()
        assert tree(found) == "invoke_agent support INTERNAL\n  chat gpt-4o-mini CLIENT"
        (call,) = model_calls(found)
        assert said(call, A.ERROR_TYPE) == "openai.InternalServerError"
        assert [said(call, A.OTEL_LLM_ATTEMPTS) for call in model_calls(found)] == [2]

    @both
    @pytest.mark.parametrize("way", ["invoke", "ainvoke"])
    def test_a_question_to_a_human_is_no_error(self, way: str, provider: OfflineProvider, spans: Spans) -> None:
        def approve(_: MessagesState) -> Any:
            return {"messages": [gpt(provider).invoke(interrupt("sure?"))]}

        graph: Any = StateGraph(MessagesState)
        graph.add_node("approve", approve)
        graph.add_edge(START, "approve")
        approval = graph.compile(name="approval", checkpointer=InMemorySaver())
        config = {"configurable": {"thread_id": "t-1"}}
        for question in (ask("hm"), Command(resume="yes")):
            result: Any = approval.invoke(question, config)
            if way == "ainvoke":
                result = run(approval.ainvoke(None, config))
        assert result["messages"]
        found = spans()
        assert all(span.status.is_ok for span in found if span.name != "chat gpt-4o-mini")
        held_against_bill(found, provider)


class TestFrameworkAlone:
    """No SDK beneath is instrumented: LangChain's own numbers count."""

    @pytest.fixture(autouse=True)
    def _untraced(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("ANTHROPIC_OPEN_TELEMETRY", "false")

    @alone
    @pytest.mark.parametrize(
        ("model", "script", "way"),
        [
            (gpt, "tokens in=1000 out=50; cache hit 800; reasoning 20", "invoke"),
            (gpt, "tokens in=1000 out=50; cache hit 800; reasoning 20", "stream of tokens"),
            (gpt, "tokens in=1000 out=50; cache hit 800; reasoning 20; tier priority", "ainvoke"),
            (gpt, "tokens in=1000 out=50; cache hit 800; reasoning 20; tier priority", "astream of tokens"),
            (claude, "tokens in=1000 out=50; cache hit 300; cache write 5m 200; cache write 1h 100", "invoke"),
            (claude, "tokens in=1000 out=50; cache hit 300; cache write 200", "ainvoke"),
            (claude, "tokens in=1000 out=50; cache hit 300; cache write 200", "astream of tokens"),
        ],
    )
    def test_its_usage_is_the_bill(
        self, model: Callable[..., Any], script: str, way: str, provider: OfflineProvider, spans: Spans
    ) -> None:
        agent = create_agent(model(provider, stream_usage=True), [], name="support")
        (WAYS | TOKENS)[way](agent, ask(f"[[offline: {script}]]"))
        found = spans()
        held_against_bill(found, provider, layer="framework")
        (call,) = model_calls(found)
        assert said(call, A.GEN_AI_AGENT_NAME) == "support"
        assert said(call, A.GEN_AI_RESPONSE_FINISH_REASONS) == ("stop",)
        assert said(call, A.OTEL_LLM_COST_STATUS) == "priced"
        assert call.end_time is not None
        assert call.start_time is not None
        assert call.end_time > call.start_time

    @alone
    @pytest.mark.parametrize("way", WAYS)
    def test_the_tree_is_the_same(self, way: str, provider: OfflineProvider, spans: Spans) -> None:
        WAYS[way](support(provider), ask(PLAN))
        found = spans()
        assert tree(found) == AGENT
        held_against_bill(found, provider, layer="framework")

    @alone
    def test_a_failure_is_free_and_an_unknown_usage_is_unknown(self, provider: OfflineProvider, spans: Spans) -> None:
        with pytest.raises(openai.BadRequestError):
            gpt(provider).invoke("[[offline: 400]]")
        list(gpt(provider).stream("tea"))
        failed, unknown = model_calls(spans())
        assert said(failed, A.OTEL_LLM_COST_STATUS) == "free"
        assert said(failed, A.ERROR_TYPE)
        assert said(unknown, A.GEN_AI_USAGE_INPUT_TOKENS) is None
        assert said(unknown, A.OTEL_LLM_COST_NANO_USD) is None

    @alone
    def test_an_answer_from_the_cache_is_no_call(self, provider: OfflineProvider, spans: Spans) -> None:
        model = gpt(provider, cache=InMemoryCache())
        assert model.invoke("tea").content == model.invoke("tea").content
        held_against_bill(spans(), provider, layer="framework")

    @alone
    def test_a_batch_in_one_run_counts_each(self, provider: OfflineProvider, spans: Spans) -> None:
        gpt(provider).generate([[HumanMessage("a")], [HumanMessage("b")]])
        held_against_bill(spans(), provider, layer="framework")

    @both
    def test_a_model_around_a_model_is_one_call(self, provider: OfflineProvider, spans: Spans) -> None:
        class Router(ChatOpenAI):
            def _generate(self, messages: Any, *_: Any, **__: Any) -> Any:
                return ChatResult(generations=gpt(provider).generate([messages]).generations[0])  # pyright: ignore[reportArgumentType]

        options: Any = {"model": "gpt-4o", "base_url": provider.openai_url, "api_key": "any"}
        Router(**options).generate([[HumanMessage("a")], [HumanMessage("b")]])
        held_against_bill(spans(), provider)

    @both
    def test_a_model_that_embeds_on_its_way_is_a_call_still(self, provider: OfflineProvider, spans: Spans) -> None:
        client = openai.OpenAI(base_url=provider.openai_url, api_key="any")

        class InHouse(FakeListChatModel):
            def _call(self, *args: Any, **kwargs: Any) -> str:
                client.embeddings.create(model="text-embedding-3-small", input="tea")
                return super()._call(*args, **kwargs)

        assert InHouse(responses=["water"]).invoke("tea").text == "water"
        assert tree(spans()) == "chat CLIENT\nembeddings text-embedding-3-small CLIENT"


class TestInstallation:
    def test_langchain_is_waited_for_and_left_as_it_was(self) -> None:
        script = """
import sys
from otel_llm.frameworks import LangChainInstrumentor
LangChainInstrumentor().instrument()
assert not [name for name in sys.modules if name.startswith(("langchain", "langgraph"))], "imported by us"
from langchain_core.callbacks import CallbackManager
from langchain_core.callbacks.manager import AsyncCallbackManager
def ours(manager): return [h for h in manager.handlers if type(h).__name__ == "OtelLLMCallbackHandler"]
manager = CallbackManager.configure()
assert len(ours(manager)) == 1 and len(ours(CallbackManager.configure(manager))) == 1
assert manager.inheritable_handlers == manager.handlers
LangChainInstrumentor().uninstrument()
assert not CallbackManager.configure().handlers
assert not hasattr(AsyncCallbackManager.on_llm_start, "__self_wrapper__")
assert type(AsyncCallbackManager.__dict__["on_llm_start"]).__name__ == "function"
LangChainInstrumentor().instrument()
assert len(ours(CallbackManager.configure())) == 1
"""
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr

    @alone
    def test_a_config_can_be_copied_and_pickled(self, spans: Spans) -> None:
        def node(text: str, config: RunnableConfig) -> str:
            for theirs in (copy.copy(config), copy.deepcopy(config), pickle.loads(pickle.dumps(config))):
                FakeListChatModel(responses=["water"]).invoke(text, theirs)
            return text

        RunnableLambda(node).invoke("tea")
        assert tree(spans()) == "invoke_workflow node INTERNAL" + "\n  chat CLIENT" * 3

    @alone
    def test_other_handlers_hear_what_they_heard_without_us(self, spans: Spans) -> None:
        heard: list[str] = []

        class Theirs(AsyncCallbackHandler):
            async def on_llm_start(self, serialized: Any, prompts: list[str], **kwargs: Any) -> None:
                heard.append(prompts[0])

            async def on_llm_end(self, response: Any, **kwargs: Any) -> None:
                heard.append(response.generations[0][0].text)

        model = FakeListLLM(responses=["water"])
        assert run(model.ainvoke("tea", {"callbacks": [Theirs()]})) == "water"
        assert heard == ["tea", "water"]
        assert tree(spans()) == "text_completion CLIENT"
