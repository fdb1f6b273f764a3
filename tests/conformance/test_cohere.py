"""cohere: two versions of an API, plain calls through one method and streams through httpx's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from examples.offline_provider import OfflineProvider
from otel_llm_semconv import attributes as A
from tests.conformance.conftest import Twice
from tests.conformance.methods import BROKEN, FAILED, LEFT, REFUSED, USAGE, captured, held, read, said
from tests.conformance.surfaces import got
from tests.conftest import Spans

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.usefixtures("no_fault")]

cohere: Any = pytest.importorskip("cohere", reason="the oldest SDKs do not fit into one environment")
Connect = Callable[[int], Any]


@pytest.fixture(params=["sync", "async"])
def connect(request: pytest.FixtureRequest, provider: OfflineProvider) -> Connect:
    """Makes a client of a version of the API."""
    prefix = "Async" if request.param == "async" else ""

    def connect(version: int) -> Any:
        kind = getattr(cohere, f"{prefix}Client{'V2' if version == 2 else ''}")
        return kind(api_key="k", base_url=f"{provider.url}/cohere")

    return connect


def question(version: int, script: str) -> dict[str, Any]:
    text = f"[[offline: {script}]] Why?"
    if version == 1:
        return {"model": "command-r-08-2024", "message": text}
    return {"model": "command-a-03-2025", "messages": [{"role": "user", "content": text}]}


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize(
    ("stream", "how"),
    [(False, how) for how in (USAGE, *REFUSED, *BROKEN)]
    + [(True, how) for how in (USAGE, *REFUSED, *BROKEN, FAILED, *LEFT)],
)
async def test_chat(connect: Connect, twice: Twice, version: int, stream: bool, how: str) -> None:
    client = connect(version)

    def call(script: str) -> Any:
        return (client.chat_stream if stream else client.chat)(**question(version, script))

    _seen, attributes = await held(twice, call, how, stream=stream)
    assert attributes[A.GEN_AI_PROVIDER_NAME] == "cohere"
    if how == USAGE:
        assert attributes[A.GEN_AI_USAGE_INPUT_TOKENS] == 1000, "as billed, not as processed"
        assert attributes[A.OTEL_LLM_COST_STATUS] == "priced"
        assert attributes[A.GEN_AI_RESPONSE_FINISH_REASONS] == ("stop",)


@pytest.mark.usefixtures("instrumented")
@pytest.mark.parametrize("version", [1, 2])
async def test_embed_and_rerank(connect: Connect, audited: Spans, version: int) -> None:
    client = connect(version)
    texts = [f"a secret {number}" for number in range(100)]
    asked = {"model": "embed-v4.0", "input_type": "search_document", "embedding_types": ["float"]}
    await got(client.embed(texts=texts[:50], **asked))
    await got(client.rerank(model="rerank-v3.5", query="Why?", documents=texts * 2, top_n=3))
    embedded, ranked = audited()
    assert (embedded.name, ranked.name) == ("embeddings embed-v4.0", "rerank rerank-v3.5")
    assert (ranked.attributes or {})[f"{A.OTEL_LLM_USAGE_REQUESTS_PREFIX}search_units"] == 2
    assert (ranked.attributes or {})[A.OTEL_LLM_COST_NANO_USD] == 4_000_000
    assert not [
        value for span in (embedded, ranked) for value in (span.attributes or {}).values() if "secret" in str(value)
    ]


@pytest.mark.usefixtures("instrumented")
async def test_how_long_a_sound_was_is_not_told(connect: Connect, calls: Spans) -> None:
    if not hasattr(client := connect(2), "audio"):
        pytest.skip("this cohere hears nothing")
    await got(client.audio.transcriptions.create(model="cohere-transcribe", language="en", file=("a.mp3", b"sound")))
    [call] = calls()
    assert call.name == "transcription cohere-transcribe"
    assert (call.attributes or {})[A.OTEL_LLM_COST_STATUS] == "unpriced"
    assert A.OTEL_LLM_COST_NANO_USD not in (call.attributes or {})


def text(script: str) -> dict[str, Any]:
    return {"model": "command-light", "prompt": f"[[offline: {script}]] Why?"}


@pytest.mark.parametrize(
    ("stream", "how"),
    [(False, how) for how in (USAGE, *REFUSED, *BROKEN)]
    + [(True, how) for how in (USAGE, *REFUSED, *BROKEN, FAILED, *LEFT)],
)
async def test_generate(connect: Connect, twice: Twice, stream: bool, how: str) -> None:
    client = connect(1)

    def call(script: str) -> Any:
        return (client.generate_stream if stream else client.generate)(**text(script))

    _seen, attributes = await held(twice, call, how, stream=stream)
    assert attributes[A.GEN_AI_OPERATION_NAME] == "text_completion"
    if how == USAGE:
        # A stream does not tell its usage.
        assert attributes[A.OTEL_LLM_COST_STATUS] == ("unpriced" if stream else "priced")


@pytest.mark.usefixtures("instrumented")
@pytest.mark.parametrize("method", ["generate", "generate_stream"])
async def test_what_is_generated(connect: Connect, calls: Spans, monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    captured(monkeypatch)
    asked = text("say Because.")
    await read(getattr(connect(1), method)(**asked))
    _system, [question_], [answer], _tools = said(calls()[0])
    assert question_["parts"] == [{"type": "text", "content": asked["prompt"]}]
    assert answer["parts"] == [{"type": "text", "content": "Because."}]
    assert answer["finish_reason"] == "stop"


@pytest.mark.usefixtures("instrumented")
async def test_what_is_billed_by_other_units(connect: Connect, audited: Spans, monkeypatch: pytest.MonkeyPatch) -> None:
    captured(monkeypatch)
    story = f"[[offline: {USAGE}; say Because.]] A long story. " * 9
    await got(connect(1).summarize(text=story, model="command-light"))
    await got(connect(1).classify(inputs=["a secret", "another secret"], model="embed-english-v3.0", examples=[]))
    if hasattr(connect(2), "parse"):
        document = {"type": "image_url", "image_url": {"url": "data:secret"}}
        await got(connect(2).parse(model="parse-1", document=document))
    spans = audited()
    summarized, classified, *read_in = (call.attributes or {} for call in spans)
    assert summarized[A.OTEL_LLM_COST_STATUS] == "priced"
    because = {"type": "text", "content": "Because."}
    _system, [asked], [answered], _tools = said(spans[0])
    assert (asked["parts"], answered["parts"]) == ([{"type": "text", "content": story}], [because])
    assert classified[A.OTEL_LLM_USAGE_REQUESTS_PREFIX + "classifications"] == 2
    for attributes in read_in:
        assert attributes[A.OTEL_LLM_USAGE_REQUESTS_PREFIX + "pages"] == 1
    for attributes in (classified, *read_in):
        assert attributes[A.OTEL_LLM_COST_UNPRICED_REASON] == "unknown_model"
    assert "secret" not in str([classified, *read_in])


@pytest.mark.usefixtures("instrumented")
async def test_retries_are_attempts_of_one_call(connect: Connect, audited: Spans) -> None:
    asked = question(2, f"429 twice; {USAGE}")
    await got(connect(2).chat(**asked, request_options={"max_retries": 5}))
    [call] = audited()
    assert (call.attributes or {})[A.OTEL_LLM_ATTEMPTS] == 3
    assert [(event.attributes or {})[A.OTEL_LLM_ATTEMPT_STATUS_CODE] for event in call.events] == [429, 429]


@pytest.mark.usefixtures("instrumented")
async def test_raw_responses(connect: Connect, audited: Spans) -> None:
    client = connect(2)
    if not hasattr(client, "with_raw_response"):
        pytest.skip("this cohere has no raw responses")
    raw = await got(client.with_raw_response.chat(**question(2, USAGE)))
    assert raw.data.usage.billed_units.input_tokens == 1000
    [call] = audited()
    assert (call.attributes or {})[A.OTEL_LLM_COST_STATUS] == "priced"


@pytest.mark.usefixtures("instrumented")
@pytest.mark.parametrize("method", ["chat", "chat_stream"])
async def test_what_is_said(connect: Connect, calls: Spans, monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    captured(monkeypatch)
    tool: Any = {"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}
    await read(getattr(connect(2), method)(**question(2, 'tool look {"up": 1}'), tools=[tool]))
    await read(getattr(connect(2), method)(**question(2, "say Because.")))
    before = [{"role": "CHATBOT", "message": "Hi"}]
    await read(getattr(connect(1), method)(**question(1, "say Because."), preamble="Be kind.", chat_history=before))
    looked, answered, answered_1 = map(said, calls())
    asked, because = question(2, "say Because.")["messages"][0]["content"], {"type": "text", "content": "Because."}
    reply = {"role": "assistant", "parts": [because], "finish_reason": "stop"}
    assert looked[3] == [{"type": "function", "name": "look"}]
    plan, look = looked[2][0]["parts"]
    assert plan == {"type": "text", "content": "I will use a tool."}
    assert (look["type"], look["name"], look["arguments"]) == ("tool_call", "look", {"up": 1})
    question_2 = {"role": "user", "parts": [{"type": "text", "content": asked}]}
    assert answered == [None, [question_2], [reply], None]
    greeting = {"role": "assistant", "parts": [{"type": "text", "content": "Hi"}]}
    assert answered_1 == [[{"type": "text", "content": "Be kind."}], [greeting, question_2], [reply], None]


@pytest.mark.usefixtures("instrumented")
async def test_on_bedrock(calls: Spans) -> None:
    """There the SDK rewrites the request, and what comes back; the counts are in headers."""
    pytest.importorskip("boto3")
    client = cohere.BedrockClient(aws_access_key="k", aws_secret_key="s", aws_region="us-east-1")
    asked: list[Any] = []

    def bedrock(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        counts = {"X-Amzn-Bedrock-Input-Token-Count": "7", "X-Amzn-Bedrock-Output-Token-Count": "3"}
        return httpx.Response(200, json={"response_id": "r-1", "text": "Hi", "chat_history": []}, headers=counts)

    sdk = client._client_wrapper.httpx_client.httpx_client
    sdk._transport, sdk._mounts = httpx.MockTransport(bedrock), {}
    assert client.chat(model="cohere.command-r-v1:0", message="Hi").text == "Hi"
    assert asked[0].url.host == "bedrock-runtime.us-east-1.amazonaws.com"
    attributes = calls()[0].attributes or {}
    assert attributes[A.GEN_AI_PROVIDER_NAME] == "aws.bedrock"
    assert (attributes[A.GEN_AI_USAGE_INPUT_TOKENS], attributes[A.GEN_AI_USAGE_OUTPUT_TOKENS]) == (7, 3)
    assert A.SERVER_ADDRESS not in attributes
