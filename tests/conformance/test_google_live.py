"""Google's conversations over a socket: every turn is a call, with the usage that its messages tell."""

from __future__ import annotations

import json
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, suppress
from typing import Any

import pytest

from otel_llm_semconv import attributes as A
from tests.conformance.methods import captured
from tests.conformance.methods import said as captures
from tests.conformance.ways import collect_garbage
from tests.conftest import Spans

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.usefixtures("no_fault", "instrumented")]

genai = pytest.importorskip("google.genai", reason="the oldest SDKs do not fit into one environment")
server = pytest.importorskip("websockets.sync.server")
live: Any = pytest.importorskip("google.genai.live")

if "usage_metadata" not in genai.types.LiveServerMessage.model_fields:
    pytest.skip("before 1.10, google-genai tells no usage of a turn", allow_module_level=True)

MODEL = "gemini-live-2.5-flash"
SOUND = {"inlineData": {"mimeType": "audio/pcm;rate=24000", "data": "b2ZmbGluZSE=" * 1}}
USAGE: dict[str, Any] = {
    "promptTokenCount": 522,
    "responseTokenCount": 142,
    "totalTokenCount": 664,  # which leaves thoughts out
    "thoughtsTokenCount": 36,
    "promptTokensDetails": [
        {"modality": "TEXT", "tokenCount": 332},
        {"modality": "AUDIO", "tokenCount": 165},
        {"modality": "VIDEO", "tokenCount": 5},
    ],
    "responseTokensDetails": [{"modality": "AUDIO", "tokenCount": 100}, {"modality": "TEXT", "tokenCount": 42}],
}
# USD per million: text 0.5, sound and video 3, text out and thoughts 2, sound out 12. Of 20 tokens no kind is told.
NANO = (352 * 500) + (165 + 5) * 3_000 + (42 + 36) * 2_000 + (100 * 12_000)
ASKED = {"promptTokenCount": 100, "responseTokenCount": 20, "totalTokenCount": 120}


def _content(**more: Any) -> dict[str, Any]:
    return {"serverContent": more}


_SOUND = _content(modelTurn={"role": "model", "parts": [SOUND]})
_SPOKEN = [_content(outputTranscription={"text": piece}) for piece in ("Be", "cause.")]
_OVER = _content(turnComplete=True)
_CALL: dict[str, Any] = {"functionCalls": [{"id": "c-1", "name": "look", "args": {}}]}
_QUERIES = _content(groundingMetadata={"webSearchQueries": ["why", "sky"]})
TURNS: dict[str, list[dict[str, Any]]] = {
    "talk": [
        *(_content(inputTranscription={"text": "Why?"}), _SOUND, *_SPOKEN, _OVER | {"usageMetadata": USAGE}),
    ],
    # What is told in the middle is not told again at the end.
    "early": [_SOUND, {"usageMetadata": USAGE}, _content(generationComplete=True), _OVER | {"usageMetadata": {}}],
    "tool": [{"toolCall": _CALL, "usageMetadata": ASKED}, _SOUND, _OVER | {"usageMetadata": ASKED}],
    "search": [_QUERIES, _SOUND, _QUERIES, _OVER | {"usageMetadata": ASKED}],
    "interrupt": [_SOUND, _content(interrupted=True), _OVER | {"usageMetadata": ASKED}],
    "silence": [_SOUND, _OVER],
    "break": [_SOUND, {"usageMetadata": ASKED}],
}


def _answer(socket: Any) -> None:
    assert "setup" in json.loads(socket.recv())
    socket.send(json.dumps({"setupComplete": {}}).encode())
    for said in socket:
        asked = json.loads(said)["client_content"]["turns"][0]["parts"][0]["text"]
        for message in TURNS[asked]:
            socket.send(json.dumps(message).encode())
        if asked == "break":
            socket.close(1011)


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """A provider that answers what it is asked over websockets."""
    with server.serve(_answer, "127.0.0.1", 0) as running:
        thread = threading.Thread(target=running.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{running.socket.getsockname()[1]}"
        running.shutdown()
        thread.join()


@pytest.fixture
def client(url: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A client of the SDK, which connects without a certificate."""
    name = "ws_connect" if hasattr(live, "ws_connect") else "connect"
    connect = getattr(live, name)

    def plainly(uri: str, *, additional_headers: Any = None, **_: Any) -> Any:
        return connect(uri.replace("wss:", "ws:"), additional_headers=additional_headers)

    monkeypatch.setattr(live, name, plainly)
    return genai.Client(api_key="k", http_options={"base_url": url})


async def ask(session: Any, text: str) -> AsyncIterator[Any]:
    """Say something, and receive one turn."""
    turn = {"role": "user", "parts": [{"text": text}]}
    if hasattr(session, "send_client_content"):
        await session.send_client_content(turns=turn)
    else:
        await session.send(input=genai.types.LiveClientContent(turns=[turn], turn_complete=True))
    async for message in session.receive():
        yield message


async def test_a_call_for_each_turn(client: Any, calls: Spans, monkeypatch: pytest.MonkeyPatch) -> None:
    captured(monkeypatch)
    manager = client.aio.live.connect(model=f"models/{MODEL}")
    kind: Any = AbstractAsyncContextManager
    assert isinstance(manager, kind)
    async with manager as session:
        for said in ("talk", "early"):
            seen = [message async for message in ask(session, said)]
            assert type(seen[0]) is genai.types.LiveServerMessage
            assert len(seen) == (5 if said == "talk" else 4)
            assert len(calls()) == (1 if said == "talk" else 2)
    for call in calls():
        attributes = call.attributes or {}
        assert call.name == f"generate_content {MODEL}"
        assert (attributes[A.GEN_AI_PROVIDER_NAME], attributes[A.SERVER_ADDRESS]) == ("gcp.gemini", "127.0.0.1")
        assert (attributes[A.GEN_AI_USAGE_INPUT_TOKENS], attributes[A.GEN_AI_USAGE_OUTPUT_TOKENS]) == (522, 178)
        assert attributes[A.GEN_AI_USAGE_AUDIO_INPUT_TOKENS] == 165
        assert attributes[A.GEN_AI_USAGE_AUDIO_OUTPUT_TOKENS] == 100
        assert attributes[A.GEN_AI_USAGE_REASONING_OUTPUT_TOKENS] == 36
        assert (attributes[A.OTEL_LLM_COST_STATUS], attributes[A.OTEL_LLM_COST_NANO_USD]) == ("priced", NANO)
        assert attributes[A.GEN_AI_RESPONSE_FINISH_REASONS] == ("stop",)
        assert A.OTEL_LLM_USAGE_INCONSISTENT not in attributes
        assert "offline" not in str(attributes)
    talk, early = calls()
    because = {"role": "assistant", "parts": [{"type": "text", "content": "Because."}], "finish_reason": "stop"}
    assert captures(talk)[1:3] == [[{"role": "user", "parts": [{"type": "text", "content": "Why?"}]}], [because]]
    assert captures(early) == [None] * 4, "sound alone is no message"


async def test_a_tool_that_is_called(client: Any, calls: Spans, monkeypatch: pytest.MonkeyPatch) -> None:
    captured(monkeypatch)
    async with client.aio.live.connect(model=MODEL) as session:
        assert [message async for message in ask(session, "tool")]
    [answer] = captures(calls()[0])[2]
    assert answer["parts"] == [{"type": "tool_call", "id": "c-1", "name": "look", "arguments": {}}]


@pytest.mark.parametrize(
    ("said", "tokens", "reason"),
    [("tool", 200, "stop"), ("search", 100, "stop"), ("interrupt", 100, "interrupted"), ("silence", None, "stop")],
)
async def test_what_a_turn_is_billed(client: Any, calls: Spans, said: str, tokens: int | None, reason: str) -> None:
    if said == "search" and "grounding_metadata" not in genai.types.LiveServerContent.model_fields:
        pytest.skip("this google-genai does not tell of searches")
    async with client.aio.live.connect(model=MODEL) as session:
        assert [message async for message in ask(session, said)]
    [call] = calls()
    attributes = call.attributes or {}
    assert attributes.get(A.GEN_AI_USAGE_INPUT_TOKENS) == tokens
    assert attributes[A.GEN_AI_RESPONSE_FINISH_REASONS] == (reason,)
    # Up to Gemini 2.5, a grounded prompt is billed, however many searches it takes.
    assert attributes.get(A.OTEL_LLM_USAGE_REQUESTS_PREFIX + "web_search") == (1 if said == "search" else None)
    costs = {"search": "partial", "silence": "unpriced"}  # the list has no price for searches of this model
    assert attributes[A.OTEL_LLM_COST_STATUS] == costs.get(said, "priced")


async def test_the_connection_breaks(client: Any, calls: Spans) -> None:
    with suppress(Exception):
        async with client.aio.live.connect(model=MODEL) as session:
            assert [message async for message in ask(session, "break")]
    [call] = calls()
    attributes = call.attributes or {}
    assert attributes[A.OTEL_LLM_STREAM_OUTCOME] == "failed"
    assert attributes[A.OTEL_LLM_USAGE_SOURCE] == "partial"
    assert A.ERROR_TYPE in attributes


async def test_nobody_reads_on(client: Any, calls: Spans) -> None:
    async with client.aio.live.connect(model=MODEL) as session:
        await anext(ask(session, "silence"))
    del session
    await collect_garbage()
    [call] = calls()
    assert (call.attributes or {})[A.OTEL_LLM_STREAM_OUTCOME] == "abandoned"
