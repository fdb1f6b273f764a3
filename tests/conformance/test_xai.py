"""xai-sdk: gRPC on a real socket, and what xAI says it charged."""

from __future__ import annotations

import asyncio
import gc
import json
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan

if find_spec("xai_sdk") is None:
    pytest.skip("the oldest SDKs do not fit into one environment", allow_module_level=True)

import grpc
import xai_sdk  # pyright: ignore[reportMissingTypeStubs]
from pydantic import BaseModel
from xai_sdk.chat import system, tool, user  # pyright: ignore[reportMissingTypeStubs]
from xai_sdk.proto import chat_pb2, usage_pb2  # pyright: ignore[reportMissingTypeStubs]

from examples.offline_provider import OfflineProvider
from examples.offline_provider.xai import served
from otel_llm.call import Call
from otel_llm.content import modes
from otel_llm.dialects.xai import chat, whole
from otel_llm.engine.prices import price_book
from otel_llm_semconv import attributes as A
from tests.conformance.conftest import Twice, become_another_process
from tests.conformance.surfaces import got
from tests.conformance.ways import Seen, Way
from tests.conftest import Spans

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.usefixtures("no_fault")]

MODEL = "grok-4-fast-reasoning"
USAGE = "tokens in=1000 out=50; cache hit 800; reasoning 20"


@pytest.fixture(scope="module")
def host(running_provider: OfflineProvider) -> Iterator[str]:
    with served(running_provider.url) as address:
        yield address


@pytest.fixture(params=["Client", "AsyncClient"])
def ask(request: pytest.FixtureRequest, provider: OfflineProvider, host: str) -> Callable[..., Any]:
    """Opens a conversation with a client of its own."""

    def ask(script: str, **more: Any) -> Any:
        client: Any = getattr(xai_sdk, request.param)(api_key="k", api_host=host)
        return client.chat.create(model=MODEL, messages=[user(f"[[offline: {script}]] Why?")], **more)

    return ask


def unused(*_: Any) -> None:
    """These tests call without a surface."""


def said(call: ReadableSpan, name: str) -> Any:
    return (call.attributes or {}).get(name)


async def read(stream: Any, seen: Seen, most: int = 1000) -> None:
    if hasattr(stream, "__anext__"):
        async for _response, chunk in stream:
            seen.add(chunk.content)
            if len(seen.values) == most:
                return
    else:
        for _response, chunk in stream:
            seen.add(chunk.content)
            if len(seen.values) == most:
                return


async def use(conversation: Any, stream: bool, seen: Seen) -> None:
    try:
        if stream:
            await read(conversation.stream(), seen)
        else:
            response = await got(conversation.sample())
            seen.result = type(response)
            seen.add(f"{response.content} {response.usage}")
    except Exception as error:
        seen.error = error
        raise


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
@pytest.mark.parametrize("script", [USAGE, "401", "429", "500", "chunks 9; cut in mid-stream after 3"])
async def test_the_caller_sees_the_same(ask: Callable[..., Any], twice: Twice, stream: bool, script: str) -> None:
    if "cut" in script and not stream:
        pytest.skip("that is no stream")
    way = Way("sample", unused, stream=stream)
    seen, [call] = await twice(way, lambda seen: use(ask(script), stream, seen))
    assert said(call, A.GEN_AI_PROVIDER_NAME) == "x_ai"
    assert said(call, A.SERVER_ADDRESS) == "localhost"
    if script == USAGE:
        assert said(call, A.GEN_AI_USAGE_COST_SOURCE) == "provider"
        assert said(call, A.GEN_AI_RESPONSE_FINISH_REASONS) == ("stop",)
    else:
        assert isinstance(seen.error, grpc.RpcError)
        assert said(call, A.ERROR_TYPE).endswith(type(seen.error).__name__)
        assert said(call, A.OTEL_LLM_COST_STATUS) == ("unpriced" if "cut" in script else "free")
        assert said(call, A.HTTP_RESPONSE_STATUS_CODE) == (None if "cut" in script else int(script))
    ends = "completed" if script == USAGE else "failed"
    assert said(call, A.OTEL_LLM_STREAM_OUTCOME) == (ends if stream else None)


class Answer(BaseModel):
    answer: str


@pytest.mark.usefixtures("instrumented")
async def test_every_method_counts_once(ask: Callable[..., Any], audited: Spans) -> None:
    await got(ask("n 2").sample_batch(2))
    await got(ask('say {"answer": "yes"}').parse(Answer))
    await got(ask(USAGE).defer())
    batch = ask("n 2").stream_batch(2)
    if hasattr(batch, "__anext__"):
        assert [len(chunks) async for _responses, chunks in batch]
    else:
        assert [len(chunks) for _responses, chunks in batch]
    searched = await got(ask("web search 2").sample())
    made = audited()
    assert searched.cost_usd == said(made[-1], A.GEN_AI_USAGE_COST_AMOUNT), "fees of tools are in the ticks only"
    assert [said(call, A.GEN_AI_REQUEST_CHOICE_COUNT) for call in made] == [2, None, None, 2, None]
    assert {said(call, A.OTEL_LLM_COST_STATUS) for call in made} == {"priced"}


@pytest.fixture(params=["Client", "AsyncClient"])
def connect(request: pytest.FixtureRequest, provider: OfflineProvider, host: str) -> Callable[[], Any]:
    return lambda: getattr(xai_sdk, request.param)(api_key="k", api_host=host)


async def batched(client: Any) -> str:
    """The id of a batch that is done."""
    batch = await got(client.batch.create("offline"))
    asked: list[Any] = [
        client.chat.create("grok-4.3", messages=[user(f"[[offline: {script}]] Why?")], batch_request_id=f"r-{number}")
        for number, script in enumerate((USAGE, "tokens in=150000 out=50", "500", "tokens in=160000 out=50"))
    ]
    await got(client.batch.add(batch.batch_id, asked))
    return batch.batch_id


async def test_batches(connect: Callable[[], Any], twice: Twice) -> None:
    async def use(seen: Seen) -> None:
        client = connect()
        id_ = await batched(client)
        for most in (None, 3, 1):  # in pages of other sizes, the lines have other numbers
            token: str | None = ""
            while token is not None:
                page = await got(client.batch.list_batch_results(id_, most, token or None))
                token = page.pagination_token
                seen.result = type(page)
                seen.values += [f"{result.batch_request_id} {result.response.usage}" for result in page.results]

    seen, calls = await twice(Way("batch", unused), use)
    assert len(seen.values) == 12
    assert [said(call, A.GEN_AI_USAGE_COST_SOURCE) for call in calls] == ["provider"] * 3
    assert [said(call, A.OTEL_LLM_SERVICE_TIER) for call in calls] == ["batch"] * 3


@pytest.mark.usefixtures("instrumented")
async def test_batches_that_several_processes_read(connect: Callable[[], Any], audited: Spans) -> None:
    client = connect()
    id_ = await batched(client)
    await got(client.batch.list_batch_results(id_, 2))
    for _ in range(2):
        become_another_process()
        await got(client.batch.list_batch_results(id_))
    assert len(audited()) == 3


@pytest.mark.parametrize("ticks", [None, 1_000_000])
async def test_sources_of_a_live_search(ticks: int | None) -> None:
    usage = usage_pb2.SamplingUsage(prompt_tokens=100, completion_tokens=10, total_tokens=110, num_sources_used=3)
    if ticks is not None:
        usage.cost_in_usd_ticks = ticks
    call = Call("chat", "x_ai")
    chat.response(call, whole(chat_pb2.GetChatCompletionResponse(model=MODEL, usage=usage)))
    cost = price_book().price(call)
    # 100 x 0.2 + 10 x 0.5 micro-USD, and three times 2.5 cents; or what xAI says
    assert (cost.status, cost.nano_usd) == ("priced", 75_025_000 if ticks is None else 100_000)


@pytest.mark.usefixtures("instrumented")
@pytest.mark.parametrize("kind", ["Client", "AsyncClient"])
async def test_images_cost_what_xai_says(host: str, spans: Spans, kind: str) -> None:
    client: Any = getattr(xai_sdk, kind)(api_key="k", api_host=host)
    await got(client.image.sample_batch("A cat.", "grok-imagine", 2))
    [call] = spans()
    assert call.name == "image_generation grok-imagine"
    assert said(call, A.GEN_AI_USAGE_COST_AMOUNT) == 0.14


@pytest.mark.usefixtures("instrumented")
async def test_a_stream_that_is_left(ask: Callable[..., Any], calls: Spans, audited: Spans) -> None:
    stream = ask("chunks 20; slow chunks 60ms").stream()
    await read(stream, Seen(), most=1)
    del stream
    for _ in range(100):  # the loop closes generators that were dropped
        gc.collect()
        await asyncio.sleep(0.01)
        if calls():
            break
    [call] = audited()
    assert said(call, A.OTEL_LLM_STREAM_OUTCOME) in ("aborted", "abandoned")


@pytest.mark.usefixtures("instrumented")
async def test_it_traces_nothing_itself(ask: Callable[..., Any], spans: Spans) -> None:
    await got(ask(USAGE).sample())
    await read(ask(USAGE).stream(), Seen())
    assert [span.name for span in spans()] == [f"chat {MODEL}"] * 2


@pytest.mark.usefixtures("instrumented")
async def test_its_content(ask: Callable[..., Any], calls: Spans, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", "span_only")
    modes.cache_clear()
    look = tool("look", "Look it up.", {"type": "object", "properties": {"where": {"type": "string"}}})
    for stream in (False, True):
        conversation = ask('tool look {"where": "up"}', tools=[look]).append(system("Be brief."))
        await use(conversation, stream, Seen())
    monkeypatch.undo()
    modes.cache_clear()
    for call in calls():
        asked, answered = (json.loads(said(call, name)) for name in (A.GEN_AI_INPUT_MESSAGES, A.GEN_AI_OUTPUT_MESSAGES))
        assert [message["role"] for message in asked] == ["user", "system"]
        assert asked[1]["parts"] == [{"type": "text", "content": "Be brief."}]
        [part] = answered[0]["parts"]
        assert (part["type"], part["name"], part["arguments"]) == ("tool_call", "look", {"where": "up"})
        assert json.loads(said(call, A.GEN_AI_TOOL_DEFINITIONS)) == [{"type": "function", "name": "look"}]
