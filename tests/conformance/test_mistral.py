"""mistralai: its methods have names of their own, and so its errors and its tracing have ways of their own."""

from __future__ import annotations

import asyncio
import gc
import importlib
import inspect
import json
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from importlib.util import find_spec
from typing import Any

import pytest
from opentelemetry.trace import StatusCode

from examples.offline_provider import OfflineProvider
from otel_llm.integrations import SDKInstrumentor
from otel_llm_semconv import attributes as A
from tests.conformance.ledger import assert_ledger_equals_bill
from tests.conformance.methods import captured
from tests.conformance.surfaces import got
from tests.conftest import Spans

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.usefixtures("no_fault")]

pytest.importorskip("mistralai", reason="the oldest SDKs do not fit into one environment")
# Up to 1.x `mistralai.client` is a module of another age.
_GENERATED = (found := find_spec("mistralai.client")) is not None and found.submodule_search_locations is not None
SDK: Any = importlib.import_module("mistralai.client" if _GENERATED else "mistralai")
MODEL = "mistral-small-latest"
USAGE = "tokens in=1000 out=50; cache hit 800"


@pytest.fixture(params=["sync", "async"])
def twin(request: pytest.FixtureRequest) -> str:
    """What the names of asynchronous methods end with."""
    return "_async" if request.param == "async" else ""


@pytest.fixture
def client(provider: OfflineProvider) -> Any:
    return SDK.Mistral(api_key="k", server_url=f"{provider.url}/mistral")


def question(script: str) -> dict[str, Any]:
    return {"model": MODEL, "messages": [{"role": "user", "content": f"[[offline: {script}]] Why?"}]}


async def read(stream: Any, each: Callable[[Any], Any] = lambda _event: None) -> None:
    """All events of a stream; `each` stops it by returning True."""
    if hasattr(stream, "__anext__"):
        async for event in stream:
            if each(event):
                return
    else:
        for event in stream:
            if each(event):
                return


async def read_all(reply: Any) -> None:
    """All of a stream; anything else is there already."""
    if hasattr(reply, "__next__") or hasattr(reply, "__anext__"):
        await read(reply)


@pytest.mark.usefixtures("instrumented")
async def test_plain_and_streamed(client: Any, provider: OfflineProvider, calls: Spans, twin: str) -> None:
    reply = await got(getattr(client.chat, "complete" + twin)(**question(USAGE)))
    assert reply.usage.prompt_tokens == 1000
    seen: list[Any] = []
    await read(await got(getattr(client.chat, "stream" + twin)(**question(USAGE))), seen.append)
    assert seen[-1].data.usage.prompt_tokens == 1000
    await got(getattr(client.embeddings, "create" + twin)(model="mistral-embed", inputs=["Why?"]))
    made = calls()
    assert [(call.attributes or {})[A.GEN_AI_PROVIDER_NAME] for call in made] == ["mistral_ai"] * 3
    assert_ledger_equals_bill(made, provider.bill)
    assert all((call.attributes or {})[A.OTEL_LLM_COST_STATUS] == "priced" for call in made)


def conversation(client: Any, twin: str, *, stream: bool, after: str | None = None) -> Callable[..., Any]:
    """The method that begins one, or goes on with one."""
    if (conversations := getattr(client.beta, "conversations", None)) is None:
        pytest.skip("this mistralai has no conversations")
    method = getattr(conversations, ("append" if after else "start") + "_stream" * stream + twin)
    given: dict[str, Any] = {"conversation_id": after} if after else {"model": MODEL}
    return partial(method, **given)


@pytest.mark.usefixtures("instrumented")
@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
async def test_conversations(client: Any, provider: OfflineProvider, calls: Spans, twin: str, stream: bool) -> None:
    ask = conversation(client, twin, stream=stream)
    if stream:
        events: list[Any] = []
        await read(await got(ask(inputs=f"[[offline: {USAGE}]] Why?")), events.append)
        begun = events[0].data.conversation_id
        assert events[-1].data.usage.prompt_tokens == 1000
    else:
        reply = await got(ask(inputs=f"[[offline: {USAGE}]] Why?"))
        begun = reply.conversation_id
        assert reply.usage.prompt_tokens == 1000
    # Later requests do not name the model.
    await read_all(await got(conversation(client, twin, stream=stream, after=begun)(inputs="And why not?")))
    first, second = calls()
    assert (first.name, second.name) == (f"chat {MODEL}", "chat")
    for call in (first, second):
        attributes = call.attributes or {}
        assert attributes[A.GEN_AI_CONVERSATION_ID] == begun
        assert attributes[A.GEN_AI_RESPONSE_FINISH_REASONS] == ("stop",)
    assert (second.attributes or {}).get(A.GEN_AI_REQUEST_MODEL) is None
    assert_ledger_equals_bill([first], provider.bill[:1])
    billed = provider.bill[1]
    assert (second.attributes or {})[A.OTEL_LLM_COST_NANO_USD] == billed.cost_nano
    assert (second.attributes or {})[A.GEN_AI_RESPONSE_ID] == billed.response_id


@pytest.mark.usefixtures("instrumented")
@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
async def test_what_a_conversation_searches_is_input_and_a_fee(
    client: Any, provider: OfflineProvider, calls: Spans, twin: str, stream: bool
) -> None:
    script = "tokens in=1000 out=50; web search 2"
    await read_all(await got(conversation(client, twin, stream=stream)(inputs=f"[[offline: {script}]] Why?")))
    [call] = calls()
    attributes = call.attributes or {}
    assert attributes[A.GEN_AI_USAGE_INPUT_TOKENS] == 1000
    assert attributes[A.OTEL_LLM_USAGE_REQUESTS_PREFIX + "web_search"] == 2
    assert attributes[A.OTEL_LLM_COST_STATUS] == "partial", "nobody lists what a search costs"
    assert_ledger_equals_bill([call], provider.bill)


@pytest.mark.usefixtures("instrumented")
@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
async def test_a_conversation_calls_a_function(client: Any, calls: Spans, twin: str, stream: bool) -> None:
    inputs = '[[offline: tool weather {"city": "Ulm"}]] Why?'
    tools: list[Any] = [{"type": "function", "function": {"name": "weather", "parameters": {}}}]
    await read_all(await got(conversation(client, twin, stream=stream)(inputs=inputs, tools=tools)))
    [call] = calls()
    assert (call.attributes or {})[A.GEN_AI_RESPONSE_FINISH_REASONS] == ("tool_call",)


@pytest.mark.usefixtures("instrumented")
@pytest.mark.parametrize("script", ["429", "cut in mid-stream after 2", "error event after 2"])
async def test_a_conversation_that_fails(
    client: Any, provider: OfflineProvider, calls: Spans, twin: str, script: str
) -> None:
    # Of a failure that an event tells, the SDK gives the event.
    raising = nullcontext() if script.startswith("error") else pytest.raises(Exception, match=r".")
    with raising:
        await read_all(await got(conversation(client, twin, stream=True)(inputs=f"[[offline: {script}]] Why?")))
    [call] = calls()
    assert call.status.status_code is StatusCode.ERROR
    assert (call.attributes or {})[A.OTEL_LLM_STREAM_OUTCOME] == "failed"
    provider.settle()
    assert_ledger_equals_bill([call], provider.bill)


@pytest.mark.usefixtures("instrumented")
@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
async def test_responses(client: Any, provider: OfflineProvider, calls: Spans, twin: str, stream: bool) -> None:
    if not hasattr(client, "responses"):
        pytest.skip("this mistralai has no responses")
    create = getattr(client.responses, "create" + twin)
    await read_all(await got(create(model=MODEL, input=f"[[offline: {USAGE}]] Why?", stream=stream)))
    made = calls()
    assert len(made) == 1
    assert_ledger_equals_bill(made, provider.bill)


@pytest.mark.usefixtures("instrumented")
@pytest.mark.parametrize("annotated", [False, True], ids=["read", "annotated"])
async def test_documents(client: Any, provider: OfflineProvider, calls: Spans, twin: str, annotated: bool) -> None:
    process = getattr(client.ocr, "process" + twin)
    document = {"type": "document_url", "document_url": "https://example.com/paper.pdf"}
    asked: dict[str, Any] = {"document_annotation_format": {"type": "json_object"}} if annotated else {}
    reply = await got(process(model="mistral-ocr-2512", document=document, **asked))
    [call] = made = calls()
    unit = A.OTEL_LLM_USAGE_REQUESTS_PREFIX + ("annotated_pages" if annotated else "pages")
    assert (call.attributes or {})[unit] == reply.usage_info.pages_processed
    assert (call.name, (call.attributes or {})[A.OTEL_LLM_COST_STATUS]) == ("ocr mistral-ocr-2512", "priced")
    assert_ledger_equals_bill(made, provider.bill)


@pytest.mark.usefixtures("instrumented")
@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
async def test_sound_is_billed_by_its_length(
    client: Any, provider: OfflineProvider, calls: Spans, twin: str, stream: bool
) -> None:
    if (audio := getattr(client, "audio", None)) is None:
        pytest.skip("this mistralai hears nothing")
    transcribe = getattr(audio.transcriptions, ("stream" if stream else "complete") + twin)
    file = {"file_name": "a.mp3", "content": b"seven b"}
    await read_all(await got(transcribe(model="voxtral-mini-2602", file=file)))
    [call] = made = calls()
    assert (call.attributes or {})[A.OTEL_LLM_USAGE_REQUESTS_PREFIX + "audio_ms"] == 7_000
    assert_ledger_equals_bill(made, provider.bill)


@pytest.mark.usefixtures("instrumented")
@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
@pytest.mark.parametrize(("script", "status"), [("429", 429), ("500", 500), ("401", 401)])
async def test_an_error(
    client: Any, provider: OfflineProvider, calls: Spans, twin: str, stream: bool, script: str, status: int
) -> None:
    with pytest.raises(Exception, match=script) as caught:
        await got(getattr(client.chat, ("stream" if stream else "complete") + twin)(**question(script)))
    assert getattr(caught.value, "status_code") == status  # noqa: B009 - of whatever class
    [call] = calls()
    attributes = call.attributes or {}
    assert call.status.status_code is StatusCode.ERROR
    assert attributes[A.ERROR_TYPE] == str(status)
    assert attributes[A.HTTP_RESPONSE_STATUS_CODE] == status
    assert attributes[A.OTEL_LLM_COST_STATUS] == "free"
    assert attributes.get(A.OTEL_LLM_STREAM_OUTCOME) == ("failed" if stream else None)
    assert provider.bill == []


@pytest.mark.usefixtures("instrumented")
async def test_retries_are_attempts_of_one_call(
    client: Any, provider: OfflineProvider, calls: Spans, twin: str
) -> None:
    utils: Any = importlib.import_module(f"{SDK.__name__}.utils")
    if not hasattr(importlib.import_module(f"{SDK.__name__}.utils.retries"), "_get_sleep_interval"):
        pytest.skip("this mistralai retries in one function")
    retries = utils.RetryConfig("backoff", utils.BackoffStrategy(10, 50, 1.5, 5000), retry_connection_errors=True)
    await got(getattr(client.chat, "complete" + twin)(**question(f"429 twice; {USAGE}"), retries=retries))
    [call] = calls()
    assert (call.attributes or {})[A.OTEL_LLM_ATTEMPTS] == 3
    events = [event for event in call.events if event.name == A.OTEL_LLM_ATTEMPT_FAILED]
    assert [(event.attributes or {})[A.OTEL_LLM_ATTEMPT_STATUS_CODE] for event in events] == [429, 429]
    assert_ledger_equals_bill([call], provider.bill)


@pytest.mark.usefixtures("instrumented")
@pytest.mark.parametrize("how", ["aborted", "abandoned"])
async def test_a_stream_that_is_left(client: Any, provider: OfflineProvider, calls: Spans, twin: str, how: str) -> None:
    script = "chunks 20; slow chunks 60ms"
    stream = await got(getattr(client.chat, "stream" + twin)(**question(script)))
    if how == "aborted":
        if twin:
            async with stream:
                await read(stream, lambda _event: True)
        else:
            with stream:
                await read(stream, lambda _event: True)
    else:
        await read(stream, lambda _event: True)
        del stream
        gc.collect()
        for _ in range(100):  # the loop closes generators that were dropped
            await asyncio.sleep(0.02)
            gc.collect()
            if calls():
                break
    [call] = calls()
    assert (call.attributes or {})[A.OTEL_LLM_STREAM_OUTCOME] in ("aborted", "abandoned")
    provider.settle()
    assert_ledger_equals_bill([call], provider.bill)


async def test_its_own_tracing_makes_no_second_call(
    provider: OfflineProvider,
    spans: Spans,
    twin: str,
    instrumentors: list[SDKInstrumentor],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip(f"{SDK.__name__}._hooks.tracing", reason="this mistralai does not trace itself")
    monkeypatch.setenv("MISTRAL_SDK_TELEMETRY", "global")
    client = SDK.Mistral(api_key="k", server_url=f"{provider.url}/mistral")
    await got(getattr(client.chat, "complete" + twin)(**question(USAGE)))
    already = spans()
    assert [span for span in already if A.GEN_AI_USAGE_INPUT_TOKENS in (span.attributes or {})], "it does trace"
    for instrumentor in instrumentors:
        instrumentor.instrument()
    await got(getattr(client.chat, "complete" + twin)(**question(USAGE)))
    for instrumentor in instrumentors:
        instrumentor.uninstrument()
    assert [span.name for span in spans()[len(already) :]] == [f"chat {MODEL}"]


@pytest.mark.usefixtures("instrumented")
@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
async def test_speech_is_billed_by_its_characters(
    client: Any, provider: OfflineProvider, calls: Spans, twin: str, stream: bool
) -> None:
    if not hasattr(getattr(client, "audio", None), "speech"):
        pytest.skip("this mistralai does not speak")
    speak = getattr(client.audio.speech, "complete" + twin)
    more = {"stream": True} if stream else {}
    await read_all(await got(speak(model="voxtral-mini-tts-2603", input="Hello, you.", **more)))
    [call] = made = calls()
    assert (call.attributes or {})[A.OTEL_LLM_USAGE_REQUESTS_PREFIX + "characters"] == 11
    assert (call.attributes or {})[A.OTEL_LLM_COST_NANO_USD] == 176_000
    assert_ledger_equals_bill(made, provider.bill)


@pytest.mark.usefixtures("instrumented")
@pytest.mark.parametrize("method", ["moderate", "moderate_chat", "classify", "classify_chat"])
async def test_classifiers_are_not_free(
    client: Any, calls: Spans, twin: str, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    captured(monkeypatch)
    said: Any = "A secret." if not method.endswith("chat") else [{"role": "user", "content": "A secret."}]
    if method == "classify_chat":
        said = [{"messages": said}]
    # The SDK has had several names for it.
    classify = getattr(client.classifiers, method + twin)
    name = next(name for name in inspect.signature(classify).parameters if name.startswith("input"))
    await got(classify(**{"model": "mistral-moderation-2411", name: said}))
    [call] = calls()
    attributes = call.attributes or {}
    assert attributes[A.GEN_AI_OPERATION_NAME] == ("moderation" if "moder" in method else "classification")
    assert (attributes[A.OTEL_LLM_COST_STATUS], attributes[A.OTEL_LLM_COST_UNPRICED_REASON]) == (
        "unpriced",
        "unknown_model",
    )
    assert A.OTEL_LLM_COST_NANO_USD not in attributes
    assert not [value for value in attributes.values() if "secret" in str(value)]


@pytest.mark.usefixtures("instrumented")
@pytest.mark.parametrize("how", ["file", "inline", "both"])
async def test_batches(
    client: Any, provider: OfflineProvider, audited: Spans, twin: str, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    captured(monkeypatch)
    scripts = (USAGE, "tokens in=10 out=20", "500")
    asked = [
        {"custom_id": str(i), "body": {name: question(script)[name] for name in ("model", "messages")}}
        for i, script in enumerate(scripts)
    ]
    jobs = client.batch.jobs
    if how == "inline":
        if "requests" not in inspect.signature(jobs.create).parameters:
            pytest.skip("this mistralai has no results in its answers")
        given: dict[str, Any] = {"requests": asked}
    else:
        content = "\n".join(json.dumps(line) for line in asked).encode()
        upload = getattr(client.files, "upload" + twin)
        file = await got(upload(file={"file_name": "batch.jsonl", "content": content}, purpose="batch"))
        given = {"input_files": [file.id]}
    job = await got(getattr(jobs, "create" + twin)(endpoint="/v1/chat/completions", model=MODEL, **given))
    get = getattr(jobs, "get" + twin)
    for _ in range(2):
        done = await got(get(job_id=job.id))
        assert done.status == "SUCCESS"
        if how != "inline":
            download = await got(getattr(client.files, "download" + twin)(file_id=done.output_file))
            body = await download.aread() if twin else download.read()
            assert [json.loads(line)["response"]["status_code"] for line in body.splitlines()] == [200, 200, 500]
        if how != "file" and "inline" in inspect.signature(get).parameters:
            assert len((await got(get(job_id=job.id, inline=True))).outputs) == 3
    made = audited()
    assert [(call.attributes or {})[A.OTEL_LLM_PRICE_VARIANT] for call in made] == ["batch"] * 2
    assert "Why?" not in str([call.attributes for call in made])
