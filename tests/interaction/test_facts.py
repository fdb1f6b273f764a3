"""What an interaction did, in numbers: steps, tools, agents, and what it did again."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from typing import Any

import anthropic
import openai
import pytest
from opentelemetry import trace

import otel_llm
from examples.offline_provider import OfflineProvider
from otel_llm.call import Call, Cost, Usage
from otel_llm.dialects.anthropic_messages import messages
from otel_llm.dialects.bedrock import converse
from otel_llm.dialects.cohere import chat as cohere
from otel_llm.dialects.gemini import generate
from otel_llm.dialects.ollama import chat as ollama
from otel_llm.dialects.openai_chat import chat
from otel_llm.dialects.openai_responses import responses
from otel_llm.facts import Again, Facts, sent
from otel_llm.interaction import Interaction
from otel_llm.spec import Dialect
from otel_llm_semconv import attributes as A
from tests.conftest import Spans

SEARCHES = (
    "turns: tool search {} + tokens in=1000 out=5 | tool search {} + tokens in=2000 out=5 "
    "| say Done. + tokens in=3000 out=5"
)


TOOLS: Any = [{"type": "function", "function": {"name": "search", "parameters": {"type": "object"}}}]


def call(start: int, end: int, **known: Any) -> Call:
    return Call("chat", "openai", started_ns=start, duration_ns=end - start, **known)


def of(*calls: Call) -> Facts:
    """The facts of these calls, in the order of their ends."""
    facts = Facts()
    for each in sorted(calls, key=lambda each: each.started_ns + each.duration_ns):
        facts.add(each, Again())
        facts.pay(each)
    return facts


def root(spans: Spans, name: str = "agent") -> Mapping[str, Any]:
    (found,) = [span for span in spans() if span.name == name]
    return found.attributes or {}


# Steps


@pytest.mark.parametrize(
    ("calls", "steps", "fan_out"),
    [
        ([(0, 10)], 1, 1),
        ([(0, 10), (10, 20), (25, 30)], 3, 1),
        ([(0, 10), (1, 11), (2, 12)], 1, 3),
        ([(0, 10), (11, 20), (12, 21), (13, 22), (30, 40)], 3, 3),
        ([(0, 100), (1, 5), (6, 10), (11, 15)], 3, 2),
        ([(0, 10), (0, 20), (11, 19), (21, 30)], 3, 2),
    ],
)
def test_calls_that_ran_at_once_are_one_step(calls: list[tuple[int, int]], steps: int, fan_out: int) -> None:
    facts = of(*(call(*times) for times in calls))
    assert (facts.steps, facts.fan_out) == (steps, fan_out)


def test_steps_are_the_longest_chain() -> None:
    chance = random.Random(7)
    for _ in range(100):
        calls = [call(start, start + chance.randint(1, 30)) for start in (chance.randint(0, 100) for _ in range(12))]
        longest: dict[int, int] = {}
        for each in sorted(calls, key=lambda each: each.started_ns):
            before = [longest[id(c)] for c in calls if c.started_ns + c.duration_ns <= each.started_ns]
            longest[id(each)] = 1 + max(before, default=0)
        assert of(*calls).steps == max(longest.values())


def test_retries_and_what_came_to_nothing() -> None:
    def priced(**known: Any) -> Call:
        return call(0, 1, cost=Cost("priced", nano_usd=5), **known)

    facts = of(
        priced(attempts=3),
        priced(stream_outcome="completed"),
        priced(stream_outcome="aborted"),
        priced(error_type="x"),
        call(0, 1, stream_outcome="abandoned"),
    )
    assert (facts.retries, facts.wasted_nano_usd) == (2, 10)


# Tools


def loop(client: openai.OpenAI, said: list[Any], script: str, tracer: trace.Tracer | None = None) -> None:
    """An agent by hand: until the model asks for no tool."""
    said.append({"role": "user", "content": f"Find the lamp. [[offline: {script}]]"})
    while True:
        answer: Any = client.chat.completions.create(model="gpt-4o-mini", messages=said, tools=TOOLS)
        message = answer.choices[0].message
        if not message.tool_calls:
            return
        said.append(message.model_dump(exclude_none=True))
        for asked in message.tool_calls:
            if tracer is not None:
                with tracer.start_as_current_span(
                    "execute_tool search",
                    attributes={A.GEN_AI_OPERATION_NAME: "execute_tool", A.GEN_AI_TOOL_NAME: "search"},
                ):
                    pass
            said.append({"role": "tool", "tool_call_id": asked.id, "content": "A lamp."})


@pytest.fixture
def client(provider: OfflineProvider) -> openai.OpenAI:
    return openai.OpenAI(base_url=provider.openai_url, api_key="offline")


@pytest.mark.usefixtures("instrumented", "no_fault")
@pytest.mark.parametrize("framework", [False, True], ids=["by hand", "a framework"])
def test_an_agent_that_goes_round_in_circles(framework: bool, client: openai.OpenAI, spans: Spans) -> None:
    with otel_llm.interaction("agent"):
        loop(client, [], SEARCHES, trace.get_tracer("framework") if framework else None)
    facts = root(spans)
    assert facts[A.OTEL_LLM_INTERACTION_STEPS] == 3
    assert facts[A.OTEL_LLM_INTERACTION_FAN_OUT] == 1
    assert facts[A.OTEL_LLM_INTERACTION_TOOL_CALLS] == 2, "each is counted once, whoever tells of it"
    assert facts[A.OTEL_LLM_INTERACTION_LOOPS] == 1
    assert facts[A.OTEL_LLM_INTERACTION_LOOPING_TOOLS] == ("search",)
    # All but the answer and the result of the last tool.
    assert 0.5 < facts[A.OTEL_LLM_INTERACTION_RESENT_INPUT_TOKENS] / 6000 < 5 / 6
    assert A.OTEL_LLM_INTERACTION_RETRIES not in facts
    assert A.OTEL_LLM_INTERACTION_COST_WASTED not in facts


@pytest.mark.usefixtures("instrumented", "no_fault")
def test_history_is_of_other_interactions(client: openai.OpenAI, spans: Spans) -> None:
    said: list[Any] = []
    with otel_llm.interaction("earlier"):
        loop(client, said, SEARCHES)
    said.append({"role": "assistant", "content": "Here it is."})
    with otel_llm.interaction("agent"):
        loop(client, said, "say Gladly.")
        loop(client, said, "say Always.")
    facts = root(spans)
    assert (facts[A.OTEL_LLM_INTERACTION_CALLS], facts[A.OTEL_LLM_INTERACTION_STEPS]) == (2, 2)
    assert A.OTEL_LLM_INTERACTION_TOOL_CALLS not in facts
    assert facts[A.OTEL_LLM_INTERACTION_RESENT_INPUT_TOKENS] > 0


@pytest.mark.usefixtures("instrumented", "no_fault")
def test_what_is_nested_is_in_the_facts_around_it(client: openai.OpenAI, spans: Spans) -> None:
    with otel_llm.interaction("agent"):
        loop(client, [], "429 once; say Hello.")
        with otel_llm.interaction("inner"):
            loop(client, [], SEARCHES)
    outer, inner = root(spans), root(spans, "inner")
    assert (outer[A.OTEL_LLM_INTERACTION_STEPS], inner[A.OTEL_LLM_INTERACTION_STEPS]) == (4, 3)
    assert outer[A.OTEL_LLM_INTERACTION_RETRIES] == 1
    for name in (
        A.OTEL_LLM_INTERACTION_TOOL_CALLS,
        A.OTEL_LLM_INTERACTION_LOOPS,
        A.OTEL_LLM_INTERACTION_RESENT_INPUT_TOKENS,
    ):
        assert outer[name] == inner[name] > 0


@pytest.mark.usefixtures("instrumented", "no_fault")
def test_where_the_cache_ends_is_no_news(provider: OfflineProvider, spans: Spans) -> None:
    client = anthropic.Anthropic(base_url=provider.url, api_key="offline")
    said: list[Any] = []
    with otel_llm.interaction("agent"):
        for text in ("one", "two", "three"):
            for turn in said:
                turn["content"][0].pop("cache_control", None)
            block = {"type": "text", "text": text * 100, "cache_control": {"type": "ephemeral"}}
            said.append({"role": "user", "content": [block]})
            client.messages.create(model="claude-haiku-4-5", max_tokens=9, system="Be brief.", messages=said)
            said.append({"role": "assistant", "content": [{"type": "text", "text": "Yes."}]})
    facts = root(spans)
    assert facts[A.OTEL_LLM_INTERACTION_RESENT_INPUT_TOKENS] > 0.4 * facts[A.OTEL_LLM_INTERACTION_INPUT_TOKENS]


ASKS: dict[str, tuple[Dialect, str, Any]] = {
    "chat": (
        chat,
        "messages",
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "find", "arguments": '{"a": 1}'}}],
        },
    ),
    "responses": (
        responses,
        "input",
        {"type": "function_call", "call_id": "c1", "name": "find", "arguments": '{"a": 1}'},
    ),
    "anthropic": (
        messages,
        "messages",
        {"role": "assistant", "content": [{"type": "tool_use", "id": "c1", "name": "find", "input": {"a": 1}}]},
    ),
    "gemini": (
        generate,
        "contents",
        {"role": "model", "parts": [{"functionCall": {"name": "find", "args": {"a": 1}}}]},
    ),
    "bedrock": (
        converse,
        "messages",
        {"role": "assistant", "content": [{"toolUse": {"toolUseId": "c1", "name": "find", "input": {"a": 1}}}]},
    ),
    "cohere": (
        cohere,
        "messages",
        {
            "role": "assistant",
            "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "find", "arguments": '{"a": 1}'}}],
        },
    ),
    "ollama": (
        ollama,
        "messages",
        {"role": "assistant", "tool_calls": [{"function": {"name": "find", "arguments": {"a": 1}}}]},
    ),
}


@pytest.mark.parametrize(("dialect", "place", "asks"), ASKS.values(), ids=list(ASKS))
def test_every_wire_format_tells_of_tool_calls(dialect: Dialect, place: str, asks: Any) -> None:
    question = {"role": "user", "content": "Find it."}
    facts = Facts()
    for number, turns in enumerate(([question], [question, asks], [question, asks, asks], [question, asks, asks])):
        assert dialect.content is not None
        read = sent({place: json.loads(json.dumps(turns))}, dialect.content, facts)
        done = call(10 * number, 10 * number + 9)
        facts.add(done, facts.recognize(done, read))
    # Where tool calls have ids, the same id is the same call.
    again = dialect in (generate, ollama)
    assert (facts.tool_calls, facts.loops) == ((2, 1) if again else (1, 0))


def test_a_picture_weighs_nothing() -> None:
    assert chat.content is not None
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 10_000}}
    said = {"role": "user", "content": [{"type": "text", "text": "What is it?"}, picture]}
    read = sent({"messages": [said, {"role": "user", "content": "x" * 100}]}, chat.content, Facts())
    assert read is not None
    assert [length for _, length in read.prefixes] == [pytest.approx(40, abs=20), pytest.approx(140, abs=20)]


@pytest.mark.parametrize(
    "body", [{}, {"messages": None}, {"messages": iter(["once"])}, {"messages": 7}, {"input": []}, {"model": "m"}]
)
def test_what_is_no_message_is_left_alone(body: dict[str, Any]) -> None:
    assert chat.content is not None
    assert sent(body, chat.content, Facts()) is None


# Agents


@pytest.mark.usefixtures("no_fault")
def test_depth_is_that_of_agents_in_agents(spans: Spans) -> None:
    tracer = trace.get_tracer("framework")

    def agent(name: str) -> Any:
        said = {A.GEN_AI_OPERATION_NAME: "invoke_agent"}
        return tracer.start_as_current_span(f"invoke_agent {name}", attributes=said)

    with otel_llm.interaction("agent"):
        for name in ("one", "two"):
            with agent(name), tracer.start_as_current_span("step"), agent("inside"):
                pass
    assert root(spans)[A.OTEL_LLM_INTERACTION_DEPTH] == 2


# Bounds, and what must never happen


def test_memory_has_a_bound() -> None:
    assert chat.content is not None
    facts = Facts()
    for number in range(3_000):
        said = [{"role": "user", "content": f"{number}-{part}"} for part in range(10)]
        read = sent({"messages": said}, chat.content, facts)
        done = call(10 * number, 10 * number + 9)
        facts.add(done, facts.recognize(done, read))
        facts.tool_began(f"tool {number}")
    assert (facts.steps, facts.tool_calls) == (3_000, 3_000)
    kept: list[Any] = [getattr(facts, name) for name in Facts.__slots__]
    assert sum(len(found) for found in kept if hasattr(found, "__len__")) < 12_000


def test_no_word_is_kept() -> None:
    assert chat.content is not None
    facts = Facts()
    for number in range(2):
        said = [{"role": "user", "content": "a secret"}, ASKS["chat"][2]]
        read = sent({"messages": said[: number + 1]}, chat.content, facts)
        done = call(10 * number, 10 * number + 9)
        facts.add(done, facts.recognize(done, read))
        assert "secret" not in repr(read)
    assert "secret" not in repr([getattr(facts, name) for name in Facts.__slots__])
    assert facts.tool_calls == 1


def test_facts_never_change_money(monkeypatch: pytest.MonkeyPatch) -> None:
    chance = random.Random(11)

    def bills() -> list[dict[str, Any]]:
        chance.seed(11)
        outer = Interaction("outer")
        inner = Interaction("inner", parent=outer)
        for number in range(50):
            usage = Usage(input=chance.randint(0, 1000), output=chance.randint(0, 9))
            cost = Cost("priced", nano_usd=chance.randint(0, 10**9)) if chance.random() < 0.9 else None
            done = call(number, number + chance.randint(1, 9), usage=usage, cost=cost, attempts=chance.randint(1, 3))
            assert chat.content is not None
            turns = [{"role": "user", "content": "x" * part} for part in range(chance.randint(1, 9))]
            it = chance.choice((outer, inner))
            it.ended(done, sent({"messages": turns}, chat.content, it.facts))
            it.add(done, trace.INVALID_SPAN)
        return [it.bill() for it in (outer, inner)]

    known = bills()
    whole = {name for bill in known for name in bill if name.startswith("otel_llm.interaction.")}
    assert A.OTEL_LLM_INTERACTION_RESENT_INPUT_TOKENS in whole

    def broken(*_: Any) -> Any:
        raise RuntimeError("a fault in the facts")

    monkeypatch.setattr(Facts, "recognize", broken)
    monkeypatch.setattr(Facts, "add", broken)
    for bill, other in zip(bills(), known, strict=True):
        assert bill == {name: other[name] for name in bill}
        assert A.OTEL_LLM_INTERACTION_COST_AMOUNT in bill
        assert A.OTEL_LLM_INTERACTION_STEPS not in bill
