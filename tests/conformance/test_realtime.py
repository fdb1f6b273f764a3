"""Conversations over a socket: every response is a call, and so is every transcription of what was heard."""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from otel_llm_semconv import attributes as A
from tests.conformance.methods import captured
from tests.conformance.surfaces import got
from tests.conformance.ways import collect_garbage
from tests.conftest import Spans

pytestmark = [
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.usefixtures("no_fault", "instrumented"),
]

openai = pytest.importorskip("openai")
server = pytest.importorskip("websockets.sync.server")
if not hasattr(openai.OpenAI, "realtime"):
    pytest.skip("this openai has no realtime", allow_module_level=True)

USAGE: dict[str, Any] = {
    "total_tokens": 253,
    "input_tokens": 132,
    "output_tokens": 121,
    "input_token_details": {
        "text_tokens": 119,
        "audio_tokens": 13,
        "image_tokens": 0,
        "cached_tokens": 74,
        "cached_tokens_details": {"text_tokens": 64, "audio_tokens": 10, "image_tokens": 0},
    },
    "output_token_details": {"text_tokens": 30, "audio_tokens": 91},
}
# USD per million: text 0.6, cached text 0.06, sound 10, cached sound 0.3, text out 2.4, sound out 20.
NANO = (55 * 600) + (64 * 60) + (3 * 10_000) + (10 * 300) + (30 * 2_400) + (91 * 20_000)
HEARD = {"type": "tokens", "input_tokens": 14, "output_tokens": 45, "input_token_details": {"audio_tokens": 14}}


_numbers = itertools.count()


def _event(kind: str, **more: Any) -> str:
    return json.dumps({"event_id": f"event_{next(_numbers)}", "type": kind} | more)


_AUDIO = {"type": "output_audio", "transcript": "Because."}
_SAID = [{"id": "item_2", "type": "message", "role": "assistant", "status": "completed", "content": [_AUDIO]}]


def _response(number: int, status: str, **more: Any) -> dict[str, Any]:
    return more | {"id": f"resp_{number}", "object": "realtime.response", "status": status, "output": _SAID}


def _realtime(socket: Any) -> None:
    transcription = {"audio": {"input": {"transcription": {"model": "gpt-4o-transcribe"}}}}
    socket.send(_event("session.created", session={"type": "realtime", "model": "gpt-realtime-mini", **transcription}))
    for number, said in zip(_numbers, socket, strict=False):
        if json.loads(said)["type"] == "response.create":
            socket.send(_event("response.created", response=_response(number, "in_progress")))
            socket.send(_event("response.output_audio.delta", delta="b2ZmbGluZSA=" * 100, response_id=f"resp_{number}"))
            heard = "conversation.item.input_audio_transcription.completed"
            socket.send(_event(heard, item_id="item_1", content_index=0, transcript="Why?", usage=HEARD))
            socket.send(_event("response.done", response=_response(number, "completed", usage=USAGE)))
        else:
            socket.send(_event("response.created", response=_response(number, "in_progress")))
            socket.close(1011)


def _responses(socket: Any) -> None:
    usage = {"input_tokens": 100, "output_tokens": 10, "total_tokens": 110}
    for number, _ in zip(_numbers, socket, strict=False):
        response: dict[str, Any] = {"id": f"resp_ws{number}", "object": "response", "model": "gpt-4o-mini-2024-07-18"}
        message = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Because."}]}
        socket.send(_event("response.created", response=response | {"status": "in_progress", "output": []}))
        done = response | {"status": "completed", "output": [message], "usage": usage}
        socket.send(_event("response.completed", response=done))


def _live(socket: Any) -> None:
    session = {"id": f"live_{next(_numbers)}", "model": "gpt-live-1", "status": "active", "expires_at": 1}
    for said in socket:
        kind = json.loads(said)["type"]
        if kind == "session.start":
            socket.send(_event("session.started", session=session))
            usage = {"input_tokens": 100, "output_tokens": 10, "total_tokens": 110}
            done = {"id": f"resp_{next(_numbers)}", "object": "response", "model": "gpt-4o-mini", "status": "completed"}
            nested = {"type": "response.completed", "response": done | {"usage": usage}}
            socket.send(_event("response.event", event=nested))
            decision: dict[str, Any] = {"model": "gpt-6-luna", "answers": [], "usage": usage}
            socket.send(_event("decision.event", event={"type": "decision.completed", "decision": decision}))
            for seconds in (1.5, 3):
                socket.send(_event("session.usage.updated", usage={"seconds": seconds}))
        elif kind == "session.close":
            socket.send(_event("session.closed", reason="close_requested", session=session, usage={"seconds": 4.25}))
        elif kind == "echo":
            socket.send(json.loads(said)["message"])
        else:
            socket.close(1011)


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """A provider that answers what it is asked over websockets."""

    def answer(socket: Any) -> None:
        path = socket.request.path
        (_responses if "/responses" in path else _live if "/live" in path else _realtime)(socket)

    with server.serve(answer, "127.0.0.1", 0) as running:
        thread = threading.Thread(target=running.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{running.socket.getsockname()[1]}/v1"
        running.shutdown()
        thread.join()


@pytest.fixture(params=[openai.OpenAI, openai.AsyncOpenAI], ids=["sync", "async"])
def client(request: pytest.FixtureRequest, url: str) -> Any:
    """A client of the SDK."""
    return request.param(api_key="k", base_url=url)


async def _until(connection: Any, kind: str) -> list[Any]:
    seen: list[Any] = []
    while not seen or seen[-1].type != kind:
        seen.append(await got(connection.recv()))
    return seen


async def test_a_call_for_each_response(client: Any, calls: Spans, monkeypatch: pytest.MonkeyPatch) -> None:
    captured(monkeypatch)
    connection = await got(client.realtime.connect(model="gpt-realtime-mini").enter())
    for _ in range(2):
        await got(connection.response.create())
        done: Any = (await _until(connection, "response.done"))[-1]
        assert done.response.usage.total_tokens == 253
    await got(connection.close())
    made = sorted((call.attributes or {} for call in calls()), key=lambda call: str(call[A.GEN_AI_OPERATION_NAME]))
    assert [call[A.GEN_AI_OPERATION_NAME] for call in made] == ["chat", "chat", "transcription", "transcription"]
    said, heard = made[1:3]
    assert len({str(call[A.GEN_AI_RESPONSE_ID]) for call in made[:2]}) == 2
    assert said[A.GEN_AI_RESPONSE_MODEL] == said[A.GEN_AI_REQUEST_MODEL] == "gpt-realtime-mini"
    assert (said[A.GEN_AI_PROVIDER_NAME], said[A.SERVER_ADDRESS]) == ("openai", "127.0.0.1")
    assert (said[A.GEN_AI_USAGE_INPUT_TOKENS], said[A.GEN_AI_USAGE_OUTPUT_TOKENS]) == (132, 121)
    assert (said[A.OTEL_LLM_COST_STATUS], said[A.OTEL_LLM_COST_NANO_USD]) == ("priced", NANO)
    assert A.OTEL_LLM_USAGE_INCONSISTENT not in said
    because = {"role": "assistant", "parts": [{"type": "text", "content": "Because."}], "finish_reason": "stop"}
    assert json.loads(str(said[A.GEN_AI_OUTPUT_MESSAGES])) == [because]
    assert A.GEN_AI_INPUT_MESSAGES not in said
    assert A.GEN_AI_OUTPUT_MESSAGES not in heard
    # 14 x 6 + 45 x 10 = 534 micro-USD
    assert (heard[A.GEN_AI_REQUEST_MODEL], heard[A.OTEL_LLM_COST_NANO_USD]) == ("gpt-4o-transcribe", 534_000)


async def test_responses_over_a_socket(client: Any, calls: Spans, monkeypatch: pytest.MonkeyPatch) -> None:
    if not hasattr(client.responses, "connect"):
        pytest.skip("this openai has no responses over a socket")
    captured(monkeypatch)
    connection = await got(client.responses.connect().enter())
    await got(connection.response.create(model="gpt-4o-mini", input="Why?"))
    await _until(connection, "response.completed")
    await got(connection.close())
    [call] = calls()
    attributes = call.attributes or {}
    # 100 x 0.15 + 10 x 0.6 = 21 micro-USD
    assert attributes[A.OTEL_LLM_COST_NANO_USD] == 21_000
    assert attributes[A.GEN_AI_RESPONSE_FINISH_REASONS] == ("stop",)
    assert "Because." in str(attributes[A.GEN_AI_OUTPUT_MESSAGES])


async def test_the_connection_breaks(client: Any, calls: Spans) -> None:
    connection = await got(client.realtime.connect(model="gpt-realtime-mini").enter())
    await got(connection.input_audio_buffer.clear())
    with pytest.raises(Exception, match="1011"):
        await _until(connection, "response.done")
    [call] = calls()
    assert (call.attributes or {})[A.OTEL_LLM_STREAM_OUTCOME] == "failed"
    assert (call.attributes or {})[A.OTEL_LLM_COST_STATUS] == "unpriced"


async def test_nobody_reads_on(client: Any, calls: Spans) -> None:
    connection = await got(client.realtime.connect(model="gpt-realtime-mini").enter())
    await got(connection.response.create())
    await _until(connection, "response.created")
    await got(connection.close())
    assert not calls()
    del connection
    await collect_garbage()
    [call] = calls()
    assert (call.attributes or {})[A.OTEL_LLM_STREAM_OUTCOME] == "abandoned"


@pytest.mark.parametrize("closes", [True, False], ids=["closed", "broken"])
async def test_a_live_session(client: Any, calls: Spans, closes: bool) -> None:
    if not hasattr(client, "live"):
        pytest.skip("this openai has no live sessions")
    connection = await got(client.live.connect().enter())
    await got(connection.send({"type": "session.start", "session": {"model": "gpt-live-1"}}))
    for _ in range(5):
        await got(connection.recv())
    await got(connection.send({"type": "session.close" if closes else "session.thinking.append"}))
    if closes:
        await _until(connection, "session.closed")
    else:
        with pytest.raises(Exception, match="1011"):
            await got(connection.recv())
    await got(connection.close())
    session, delegated, decided = (call.attributes or {} for call in calls())
    assert (delegated[A.GEN_AI_RESPONSE_MODEL], decided[A.GEN_AI_RESPONSE_MODEL]) == ("gpt-4o-mini", "gpt-6-luna")
    assert (delegated[A.OTEL_LLM_COST_NANO_USD], decided[A.GEN_AI_USAGE_INPUT_TOKENS]) == (21_000, 100)
    assert session[A.GEN_AI_RESPONSE_MODEL] == "gpt-live-1"
    milliseconds = session[A.OTEL_LLM_USAGE_REQUESTS_PREFIX + "audio_ms"]
    if closes:
        assert (milliseconds, session[A.OTEL_LLM_COST_STATUS]) == (4_250, "priced")
    else:
        assert (milliseconds, session[A.OTEL_LLM_COST_STATUS]) == (3_000, "partial")
        assert session[A.OTEL_LLM_USAGE_SOURCE] == "partial"


async def test_another_connection_tells_of_the_same(client: Any, calls: Spans) -> None:
    if not hasattr(client, "live"):
        pytest.skip("this openai has no live sessions")
    first = await got(client.live.connect().enter())
    second = await got(client.live.connect().enter())
    await got(first.send({"type": "session.start", "session": {"model": "gpt-live-1"}}))
    started: Any = await got(first.recv())
    told = _event("session.closed", reason="expired", session=started.session.to_dict(), usage={"seconds": 1})
    await got(second.send({"type": "echo", "message": told}))
    await _until(second, "session.closed")
    assert not calls()
    await got(first.close())
    await got(second.close())
    del first, second
    await collect_garbage()
    [call] = calls()
    assert (call.attributes or {})[A.OTEL_LLM_STREAM_OUTCOME] == "abandoned"
