"""claude-agent-sdk: turns, tools and subagents of the process it drives as a tree, and what they cost, once."""
# ruff: noqa: E402

from __future__ import annotations

import asyncio
import json
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

sdk: Any = pytest.importorskip("claude_agent_sdk", reason="claude-agent-sdk has an environment of its own")

import openai
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import StatusCode

import otel_llm
from examples.offline_provider import OfflineProvider
from otel_llm.frameworks import FrameworkInstrumentor
from otel_llm.integrations import SDKInstrumentor
from otel_llm_semconv import attributes as A
from tests.conftest import Spans
from tests.frameworks import fake_claude
from tests.frameworks.conftest import Books, Tell, model_calls, said, stories, tree

Steps = list[dict[str, Any]]

HAIKU = "claude-haiku-4-5"
WORK: Steps = [
    {
        "call": {
            "in": 10,
            "out": 200,
            "write": 3000,
            "use": [{"id": "t1", "name": "Read"}, {"id": "t2", "name": "Bash"}],
        }
    },
    {"done": {"id": "t2"}},
    {"done": {"id": "t1"}},
    {"call": {"hidden": True, "model": HAIKU, "in": 90, "out": 7}},
    {"call": {"in": 12, "out": 300, "read": 3000, "write": 400, "use": [{"id": "t3", "name": "Read"}]}},
    {"done": {"id": "t3"}},
    {"call": {"in": 14, "out": 50, "read": 3400}},
    {"result": {}},
]
AGENT = """\
ask INTERNAL
  invoke_agent INTERNAL
    chat claude-haiku-4-5 CLIENT
    chat claude-sonnet-4-5 CLIENT
    execute_tool Bash INTERNAL
    execute_tool Read INTERNAL
    execute_tool Read INTERNAL"""
TURN: Steps = [{"call": {"in": 10, "out": 20, "write": 3000}}, {"result": {}}]
TEAM: Steps = [
    {"call": {"in": 5, "out": 6, "use": [{"id": "t1", "name": "Task", "input": {"subagent_type": "reviewer"}}]}},
    {"call": {"model": HAIKU, "in": 7, "out": 8, "agent": "t1", "use": [{"id": "t2", "name": "Grep"}]}},
    {"done": {"id": "t2", "agent": "t1"}},
    {"call": {"model": HAIKU, "in": 9, "out": 10, "agent": "t1"}},
    {"done": {"id": "t1"}},
    *TURN,
]
SERVED: Steps = [
    {"call": {"in": 5, "out": 6, "use": [{"id": "t1", "name": "mcp__here__look_up", "input": {"word": "tea"}}]}},
    {"permit": {"name": "mcp__here__look_up"}},
    {"serve": {"server": "here", "name": "look_up", "arguments": {"word": "tea"}}},
    {"done": {"id": "t1"}},
    *TURN,
]


@pytest.fixture
def bill(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A `claude` on the path that asks no model, and the file of its bill."""
    script = tmp_path / "claude"
    script.write_text(f'#!/bin/sh\nexec {sys.executable} -S {fake_claude.__file__} "$@"\n')
    script.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setenv("FAKE_CLAUDE_BILL", str(tmp_path / "bill"))
    return tmp_path / "bill"


@pytest.fixture
def at_work(no_fault: None, instrumentors: list[SDKInstrumentor]) -> Iterator[None]:
    """All adapters are at work during the test."""
    every = [*instrumentors, *(kind() for kind in FrameworkInstrumentor.__subclasses__())]
    for instrumentor in every:
        instrumentor.instrument()
    yield
    for instrumentor in every:
        instrumentor.uninstrument()


class _Process:
    def __init__(self, bill: Path) -> None:
        self._bill = bill

    def clear(self) -> None:
        self._bill.unlink()

    def hold(self, spans: Sequence[ReadableSpan]) -> int:
        held_against(spans, self._bill)
        return len(model_calls(spans))


@pytest.fixture
def books(bill: Path) -> Books:
    """Those of the process."""
    return _Process(bill)


def held_against(found: Sequence[ReadableSpan], bill: Path) -> None:
    """What was charged is there once, model by model, and nothing else has any of it."""
    ours: Counter[tuple[str, str]] = Counter()
    theirs: Counter[tuple[str, str]] = Counter()
    calls = model_calls(found)
    names = {
        "in": A.OTEL_LLM_USAGE_INPUT,
        "out": A.OTEL_LLM_USAGE_OUTPUT,
        "read": A.GEN_AI_USAGE_CACHE_READ_INPUT_TOKENS,
        "write": A.GEN_AI_USAGE_CACHE_WRITE_INPUT_TOKENS,
        "nano_usd": A.OTEL_LLM_COST_NANO_USD,
    }
    for call in calls:
        assert said(call, A.OTEL_LLM_LAYER) == "framework"
        assert said(call, A.GEN_AI_USAGE_COST_SOURCE) == "provider"
        for name, attribute in names.items():
            ours[said(call, A.GEN_AI_REQUEST_MODEL), name] += said(call, attribute) or 0
    for charged in map(json.loads, bill.read_text().splitlines()):
        for name, number in zip(("in", "out", "read", "write"), charged["counts"], strict=True):
            theirs[charged["model"], name] += number
        theirs[charged["model"], "nano_usd"] += round(charged["micro_usd"] * 1000)
    assert ours == theirs
    for span in found:
        assert span in calls or not [name for name in span.attributes or {} if name.startswith("gen_ai.usage.")]


def is_inside() -> bool:
    """Whether a span of ours is current where the caller steps through an agent's messages."""
    scope = getattr(trace.get_current_span(), "instrumentation_scope", None)
    return scope is not None and scope.name == "otel_llm.claude_agent_sdk"


async def ask(steps: Steps, **options: Any) -> list[str]:
    """The messages of a question."""
    kinds: list[str] = []
    async for message in sdk.query(prompt=json.dumps(steps), options=sdk.ClaudeAgentOptions(**options)):
        assert not is_inside()
        kinds.append(repr(message))
    return kinds


async def streamed(steps: Steps, **options: Any) -> list[str]:
    """The same, where the question comes as a stream."""

    over = asyncio.Event()

    async def questions() -> Any:
        yield {"type": "user", "message": {"role": "user", "content": json.dumps(steps)}, "session_id": "s-1"}
        await over.wait()  # old versions hang up when there are no more

    kinds: list[str] = []
    async for message in sdk.query(prompt=questions(), options=sdk.ClaudeAgentOptions(**options)):
        kinds.append(repr(message))
        if isinstance(message, sdk.ResultMessage):
            over.set()
    return kinds


async def talk(*turns: Steps, **options: Any) -> list[str]:
    """The messages of a conversation."""
    kinds: list[str] = []
    async with sdk.ClaudeSDKClient(sdk.ClaudeAgentOptions(**options)) as client:
        for steps in turns:
            await client.query(json.dumps(steps))
            async for message in client.receive_response():
                assert not is_inside()
                kinds.append(repr(message))
    return kinds


def failures(found: Sequence[ReadableSpan]) -> dict[str, str]:
    """The spans that failed, and how."""
    failed = {span.name: said(span, A.ERROR_TYPE) for span in found if said(span, A.ERROR_TYPE)}
    assert set(failed) == {span.name for span in found if span.status.status_code is StatusCode.ERROR}
    return failed


class TestStories:
    @pytest.mark.parametrize("way", [ask, streamed, talk])
    async def test_a_turn_with_tools_at_once(self, way: Callable[..., Awaitable[Any]], tell: Tell) -> None:
        assert await tell(lambda: way(WORK)) == AGENT

    async def test_every_turn_of_a_conversation_counts_what_is_new(self, tell: Tell) -> None:
        turn = AGENT.removeprefix("ask INTERNAL\n")
        plain = "  invoke_agent INTERNAL\n    chat claude-sonnet-4-5 CLIENT"
        # Old versions do not know the message.
        forget: Steps = [{"forget": {}}] if hasattr(sdk, "ConversationResetMessage") else []
        story = await tell(lambda: talk(TURN, WORK, [*forget, *TURN], TURN))
        assert sorted(story.split("\n  invoke")) == sorted(
            f"ask INTERNAL\n{turn}\n{plain}\n{plain}\n{plain}".split("\n  invoke")
        )

    @pytest.mark.parametrize("way", [ask, talk])
    async def test_a_subagent_is_inside_of_the_tool_that_runs_it(
        self, way: Callable[..., Awaitable[Any]], tell: Tell
    ) -> None:
        assert await tell(lambda: way(TEAM)) == (
            "ask INTERNAL\n"
            "  invoke_agent INTERNAL\n"
            "    chat claude-haiku-4-5 CLIENT\n"
            "    chat claude-sonnet-4-5 CLIENT\n"
            "    execute_tool Task INTERNAL\n"
            "      invoke_agent reviewer INTERNAL\n"
            "        execute_tool Grep INTERNAL"
        )

    @pytest.mark.usefixtures("at_work")
    async def test_names_and_identity(self, bill: Path, spans: Spans) -> None:
        await talk(WORK)
        found = spans()
        assert {said(span, A.GEN_AI_CONVERSATION_ID) for span in model_calls(found)} == {"s-1"}
        (agent,) = (span for span in found if said(span, A.GEN_AI_OPERATION_NAME) == "invoke_agent")
        assert said(agent, A.GEN_AI_CONVERSATION_ID) == "s-1"
        tools = {said(span, A.GEN_AI_TOOL_CALL_ID): said(span, A.GEN_AI_TOOL_NAME) for span in found}
        assert tools == {None: None, "t1": "Read", "t2": "Bash", "t3": "Read"}

    @pytest.mark.usefixtures("at_work")
    async def test_conversations_at_once_never_mix(self, bill: Path, spans: Spans) -> None:
        async def one(number: int) -> None:
            with otel_llm.interaction("ask", user_id=f"u-{number}"):
                await (talk if number % 2 else ask)(WORK)

        await asyncio.gather(*map(one, range(4)))
        found = spans()
        assert stories(found) == [AGENT] * 4
        held_against(found, bill)


class TestServers:
    """Tools that the process asks this one for."""

    @pytest.mark.usefixtures("at_work")
    @pytest.mark.parametrize("way", [streamed, talk])
    async def test_what_a_tool_does_here_is_inside_of_it(
        self, way: Callable[..., Awaitable[Any]], bill: Path, provider: OfflineProvider, spans: Spans
    ) -> None:
        unverified = openai.DefaultAsyncHttpxClient(verify=False)
        client = openai.AsyncOpenAI(base_url=provider.openai_url, api_key="any", http_client=unverified)

        async def call() -> None:
            await client.responses.create(model="gpt-4o-mini", input="tea")

        @sdk.tool("look_up", "Looks a word up.", {"word": str})
        async def look_up(arguments: Any) -> Any:
            await call()
            return {"content": [{"type": "text", "text": arguments["word"]}]}

        async def permit(*_: Any) -> Any:
            await call()
            return sdk.PermissionResultAllow()

        servers = {"here": sdk.create_sdk_mcp_server("here", tools=[look_up])}
        with otel_llm.interaction("ask") as it:
            await way(SERVED, mcp_servers=servers, can_use_tool=permit)
        found = spans()
        # What the server says itself depends on the version of mcp.
        lines = [line for line in tree(found).splitlines() if not line.endswith("SERVER")]
        served = len([span for span in found if span.name == "tools/call look_up"])
        assert [(line.count("  "), line.strip()) for line in lines] == [
            (0, "ask INTERNAL"),
            (1, "invoke_agent INTERNAL"),
            (2, "chat claude-sonnet-4-5 CLIENT"),
            (2, "chat gpt-4o-mini CLIENT"),
            (2, "execute_tool mcp__here__look_up INTERNAL"),
            (3 + served, "chat gpt-4o-mini CLIENT"),
        ]
        assert it.calls == 3


class TestFailures:
    @pytest.mark.usefixtures("at_work")
    async def test_a_tool_fails(self, bill: Path, spans: Spans) -> None:
        steps = [{"call": {"in": 1, "use": [{"id": "t1", "name": "Bash"}]}}, {"done": {"id": "t1", "error": True}}]
        await ask([*steps, *TURN])
        assert failures(spans()) == {"execute_tool Bash": "tool_error"}

    @pytest.mark.usefixtures("at_work")
    async def test_a_turn_fails_and_is_paid(self, bill: Path, spans: Spans) -> None:
        await talk([TURN[0], {"result": {"is_error": True, "subtype": "error_max_turns"}}])
        found = spans()
        assert failures(found) == {"invoke_agent": "error_max_turns"}
        held_against(found, bill)

    @pytest.mark.usefixtures("at_work")
    @pytest.mark.parametrize("way", [ask, talk])
    async def test_the_process_dies_and_what_is_known_counts(
        self, way: Callable[..., Awaitable[Any]], bill: Path, spans: Spans
    ) -> None:
        with pytest.raises(Exception, match="exit code 1"):
            await way([*WORK[:2], {"exit": 1}])
        found = spans()
        (call,) = model_calls(found)
        assert said(call, A.GEN_AI_RESPONSE_ID) == "msg_1"
        assert said(call, A.OTEL_LLM_USAGE_SOURCE) == "partial"
        assert said(call, A.GEN_AI_USAGE_INPUT_TOKENS) == 3010
        assert sorted(span.name for span in found) == [
            "chat claude-sonnet-4-5",
            "execute_tool Bash",
            "execute_tool Read",
            "invoke_agent",
        ]

    @pytest.mark.usefixtures("at_work")
    async def test_nobody_reads_to_the_end(self, bill: Path, spans: Spans) -> None:
        async with sdk.ClaudeSDKClient() as client:
            await client.query(json.dumps([WORK[0], {"sleep": 1}, *WORK[1:]]))
            async for message in client.receive_response():
                if isinstance(message, sdk.AssistantMessage) and isinstance(message.content[0], sdk.ToolUseBlock):
                    break
        told = spans()
        assert {span.name for span in told} >= {"chat claude-sonnet-4-5", "execute_tool Read", "invoke_agent"}
        assert len(model_calls(told)) == 1
        assert failures(told) == {}
        assert not trace.get_current_span().get_span_context().is_valid


class TestMoney:
    @pytest.mark.usefixtures("at_work")
    async def test_a_resumed_session_does_not_count_its_past_again(
        self, bill: Path, spans: Spans, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        past = {"inputTokens": 1000, "outputTokens": 1000, "cacheReadInputTokens": 0, "cacheCreationInputTokens": 0}
        totals = {"claude-sonnet-4-5": {**past, "costUSD": 0.018, "webSearchRequests": 0}}
        monkeypatch.setenv("FAKE_CLAUDE_TOTALS", json.dumps(totals))
        await talk(TURN, WORK, resume="s-1")
        first, *others = model_calls(spans())
        assert said(first, A.GEN_AI_USAGE_OUTPUT_TOKENS) == 20
        assert said(first, A.OTEL_LLM_USAGE_SOURCE) == "partial", "what subagents cost is not known"
        assert said(first, A.GEN_AI_USAGE_COST_SOURCE) == "local"
        assert sum(said(call, A.GEN_AI_USAGE_OUTPUT_TOKENS) for call in others) == 557
        assert {said(call, A.GEN_AI_USAGE_COST_SOURCE) for call in others} == {"provider"}

    @pytest.mark.usefixtures("at_work")
    async def test_a_session_that_starts_from_zero_when_resumed_is_known(self, bill: Path, spans: Spans) -> None:
        await talk(TURN, WORK, resume="s-1")
        held_against(spans(), bill)

    @pytest.mark.usefixtures("at_work")
    async def test_without_model_usage_the_usage_of_the_turn_counts(self, bill: Path, spans: Spans) -> None:
        await talk(*[[TURN[0], {"result": {"modelUsage": None}}]] * 2)
        calls = model_calls(spans())
        assert [said(call, A.GEN_AI_USAGE_OUTPUT_TOKENS) for call in calls] == [20, 20]
        assert {said(call, A.GEN_AI_REQUEST_MODEL) for call in calls} == {"claude-sonnet-4-5"}
        assert {said(call, A.GEN_AI_USAGE_COST_SOURCE) for call in calls} == {"local"}

    @pytest.mark.usefixtures("at_work")
    async def test_a_turn_without_a_call_costs_nothing(self, bill: Path, spans: Spans) -> None:
        await talk([{"result": {}}])
        assert tree(spans()) == "invoke_agent INTERNAL"
