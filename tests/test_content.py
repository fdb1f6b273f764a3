"""What was asked and answered, where the application asks for it, and nowhere else."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import anthropic
import openai
import pytest
from opentelemetry import _logs
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.trace import StatusCode

from examples.offline_provider import OfflineProvider
from otel_llm import content
from otel_llm.dialects.anthropic_messages import messages
from otel_llm.dialects.mistral import conversations
from otel_llm.dialects.openai_chat import chat, embeddings
from otel_llm.dialects.openai_responses import responses
from otel_llm.spec import Dialect
from otel_llm_semconv import attributes as A
from tests.conftest import Spans

pytestmark = pytest.mark.usefixtures("instrumented", "no_fault")

MODE = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
CONTENT = {
    A.GEN_AI_INPUT_MESSAGES,
    A.GEN_AI_OUTPUT_MESSAGES,
    A.GEN_AI_SYSTEM_INSTRUCTIONS,
    A.GEN_AI_TOOL_DEFINITIONS,
}
SECRET = "swordfish"
WEATHER: dict[str, Any] = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
Settings = Callable[..., None]


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    """Set variables, as if the process had started with them."""
    cached: list[Any] = [content.modes, content._redaction, content._length]  # pyright: ignore[reportPrivateUsage]

    def choose(mode: str = "SPAN_ONLY", **others: str) -> None:
        for name, value in {MODE: mode, **others}.items():
            monkeypatch.setenv(name, value)
        for function in cached:
            function.cache_clear()

    yield choose
    monkeypatch.undo()
    for function in cached:
        function.cache_clear()


@pytest.fixture
def events(monkeypatch: pytest.MonkeyPatch) -> InMemoryLogRecordExporter:
    """What is emitted through the application's logger provider."""
    exporter = InMemoryLogRecordExporter()
    provider = LoggerProvider(shutdown_on_exit=False)
    provider.add_log_record_processor(SimpleLogRecordProcessor(exporter))
    monkeypatch.setattr(_logs, "get_logger", provider.get_logger)
    return exporter


def openai_at(provider: OfflineProvider) -> Any:
    return openai.OpenAI(base_url=provider.openai_url, api_key="offline", max_retries=0)


def anthropic_at(provider: OfflineProvider) -> Any:
    return anthropic.Anthropic(base_url=provider.url, api_key="offline", max_retries=0)


def consume(answer: Any) -> None:
    if hasattr(answer, "__next__"):
        list(answer)


def ask_chat(provider: OfflineProvider, script: str, *, stream: bool = False) -> None:
    consume(
        openai_at(provider).chat.completions.create(
            model="gpt-4o-mini",
            stream=stream,
            tools=[WEATHER],
            messages=[
                {"role": "system", "content": "Be brief."},
                {"role": "user", "content": [{"type": "text", "text": f"{SECRET} [[offline: {script}]]"}]},
            ],
        )
    )


def ask_responses(provider: OfflineProvider, script: str, *, stream: bool = False) -> None:
    consume(
        openai_at(provider).responses.create(
            model="gpt-4o-mini",
            stream=stream,
            instructions="Be brief.",
            tools=[{"type": "function", "name": "weather", "parameters": {}, "strict": False}],
            input=f"{SECRET} [[offline: {script}]]",
        )
    )


def ask_messages(provider: OfflineProvider, script: str, *, stream: bool = False) -> None:
    consume(
        anthropic_at(provider).messages.create(
            model="claude-haiku-4-5",
            stream=stream,
            max_tokens=100,
            system="Be brief.",
            tools=[{"name": "weather", "input_schema": {"type": "object"}}],
            messages=[{"role": "user", "content": f"{SECRET} [[offline: {script}]]"}],
        )
    )


def ask_mistral(provider: OfflineProvider, script: str, *, stream: bool = False) -> None:
    sdk: Any = pytest.importorskip("mistralai.client", reason="the oldest SDKs do not fit into one environment")
    conversations = sdk.Mistral(api_key="offline", server_url=f"{provider.url}/mistral").beta.conversations
    consume(
        (conversations.start_stream if stream else conversations.start)(
            model="mistral-small-latest",
            instructions="Be brief.",
            tools=[WEATHER],
            inputs=f"{SECRET} [[offline: {script}]]",
        )
    )


ASK = [ask_chat, ask_responses, ask_messages, ask_mistral]


def of(span: Any) -> dict[str, Any]:
    """The content of a span, read."""
    attributes: dict[str, Any] = dict(span.attributes or {})
    return {name: json.loads(value) for name, value in attributes.items() if name in CONTENT}


@pytest.mark.parametrize("mode", ["", "NO_CONTENT", "false", "nonsense"])
@pytest.mark.parametrize("ask", ASK)
@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
def test_nothing_is_captured_unasked(
    provider: OfflineProvider,
    calls: Spans,
    events: InMemoryLogRecordExporter,
    settings: Settings,
    mode: str,
    ask: Any,
    stream: bool,
    caplog: pytest.LogCaptureFixture,
) -> None:
    settings(mode)
    ask(provider, "say swordfish twice", stream=stream)
    [call] = calls()
    assert SECRET not in call.to_json()
    assert not events.get_finished_logs()
    assert (MODE in caplog.text) is (mode == "nonsense")
    caplog.clear()


@pytest.mark.parametrize("ask", ASK)
@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
def test_a_conversation(provider: OfflineProvider, calls: Spans, settings: Settings, ask: Any, stream: bool) -> None:
    settings("true")
    ask(provider, "say four words at most", stream=stream)
    [call] = calls()
    said = of(call)
    question, system = said[A.GEN_AI_INPUT_MESSAGES][-1], {"type": "text", "content": "Be brief."}
    assert question["role"] == "user"
    assert question["parts"][0]["content"].startswith(SECRET)
    if ask is ask_chat:
        assert said[A.GEN_AI_INPUT_MESSAGES][0] == {"role": "system", "parts": [system]}
        assert A.GEN_AI_SYSTEM_INSTRUCTIONS not in said
    else:
        assert said[A.GEN_AI_SYSTEM_INSTRUCTIONS] == [system]
    assert said[A.GEN_AI_TOOL_DEFINITIONS][0]["name"] == "weather"
    [answer] = said[A.GEN_AI_OUTPUT_MESSAGES]
    assert answer["role"] == "assistant"
    assert "".join(part["content"] for part in answer["parts"]) == "four words at most"
    assert answer["finish_reason"] in ("stop", "completed", "end_turn")


@pytest.mark.parametrize("ask", ASK)
@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
def test_a_tool_call(provider: OfflineProvider, calls: Spans, settings: Settings, ask: Any, stream: bool) -> None:
    settings()
    ask(provider, 'tool weather {"city": "Bergen"}', stream=stream)
    [answer] = of(calls()[0])[A.GEN_AI_OUTPUT_MESSAGES]
    [part] = [part for part in answer["parts"] if part["type"] == "tool_call"]
    assert (part["name"], part["arguments"]) == ("weather", {"city": "Bergen"})
    assert part["id"]


def test_a_stream_that_was_left_keeps_what_came(provider: OfflineProvider, calls: Spans, settings: Settings) -> None:
    settings()
    stream = openai_at(provider).chat.completions.create(
        model="gpt-4o-mini",
        stream=True,
        messages=[{"role": "user", "content": "[[offline: say one two three four; chunks 9; slow chunks 60ms]]"}],
    )
    for _ in range(4):
        next(stream)
    stream.close()
    [answer] = of(calls()[0])[A.GEN_AI_OUTPUT_MESSAGES]
    assert answer["finish_reason"] == "error"
    assert answer["parts"][0]["content"].startswith("one")


@pytest.mark.parametrize(
    ("mode", "span", "event"), [("EVENT_ONLY", 0, 1), ("span_and_event", 1, 1), ("SPAN_ONLY", 1, 0)]
)
def test_where_it_goes(
    provider: OfflineProvider,
    calls: Spans,
    events: InMemoryLogRecordExporter,
    settings: Settings,
    mode: str,
    span: int,
    event: int,
) -> None:
    settings(mode)
    ask_chat(provider, "say hello")
    [call] = calls()
    assert bool(of(call)) is bool(span)
    emitted = events.get_finished_logs()
    assert len(emitted) == event
    for one in emitted:
        record, context = one.log_record, call.get_span_context()
        assert record.event_name == A.GEN_AI_CLIENT_INFERENCE_OPERATION_DETAILS
        assert context
        assert (record.trace_id, record.span_id) == (context.trace_id, context.span_id)
        attributes: Any = record.attributes
        assert attributes[A.GEN_AI_REQUEST_MODEL] == "gpt-4o-mini"
        assert attributes[A.GEN_AI_OUTPUT_MESSAGES][0]["parts"][0]["content"] == "hello"


def redact(text: str) -> str:
    return text.replace(SECRET, "***")


def fail(text: str) -> str:
    raise ValueError(text)


def test_redaction_and_length(provider: OfflineProvider, calls: Spans, settings: Settings) -> None:
    settings(OTEL_LLM_REDACT=f"{__name__}:redact", OTEL_LLM_CONTENT_MAX_LENGTH="12")
    ask_chat(provider, "say swordfish and more than that")
    said = of(calls()[0])
    assert said[A.GEN_AI_INPUT_MESSAGES][1]["parts"][0]["content"] == "*** [[offlin…"
    assert said[A.GEN_AI_OUTPUT_MESSAGES][0]["parts"][0]["content"] == "*** and more…"


@pytest.mark.parametrize("place", ["fail", "nowhere"])
def test_a_redaction_that_fails_captures_nothing(
    provider: OfflineProvider, calls: Spans, settings: Settings, caplog: pytest.LogCaptureFixture, place: str
) -> None:
    settings(OTEL_LLM_REDACT=f"{__name__}:{place}")
    ask_chat(provider, "say swordfish")
    [call] = calls()
    assert not of(call)
    assert A.GEN_AI_USAGE_COST_AMOUNT in (call.attributes or {})
    assert "telemetry of a call is incomplete" in caplog.text
    caplog.clear()


@pytest.mark.parametrize("place", ["fail", "nowhere"])
def test_a_redaction_that_fails_hides_no_failure_of_the_call(
    provider: OfflineProvider, calls: Spans, settings: Settings, caplog: pytest.LogCaptureFixture, place: str
) -> None:
    settings(OTEL_LLM_REDACT=f"{__name__}:{place}")
    with pytest.raises(openai.InternalServerError):
        ask_chat(provider, "500")
    [call] = calls()
    assert not of(call)
    assert call.status.status_code is StatusCode.ERROR
    assert (call.attributes or {})[A.ERROR_TYPE] == "openai.InternalServerError"
    assert A.OTEL_LLM_INTERACTION_COST_COVERAGE in (call.attributes or {})
    caplog.clear()


def test_embeddings_never_slip_through(provider: OfflineProvider, calls: Spans, settings: Settings) -> None:
    settings("SPAN_AND_EVENT")
    openai_at(provider).embeddings.create(model="text-embedding-3-small", input=[SECRET, "b"])
    [call] = calls()
    assert SECRET not in call.to_json()
    assert embeddings.content is None


ODD: list[Any] = [
    {},
    {"messages": None, "input": None, "system": 7, "tools": "none", "instructions": []},
    {"messages": [None, 7, "x", {}, {"role": None, "content": [None, 7, {}]}], "input": [None, 7, "x", {}]},
    {"inputs": [None, 7, "x", {}, {"type": "function.call"}], "outputs": [None, 7, "x", {"type": "agent.handoff"}]},
    {"choices": [None, {}, {"message": None}], "output": [{}, None, 7], "content": [{}, None, "x", 7]},
    {
        "messages": [
            {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}}]}
        ]
    },
]


@pytest.mark.parametrize("dialect", [chat, responses, messages, conversations])
@pytest.mark.parametrize("body", ODD)
def test_odd_bodies(dialect: Dialect, body: dict[str, Any]) -> None:
    assert dialect.content
    said = dialect.content.request(body)
    answer = dialect.content.response(body)
    folded: dict[str, Any] = {}
    for chunk in (body, {"type": "content_block_delta", "index": None, "delta": None}, {"choices": [{"delta": None}]}):
        dialect.content.fold(folded, chunk)
    dialect.content.response(folded)
    assert "base64,AA" not in json.dumps([said, answer])


PICTURE = "data:image/png;base64,c2VjcmV0"


FURTHER: list[tuple[Dialect, dict[str, Any], list[Any]]] = [
    (
        chat,
        {"tool_calls": [{"id": "c", "type": "custom", "custom": {"name": "sh", "input": "ls"}}]},
        [{"type": "tool_call", "id": "c", "name": "sh", "arguments": "ls"}],
    ),
    (
        chat,
        {"function_call": {"name": "look", "arguments": "{}"}},
        [{"type": "tool_call", "id": None, "name": "look", "arguments": {}}],
    ),
    (chat, {"audio": {"transcript": "Hello"}}, [{"type": "text", "content": "Hello"}]),
    (
        responses,
        {"type": "mcp_call", "id": "m", "name": "look", "arguments": "{}"},
        [
            {
                "type": "server_tool_call",
                "id": "m",
                "name": "look",
                "server_tool_call": {"type": "mcp_call", "arguments": "{}"},
            }
        ],
    ),
]


@pytest.mark.parametrize(
    ("dialect", "body", "parts"), FURTHER, ids=["a custom tool", "a function of old", "speech", "a call of MCP"]
)
def test_further_answers(dialect: Dialect, body: dict[str, Any], parts: list[Any]) -> None:
    assert dialect.content
    answer = {"choices": [{"message": body}]} if dialect is chat else {"output": [body], "status": "completed"}
    assert dialect.content.response(answer)[0]["parts"] == parts
    if dialect is chat and "function_call" not in body:
        folded: dict[str, Any] = {}
        dialect.content.fold(folded, {"choices": [{"delta": body}]})
        assert dialect.content.response(folded)[0]["parts"] == parts


@pytest.mark.parametrize(
    ("dialect", "body"),
    [
        (
            chat,
            {"messages": [{"role": "tool", "content": [{"type": "image_url", "image_url": {"url": PICTURE}}]}]},
        ),
        (
            responses,
            {"input": [{"type": "function_call_output", "output": [{"type": "input_image", "image_url": PICTURE}]}]},
        ),
    ],
    ids=["chat", "responses"],
)
def test_pictures_that_tools_give_are_named_only(dialect: Dialect, body: dict[str, Any]) -> None:
    assert dialect.content
    [message] = dialect.content.request(body)[A.GEN_AI_INPUT_MESSAGES]
    [part] = message["parts"][0]["response"]
    assert (part["type"], part["mime_type"], part["content"]) == ("blob", "image/png", "")


@pytest.mark.parametrize("dialect", [chat, responses, messages, conversations])
def test_a_generator_is_the_caller_s_to_read(dialect: Dialect) -> None:
    given: dict[str, Any] = {name: iter([{"role": "user"}]) for name in ("messages", "input", "inputs", "tools")}
    assert dialect.content
    assert dialect.content.request(given) == {}
    assert all(list(unread) for unread in given.values())
