"""LangGraph as its oldest supported version has it, too: graphs in graphs, branches, interrupts, streams."""
# pyright: reportMissingTypeStubs=false

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from langchain_anthropic import ChatAnthropic
from langchain_core.messages import HumanMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from langgraph.checkpoint.memory import MemorySaver
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode, tools_condition
from langgraph.types import Send

from examples.offline_provider import OfflineProvider
from otel_llm_semconv import attributes as A
from tests.conftest import Spans
from tests.frameworks.conftest import Tell, model_calls, said

PLAN = (
    '[[offline: 429 once; turns: tool weather {"city": "Oslo"} + tool clock {"city": "Oslo"}'
    ' | tool weather {"city": "Bergen"} | say Done.]]'
)
TRIP = """\
ask INTERNAL
  invoke_workflow trip INTERNAL
    support INTERNAL
      chat gpt-4o-mini CLIENT
      execute_tool clock INTERNAL
      execute_tool weather INTERNAL
      chat gpt-4o-mini CLIENT
      execute_tool weather INTERNAL
      chat gpt-4o-mini CLIENT
    check INTERNAL
      chat claude-sonnet-4-5 CLIENT
    check INTERNAL
      chat claude-sonnet-4-5 CLIENT
    book INTERNAL
      chat gpt-4o-mini CLIENT"""


@tool
def weather(city: str) -> str:
    """The weather in a city."""
    return f"Rain in {city}."


@tool
def clock(city: str) -> str:
    """The time in a city."""
    return f"Noon in {city}."


def gpt(provider: OfflineProvider) -> Any:
    model: Any = ChatOpenAI
    return model(model="gpt-4o-mini", base_url=provider.openai_url, api_key="any")


def claude(provider: OfflineProvider) -> Any:
    model: Any = ChatAnthropic
    return model(model="claude-sonnet-4-5", base_url=provider.url, api_key="any")


def loop(provider: OfflineProvider) -> Any:
    """A model and its tools, as the prebuilt agent has them."""
    model = gpt(provider).bind_tools([weather, clock])

    def agent(state: MessagesState) -> Any:
        return {"messages": [model.invoke(state["messages"])]}

    graph: Any = StateGraph(MessagesState)
    graph.add_node("agent", agent)
    graph.add_node("tools", ToolNode([weather, clock]))
    graph.add_edge(START, "agent")
    graph.add_conditional_edges("agent", tools_condition)
    graph.add_edge("tools", "agent")
    return graph.compile()


def trip(provider: OfflineProvider, **options: Any) -> Any:
    """A graph inside, then a branch for each of two cities, then a node that may have to wait."""
    model, other = gpt(provider), claude(provider)

    def check(state: Any) -> Any:
        return {"messages": [other.invoke(f"Is {state['city']} fine?")]}

    def cities(_: Any) -> list[Send]:
        return [Send("check", {"city": "Oslo"}), Send("check", {"city": "Bergen"})]

    def book(_: Any) -> Any:
        return {"messages": [model.invoke("Book.")]}

    graph: Any = StateGraph(MessagesState)
    graph.add_node("support", loop(provider))
    graph.add_node("check", check)
    graph.add_node("book", book)
    graph.add_edge(START, "support")
    graph.add_conditional_edges("support", cities, ["check"])
    graph.add_edge("check", "book")
    graph.add_edge("book", END)
    compiled = graph.compile(**options)
    compiled.name = "trip"
    return compiled


def question() -> Any:
    return {"messages": [HumanMessage(PLAN)]}


def texts(state: Any) -> list[str]:
    return [str(message.content) for message in state["messages"]]


async def streamed(graph: Any) -> int:
    return len([chunk async for chunk in graph.astream(question(), stream_mode="updates", subgraphs=True)])


WAYS: dict[str, Callable[[Any], Any]] = {
    "invoke": lambda graph: sorted(texts(graph.invoke(question()))),
    "stream": lambda graph: len(list(graph.stream(question()))),
    "tokens": lambda graph: "".join(
        sorted(str(chunk.content) for chunk, _ in graph.stream(question(), stream_mode="messages"))
    ),
    "astream of subgraphs": streamed,
}


async def ainvoked(graph: Any) -> list[str]:
    return sorted(texts(await graph.ainvoke(question())))


@pytest.mark.parametrize("way", [*WAYS.values(), ainvoked], ids=[*WAYS, "ainvoke"])
async def test_graphs_in_graphs_and_branches(way: Any, provider: OfflineProvider, tell: Tell, spans: Spans) -> None:
    graph = trip(provider)
    assert await tell(lambda: way(graph)) == TRIP
    attempts = {said(call, A.GEN_AI_REQUEST_MODEL): said(call, A.OTEL_LLM_ATTEMPTS) for call in model_calls(spans())}
    assert attempts["claude-sonnet-4-5"] == 1


async def test_who_is_asked_before_it_goes_on_is_in_one_conversation(
    provider: OfflineProvider, tell: Tell, spans: Spans
) -> None:
    def act() -> list[str]:
        graph = trip(provider, checkpointer=MemorySaver(), interrupt_before=["book"])
        thread: Any = {"configurable": {"thread_id": "t-1"}}
        graph.invoke(question(), thread)
        return sorted(texts(graph.invoke(None, thread)))

    first, _, book = TRIP.rpartition("\n    book")
    assert await tell(act) == f"{first}\n  invoke_workflow trip INTERNAL\n    book{book}"
    runs = [span for span in spans() if said(span, A.GEN_AI_OPERATION_NAME) == "invoke_workflow"]
    assert [said(run, A.GEN_AI_CONVERSATION_ID) for run in runs] == ["t-1", "t-1"]
    assert all(span.status.is_ok for span in spans())
