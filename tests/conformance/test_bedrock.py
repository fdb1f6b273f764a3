"""Bedrock's models through botocore. test_aiobotocore.py does the same with its asynchronous twin."""

from __future__ import annotations

import asyncio
import gc
import io
import json
import urllib.request
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from examples.offline_provider import OfflineProvider
from examples.offline_provider.eventstream import AWS_CHUNKS, AWS_EVENTS, aws_exception
from otel_llm import content
from otel_llm.call import Call, Usage
from otel_llm.dialects.bedrock import invoked
from otel_llm.engine.prices import price_book
from otel_llm.framing import AmazonEvents
from otel_llm.pricing import PriceBook
from otel_llm_semconv import attributes as A
from tests.conformance.conftest import Twice
from tests.conformance.ledger import assert_ledger_equals_bill
from tests.conformance.surfaces import got
from tests.conformance.ways import VALUES, Seen, neutral
from tests.conftest import Spans

botocore_session = pytest.importorskip("botocore.session", reason="the oldest SDKs do not fit into one environment")
botocore_config = pytest.importorskip("botocore.config")
standard = pytest.importorskip("botocore.retries.standard")

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.usefixtures("no_fault")]

Connect = Callable[..., Any]
"""A client that makes so many attempts."""
OPTIONS = {"region_name": "us-east-1", "aws_access_key_id": "k", "aws_secret_access_key": "s"}
NOVA = "amazon.nova-lite-v1:0"
CLAUDE = "global.anthropic.claude-haiku-4-5-20251001-v1:0"
USAGE = "tokens in=1000 out=50; cache hit 800"
WAY = VALUES[0]


def retries(attempts: int) -> dict[str, Any]:
    """The client's configuration."""
    return {"retries": {"total_max_attempts": attempts, "mode": "standard"}}


@pytest.fixture(scope="session")
def connect(running_provider: OfflineProvider) -> Connect:
    @cache  # each reads all of Amazon's services
    def connected(service: str = "bedrock-runtime", attempts: int = 1) -> Any:
        options = {
            **OPTIONS,
            "endpoint_url": running_provider.url,
            "config": botocore_config.Config(**retries(attempts)),
        }
        return botocore_session.Session().create_client(service, **options)

    return connected


def needs(client: Any, shape: str, member: str) -> None:
    """Skip the test where this version's parser does not know what the answer would say."""
    model = client.meta.service_model
    if shape not in model.shape_names or member not in model.shape_for(shape).members:
        pytest.skip(f"this botocore knows no {member}")


def said(text: str) -> list[dict[str, Any]]:
    return [{"role": "user", "content": [{"text": text}]}]


def prompted(name: str, **rest: Any) -> Callable[[str], dict[str, Any]]:
    return lambda text: {name: text, **rest}


BODIES: dict[str, tuple[str, Callable[[str], dict[str, Any]]]] = {
    "converse": (NOVA, lambda text: {"messages": said(text), "inferenceConfig": {"maxTokens": 90, "topP": 0.5}}),
    "claude": (
        CLAUDE,
        lambda text: {
            "anthropic_version": "bedrock-2023-05-31",
            "max_tokens": 90,
            "messages": [{"role": "user", "content": text}],
        },
    ),
    "nova": (NOVA, lambda text: {"messages": said(text), "inferenceConfig": {"maxTokens": 90}}),
    "llama": ("us.meta.llama3-3-70b-instruct-v1:0", prompted("prompt", max_gen_len=90)),
    "mistral": ("mistral.mistral-large-2402-v1:0", prompted("prompt", max_tokens=90)),
    "cohere": ("cohere.command-r-v1:0", prompted("message", max_tokens=90)),
    "titan": ("amazon.titan-text-express-v1", prompted("inputText", textGenerationConfig={"maxTokenCount": 90})),
    "openai": (
        "openai.gpt-oss-120b-1:0",
        lambda text: {"messages": [{"role": "user", "content": text}], "max_tokens": 90},
    ),
    "titan embeddings": ("amazon.titan-embed-text-v1", prompted("inputText")),
    "cohere embeddings": ("cohere.embed-v4:0", lambda text: {"texts": [text], "input_type": "search_query"}),
}
UNPRICED = ("cohere", "cohere embeddings")
"""What the price book does not know."""
PLAIN = [*BODIES]
STREAMED = [name for name in BODIES if not name.endswith("embeddings")]


async def ask(client: Any, surface: str, text: str, *, stream: bool = False, **more: Any) -> Any:
    """What a surface of Bedrock gives for a text."""
    model, body = BODIES[surface]
    if surface == "converse":
        arguments = {"modelId": model, **body(text), **more}
        return await got((client.converse_stream if stream else client.converse)(**arguments))
    arguments = {"modelId": model, "body": json.dumps(body(text)), **more}
    return await got((client.invoke_model_with_response_stream if stream else client.invoke_model)(**arguments))


def streamed(result: Any) -> Any:
    """The stream in a result, or its body."""
    return result["stream"] if "stream" in result else result.get("body")


async def each(items: Any, do: Callable[[Any], Any]) -> None:
    """Do this with every item; stop when it says True."""
    if hasattr(items, "__aiter__"):
        async for item in items:
            if do(item):
                return
    else:
        for item in items:
            if do(item):
                return


async def use(client: Any, surface: str, text: str, seen: Seen, *, stream: bool = False, **more: Any) -> None:
    """Ask, and read all of it."""
    try:
        result = await got(ask(client, surface, text, stream=stream, **more))
        found = streamed(result)
        seen.add({name: value for name, value in result.items() if value is not found})
        seen.result = type(result if found is None else found)
        if stream:
            await each(found, seen.add)
        elif found is not None:
            seen.add(await got(found.read()))
    except Exception as error:
        seen.error = error
        raise


@pytest.mark.parametrize(
    ("surface", "stream"),
    [*((surface, False) for surface in PLAIN), *((surface, True) for surface in STREAMED)],
    ids=lambda value: value if isinstance(value, str) else "stream" if value else "plain",
)
async def test_all_goes_well(connect: Connect, twice: Twice, surface: str, stream: bool) -> None:
    client = await got(connect())
    text = f"[[offline: {USAGE}]] Why?" if surface in STREAMED else "Why is the sky blue?"
    seen, [call] = await twice(WAY, lambda seen: use(client, surface, text, seen, stream=stream))
    assert seen.values
    attributes = call.attributes or {}
    assert attributes[A.GEN_AI_PROVIDER_NAME] == "aws.bedrock"
    assert attributes[A.SERVER_ADDRESS] == "127.0.0.1"
    assert attributes[A.OTEL_LLM_COST_STATUS] == ("unpriced" if surface in UNPRICED else "priced")
    assert attributes.get(A.OTEL_LLM_STREAM_OUTCOME) == ("completed" if stream else None)
    if surface in STREAMED:
        assert attributes[A.GEN_AI_REQUEST_MAX_TOKENS] == 90
        assert attributes[A.GEN_AI_RESPONSE_FINISH_REASONS] == ("stop",)
    assert (A.GEN_AI_RESPONSE_TIME_TO_FIRST_CHUNK in attributes) is stream


@pytest.mark.parametrize("script", ["cache write 5m 100; cache write 1h 50", "cache write 70"])
@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
async def test_cache_writes(connect: Connect, twice: Twice, stream: bool, script: str) -> None:
    client = await got(connect())
    if "5m" in script:
        needs(client, "TokenUsage", "cacheDetails")
    text = f"[[offline: tokens in=1000 out=50; cache hit 300; {script}]] Why?"
    await twice(WAY, lambda seen: use(client, "converse", text, seen, stream=stream))


async def test_a_tier_has_a_price_of_its_own(connect: Connect, twice: Twice) -> None:
    client = await got(connect())
    needs(client, "ConverseResponse", "serviceTier")
    _, [call] = await twice(WAY, lambda seen: use(client, "converse", "[[offline: tier flex]]", seen))
    assert (call.attributes or {})[A.OTEL_LLM_COST_UNPRICED_REASON] == "variant:flex"


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
@pytest.mark.parametrize("surface", ["converse", "claude"])
@pytest.mark.parametrize("status", [401, 429, 500])
async def test_the_provider_refuses(
    connect: Connect, twice: Twice, provider: OfflineProvider, surface: str, stream: bool, status: int
) -> None:
    client = await got(connect())
    seen, [call] = await twice(WAY, lambda seen: use(client, surface, f"[[offline: {status}]]", seen, stream=stream))
    attributes = call.attributes or {}
    assert attributes[A.HTTP_RESPONSE_STATUS_CODE] == status
    assert str(attributes[A.ERROR_TYPE]).endswith(type(seen.error).__name__)
    assert attributes[A.OTEL_LLM_COST_STATUS] == "free"
    assert attributes.get(A.OTEL_LLM_STREAM_OUTCOME) == ("failed" if stream else None)
    assert provider.bill == []


def _at_once(_backoff: Any, _attempt: Any) -> float:
    return 0.001


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
@pytest.mark.parametrize("surface", ["converse", "claude"])
async def test_retries_are_attempts_of_one_call(
    connect: Connect, twice: Twice, surface: str, stream: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(standard.ExponentialBackoff, "delay_amount", _at_once)
    client = await got(connect(attempts=3))
    text = f"[[offline: 429 twice; {USAGE}]]"
    seen, [call] = await twice(WAY, lambda seen: use(client, surface, text, seen, stream=stream))
    assert (call.attributes or {})[A.OTEL_LLM_ATTEMPTS] == 3 == seen.values[0]["ResponseMetadata"]["RetryAttempts"] + 1
    failed = [event.attributes or {} for event in call.events if event.name == A.OTEL_LLM_ATTEMPT_FAILED]
    assert [attempt[A.OTEL_LLM_ATTEMPT_STATUS_CODE] for attempt in failed] == [429, 429]


async def whole(body: Any) -> bytes:
    return await got(body.read())


async def bit_by_bit(body: Any) -> bytes:
    pieces: list[bytes] = []
    while piece := await got(body.read(7)):
        pieces.append(piece)
    return b"".join(pieces)


def _iterated(method: str) -> Callable[[Any], Any]:
    async def read(body: Any) -> bytes:
        pieces: list[bytes] = []
        await each(getattr(body, method)(), pieces.append)
        return b"".join(pieces)

    return read


async def within(body: Any) -> bytes:
    if hasattr(body, "__aenter__"):
        async with body as opened:
            return await opened.read()
    with body as opened:
        return opened.read()


async def into(body: Any) -> bytes:
    if hasattr(body, "__aiter__") or not hasattr(body, "readinto"):
        return await got(body.read())
    buffer = bytearray(20_000)
    size = 0
    while more := body.readinto(memoryview(buffer)[size:]):
        size += more
    return bytes(buffer[:size])


async def not_at_all(body: Any) -> bytes:
    await got(body.close())
    return b""


async def dropped(_body: Any) -> bytes:
    return b""


READINGS = [whole, bit_by_bit, _iterated("iter_chunks"), _iterated("iter_lines"), within, into]


@pytest.mark.parametrize(
    ("surface", "read"),
    [*(("claude", read) for read in READINGS), *(("cohere", read) for read in (*READINGS, not_at_all, dropped))],
    ids=lambda value: value if isinstance(value, str) else value.__qualname__,
)
async def test_a_body_however_it_is_read(connect: Connect, twice: Twice, surface: str, read: Any) -> None:
    client = await got(connect())

    async def reading(seen: Seen) -> None:
        result = await ask(client, surface, f"[[offline: {USAGE}]] Why?")
        seen.result = type(result["body"])
        seen.add(await read(result["body"]))

    _, [call] = await twice(WAY, reading)
    attributes = call.attributes or {}
    assert attributes[A.GEN_AI_USAGE_INPUT_TOKENS] == 1000  # the headers say that
    left = {not_at_all: "aborted", dropped: "abandoned"}.get(read)
    assert attributes.get(A.OTEL_LLM_STREAM_OUTCOME) == left
    assert attributes[A.OTEL_LLM_USAGE_SOURCE] == ("partial" if left else "provider")


SLOWLY = "[[offline: chunks 20; slow chunks 40ms]] Why?"


@pytest.mark.parametrize("how", ["aborted", "abandoned", "unread"])
@pytest.mark.parametrize("surface", ["converse", "claude"])
@pytest.mark.usefixtures("instrumented")
async def test_a_stream_that_is_left(
    connect: Connect, calls: Spans, provider: OfflineProvider, surface: str, how: str
) -> None:
    result = await ask(await got(connect()), surface, SLOWLY, stream=True)
    if how != "unread":
        await each(streamed(result), lambda _event: True)
    if how == "aborted":
        await got(streamed(result).close())
    else:
        del result
        for _ in range(100):  # the loop closes generators that were dropped
            gc.collect()
            await asyncio.sleep(0.01)
            if calls():
                break
    [call] = calls()
    assert (call.attributes or {})[A.OTEL_LLM_STREAM_OUTCOME] == ("aborted" if how == "aborted" else "abandoned")
    provider.settle()
    assert_ledger_equals_bill([call], provider.bill)


@pytest.mark.parametrize("script", ["cut in mid-stream after 3", "error event after 3"])
@pytest.mark.parametrize("surface", ["converse", "claude"])
async def test_a_stream_that_breaks(connect: Connect, twice: Twice, surface: str, script: str) -> None:
    client = await got(connect())
    text = f"[[offline: chunks 9; {script}]] Why?"
    seen, [call] = await twice(WAY, lambda seen: use(client, surface, text, seen, stream=True))
    assert seen.error is not None
    attributes = call.attributes or {}
    assert attributes[A.OTEL_LLM_STREAM_OUTCOME] == "failed"
    assert attributes[A.ERROR_TYPE]
    if "error event" in script:
        assert attributes[A.ERROR_TYPE] == "modelStreamErrorException"


@pytest.mark.parametrize("cut", ["headers", "body", "mid-stream"])
async def test_a_body_that_breaks(connect: Connect, twice: Twice, cut: str) -> None:
    client = await got(connect())
    script = f"cut in {cut}" if cut == "mid-stream" else f"cut before {cut}"
    seen, [call] = await twice(WAY, lambda seen: use(client, "cohere", f"[[offline: {script}]] Why?", seen))
    assert seen.error is not None
    assert A.ERROR_TYPE in (call.attributes or {})


class Mistake(Exception):
    """The user's own."""


@pytest.mark.usefixtures("instrumented")
async def test_the_user_makes_a_mistake_while_reading(connect: Connect, calls: Spans) -> None:
    result = await ask(await got(connect()), "converse", "Why?", stream=True)

    def err(_event: Any) -> None:
        raise Mistake

    with pytest.raises(Mistake):
        await each(result["stream"], err)
    await got(result["stream"].close())
    [call] = calls()
    assert (call.attributes or {})[A.OTEL_LLM_STREAM_OUTCOME] == "aborted"
    assert A.ERROR_TYPE not in (call.attributes or {})


@pytest.mark.usefixtures("instrumented")
async def test_what_is_no_call(connect: Connect, provider: OfflineProvider, spans: Spans) -> None:
    with pytest.raises(Exception, match="offline provider"):
        await got((await got(connect("sts"))).get_caller_identity())
    with pytest.raises(Exception, match="404"):
        await got(
            (await got(connect())).apply_guardrail(
                guardrailIdentifier="g", guardrailVersion="1", source="INPUT", content=[{"text": {"text": "Why?"}}]
            )
        )
    assert not spans()


@pytest.mark.usefixtures("instrumented")
async def test_a_body_like_a_file_is_the_sdk_s_to_read(
    connect: Connect, calls: Spans, provider: OfflineProvider
) -> None:
    body = io.BytesIO(json.dumps(BODIES["claude"][1]("Why?")).encode())
    result = await got((await got(connect())).invoke_model(modelId=CLAUDE, body=body))
    assert json.loads(await got(result["body"].read()))["content"]
    assert_ledger_equals_bill(calls(), provider.bill)


@pytest.mark.usefixtures("instrumented")
async def test_a_guardrail_is_billed_beside_the_tokens(connect: Connect, calls: Spans) -> None:
    guardrail: dict[str, Any] = {"guardrailConfig": {"guardrailIdentifier": "g1", "guardrailVersion": "1"}}
    await ask(await got(connect()), "converse", "Why?", **guardrail)
    attributes = calls()[0].attributes or {}
    assert attributes[A.AWS_BEDROCK_GUARDRAIL_ID] == "g1"
    assert attributes[A.OTEL_LLM_COST_STATUS] == "partial"
    assert attributes[A.OTEL_LLM_COST_UNPRICED_REASON] == "no_price_for:guardrail"


async def test_the_offline_provider_says_what_the_service_model_knows(
    connect: Connect, provider: OfflineProvider
) -> None:
    asked = {"messages": said(f"[[offline: {USAGE}; cache write 5m 10; reasoning 5; tier flex]]")}
    client = await got(connect())
    needs(client, "TokenUsage", "cacheDetails")
    result = await got(client.converse(modelId=NOVA, **asked))
    result.pop("ResponseMetadata")
    sent = urllib.request.Request(f"{provider.url}/model/{NOVA}/converse", json.dumps(asked).encode())
    with await asyncio.to_thread(urllib.request.urlopen, sent) as response:
        assert neutral(result) == neutral(json.load(response))


# What is said.

TOOLS = {"toolConfig": {"tools": [{"toolSpec": {"name": "look", "inputSchema": {"json": {"type": "object"}}}}]}}
ASKED: list[dict[str, Any]] = [
    {"role": "user", "content": [{"text": "What?"}, {"image": {"format": "png", "source": {"bytes": b"\x00"}}}]},
    {"role": "assistant", "content": [{"toolUse": {"toolUseId": "t1", "name": "look", "input": {"at": 1}}}]},
    {
        "role": "user",
        "content": [
            {"toolResult": {"toolUseId": "t1", "content": [{"text": "a sky"}, {"json": {"hue": 240}}]}},
            {"cachePoint": {"type": "default"}},
            {"text": '[[offline: tool look {"at": 2}; reasoning 5]] And?'},
        ],
    },
]


@pytest.fixture
def captured(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", "SPAN_ONLY")
    content.modes.cache_clear()
    yield
    monkeypatch.undo()
    content.modes.cache_clear()


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
@pytest.mark.usefixtures("captured", "instrumented")
async def test_what_is_said_in_converse(connect: Connect, calls: Spans, stream: bool) -> None:
    client = await got(connect())
    asked = {"modelId": NOVA, "system": [{"text": "Be brief."}], "messages": ASKED, **TOOLS}
    result = await got((client.converse_stream if stream else client.converse)(**asked))
    if stream:
        await each(result["stream"], lambda _event: None)
    found = {
        name: json.loads(str(value)) for name, value in (calls()[0].attributes or {}).items() if "messages" in name
    }
    attributes = calls()[0].attributes or {}
    assert json.loads(str(attributes[A.GEN_AI_SYSTEM_INSTRUCTIONS])) == [{"type": "text", "content": "Be brief."}]
    assert json.loads(str(attributes[A.GEN_AI_TOOL_DEFINITIONS])) == [{"type": "function", "name": "look"}]
    first, second, third = found[A.GEN_AI_INPUT_MESSAGES]
    assert first["parts"][1] == {"type": "blob", "modality": "image", "mime_type": "image/png", "content": ""}
    assert second["parts"] == [{"type": "tool_call", "id": "t1", "name": "look", "arguments": {"at": 1}}]
    response = [{"type": "text", "content": "a sky"}, {"hue": 240}]
    assert third["parts"][0] == {"type": "tool_call_response", "id": "t1", "response": response}
    [answer] = found[A.GEN_AI_OUTPUT_MESSAGES]
    assert answer["finish_reason"] == "tool_call"
    assert [part["type"] for part in answer["parts"]] == ["reasoning", "tool_call"]
    assert answer["parts"][1]["arguments"] == {"at": 2}


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
@pytest.mark.parametrize("surface", STREAMED)
@pytest.mark.usefixtures("captured", "instrumented")
async def test_what_is_said_to_each_model(connect: Connect, calls: Spans, surface: str, stream: bool) -> None:
    await use(await got(connect()), surface, "[[offline: say Because.]] Why?", Seen(), stream=stream)
    attributes = calls()[0].attributes or {}
    [asked] = json.loads(str(attributes[A.GEN_AI_INPUT_MESSAGES]))
    [answered] = json.loads(str(attributes[A.GEN_AI_OUTPUT_MESSAGES]))
    assert asked == {"role": "user", "parts": [{"type": "text", "content": "[[offline: say Because.]] Why?"}]}
    assert answered["parts"] == [{"type": "text", "content": "Because."}]


@pytest.mark.usefixtures("captured", "instrumented")
async def test_embeddings_are_never_captured(connect: Connect, calls: Spans) -> None:
    for surface in PLAIN:
        if surface not in STREAMED:
            await use(await got(connect()), surface, "a secret", Seen())
    assert len(calls()) == 2
    assert "secret" not in repr([call.attributes for call in calls()])


# What it costs.

ARN = "arn:aws:bedrock:us-east-1:123456789012"


@pytest.mark.parametrize(
    ("asked", "answered", "status"),
    [
        (f"{ARN}:inference-profile/us.anthropic.claude-sonnet-5-5", None, "priced"),
        ("arn:aws:bedrock:us-east-1::foundation-model/amazon.nova-lite-v1:0", None, "priced"),
        ("cohere.embed-english-v3", None, "priced"),
        (f"{ARN}:application-inference-profile/abcd1234", None, "unpriced"),
        (f"{ARN}:application-inference-profile/abcd1234", "claude-haiku-4-5-20251001", "unpriced"),
        (f"{ARN}:provisioned-model/abcd1234", "claude-haiku-4-5-20251001", "unpriced"),
        (f"{ARN}:default-prompt-router/anthropic.claude:1", None, "unpriced"),
        (
            f"{ARN}:default-prompt-router/anthropic.claude:1",
            f"{ARN}:inference-profile/us.anthropic.claude-haiku-4-5-20251001-v1:0",
            "priced",
        ),
    ],
)
async def test_what_a_name_costs(asked: str, answered: str | None, status: str) -> None:
    usage = Usage(input=10, output=0)
    call = Call("chat", "aws.bedrock", asked, response_model=answered, usage=usage)
    assert price_book().price(call).status == status


async def test_only_the_user_knows_what_a_profile_costs(tmp_path: Path) -> None:
    profile = f"{ARN}:application-inference-profile/abcd1234"
    alias = f'[[aliases]]\nprovider = "aws.bedrock"\nmatch = "{profile}"\nprice_key = "aws/{NOVA}"\n'
    (tmp_path / "prices.toml").write_text(alias)
    call = Call("chat", "aws.bedrock", profile, usage=Usage(input=1000, output=0))
    cost = PriceBook(tmp_path, tmp_path / "prices.toml").price(call)
    assert (cost.status, cost.nano_usd) == ("priced", 60_000)


# What no surface above says.


@pytest.mark.parametrize(
    ("body", "name"),
    [
        ({"anthropic_version": "bedrock-2023-05-31", "messages": []}, "bedrock anthropic.messages"),
        ({"messages": said("Why?"), "inferenceConfig": {}}, "bedrock.converse"),
        ({"messages": [{"role": "user", "content": "Why?"}]}, "bedrock openai.chat unasked"),
        ({"prompt": "Why?", "max_gen_len": 5}, "bedrock prompt"),
        ({"texts": ["Why?"], "input_type": "search_query"}, "bedrock embeddings"),
        ({"inputText": "Why?", "embeddingTypes": ["binary"]}, "bedrock embeddings"),
        ({"inputText": "Why?", "dimensions": 256}, "bedrock embeddings"),
        ({"inputText": "Why?", "textGenerationConfig": {}}, "bedrock prompt"),
        ({"taskType": "SINGLE_EMBEDDING", "schemaVersion": "nova-multimodal-embed-v1"}, "bedrock embeddings"),
        ({"taskType": "TEXT_IMAGE", "textToImageParams": {}}, "bedrock images"),
        ({"query": "Why?", "documents": ["Because."], "api_version": 2}, "bedrock rerank"),
    ],
)
async def test_a_profile_hides_the_model_but_not_its_dialect(body: dict[str, Any], name: str) -> None:
    assert invoked({"modelId": f"{ARN}:application-inference-profile/abcd1234", **body}).name == name


async def test_titans_models_for_text_take_a_text_as_well() -> None:
    assert invoked({"modelId": "amazon.titan-text-express-v1", "inputText": "Why?"}).name == "bedrock prompt"
    assert invoked({"modelId": "amazon.titan-embed-text-v2:0", "inputText": "Why?"}).name == "bedrock embeddings"


async def test_mistral_says_in_its_own_word_why_it_ended() -> None:
    dialect = invoked({"modelId": "mistral.mistral-large-2407-v1:0", "messages": []})
    call = Call("chat", "aws.bedrock")
    body: dict[str, Any] = {}
    for chunk in (
        {"choices": [{"index": 0, "message": {"content": "Be"}, "stop_reason": None}]},
        {
            "choices": [{"index": 0, "message": {"content": "cause"}, "stop_reason": "length"}],
            "amazon-bedrock-invocationMetrics": {"inputTokenCount": 7, "outputTokenCount": 2},
        },
    ):
        assert dialect.fold is not None
        dialect.fold(body, chunk)
    dialect.response(call, body)
    assert call.finish_reasons == ["length"]
    assert call.usage is not None
    assert (call.usage.input, call.usage.output) == (7, 2)


async def test_the_same_stream_as_bytes() -> None:
    taken: list[Any] = []
    framing = AmazonEvents(lambda event: taken.append(json.loads(event)) or False)
    metadata = {"usage": {"inputTokens": 7, "outputTokens": 2}}
    frames = AWS_EVENTS.frame("messageStart", "{}") + AWS_EVENTS.frame("metadata", json.dumps(metadata))
    frames += AWS_CHUNKS.frame(None, '{"generation": "Be"}') + aws_exception(None, "")
    for start in range(0, len(frames), 11):
        framing.feed(frames[start : start + 11])
    failure = {"type": "error", "error": {"type": "modelStreamErrorException"}}
    assert taken == [{"messageStart": {}}, {"metadata": metadata}, {"generation": "Be"}, failure]
