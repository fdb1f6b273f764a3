"""litellm: some providers through openai's SDK, the others through its own HTTP clients; every call counts once."""

from __future__ import annotations

import asyncio
import gc
import json
import os
from importlib.util import find_spec
from typing import Any, cast

import pytest
from opentelemetry.sdk.trace import ReadableSpan

import otel_llm
from examples.offline_provider import OfflineProvider
from otel_llm.integrations.litellm import litellm as table
from otel_llm.spec import Request
from otel_llm_semconv import attributes as A
from tests.conformance.canned import CannedServer, response
from tests.conformance.conftest import Twice
from tests.conformance.surfaces import got
from tests.conformance.ways import Seen, Way
from tests.conftest import Spans

if find_spec("litellm") is None:
    pytest.skip("litellm has an environment of its own", allow_module_level=True)

os.environ |= {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_TELEMETRY": "False"}  # or it calls home
litellm: Any = pytest.importorskip("litellm")
litellm.suppress_debug_info = True

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.usefixtures("no_fault")]

USAGE = "tokens in=1000 out=50; cache hit 800"
# By openai's SDK and by litellm's own clients: the model, and where it is asked.
WHERE = {
    "openai/gpt-4o-mini": {"api_base": "/v1"},
    "groq/openai/gpt-oss-120b": {"api_base": "/openai/v1"},
    "anthropic/claude-haiku-4-5": {"api_base": ""},
    "bedrock/invoke/global.anthropic.claude-haiku-4-5-20251001-v1:0": {"aws_bedrock_runtime_endpoint": ""},
    "bedrock/converse/global.anthropic.claude-haiku-4-5-20251001-v1:0": {"aws_bedrock_runtime_endpoint": ""},
    "gemini/gemini-2.5-flash": {"api_base": ""},
    "ollama_chat/qwen3": {"api_base": "/ollama"},
}
SOME = ("openai/gpt-4o-mini", "groq/openai/gpt-oss-120b", "anthropic/claude-haiku-4-5")
PROVIDERS = {"bedrock": "aws.bedrock", "gemini": "gcp.gemini", "ollama_chat": "ollama"}
AWS = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "s", "AWS_REGION_NAME": "us-east-1"}


@pytest.fixture(params=["sync", "async"])
def twin(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """What the names of asynchronous functions begin with."""
    for name, value in AWS.items():
        monkeypatch.setenv(name, value)
    return "a" if request.param == "async" else ""


def unused(*_: Any) -> None:
    """These tests call without a surface."""


def question(provider: OfflineProvider, model: str, script: str, **more: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": f"[[offline: {script}]] Why?"}]
    base = {field: provider.url + path for field, path in WHERE[model].items()}
    return {"model": model, "messages": messages, "api_key": "k", "max_retries": 0, **base, **more}


def said(call: ReadableSpan, name: str) -> Any:
    return (call.attributes or {}).get(name)


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
@pytest.mark.parametrize("model", WHERE)
async def test_every_provider_counts_once(
    provider: OfflineProvider, twice: Twice, twin: str, model: str, stream: bool
) -> None:
    async def use(seen: Seen) -> None:
        reply = await got(getattr(litellm, twin + "completion")(**question(provider, model, USAGE, stream=stream)))
        seen.result = type(reply)
        for item in await items(reply, twin, stream):
            seen.types.append(cast("type[Any]", type(item)))
            seen.values.append(str(item.choices))  # litellm makes ids up

    seen, [call] = await twice(Way("completion", unused, stream=stream), use)
    assert seen.types
    maker = model.partition("/")[0]
    assert said(call, A.GEN_AI_PROVIDER_NAME) == PROVIDERS.get(maker, maker)
    assert said(call, A.OTEL_LLM_STREAM_OUTCOME) == ("completed" if stream else None)


async def items(reply: Any, twin: str, stream: bool, most: int = 1000) -> list[Any]:
    """The chunks of a stream, or the first of them; the reply itself where it is none."""
    if not stream:
        return [reply]
    found: list[Any] = []
    if twin:
        async for chunk in reply:
            found.append(chunk)
            if len(found) == most:
                break
    else:
        for chunk in reply:
            found.append(chunk)
            if len(found) == most:
                break
    return found


@pytest.mark.usefixtures("instrumented")
async def test_other_surfaces(provider: OfflineProvider, audited: Spans, twin: str) -> None:
    openai = {"api_key": "k", "api_base": f"{provider.url}/v1"}
    await got(getattr(litellm, twin + "embedding")(model="openai/text-embedding-3-small", input=["Why?"], **openai))
    await got(
        getattr(litellm, twin + "text_completion")(model="openai/gpt-3.5-turbo-instruct", prompt="Why?", **openai)
    )
    await litellm.anthropic_messages(**question(provider, "anthropic/claude-haiku-4-5", USAGE, max_tokens=100))
    surfaces = ["embeddings", "text_completion", "chat"]
    if find_spec("mcp") is not None:
        await got(getattr(litellm, twin + "responses")(model="openai/gpt-4o-mini", input="Why?", **openai))
        surfaces.append("chat")
    assert [said(call, A.GEN_AI_OPERATION_NAME) for call in audited()] == surfaces


@pytest.mark.usefixtures("instrumented")
async def test_a_stream_is_asked_for_its_usage(provider: OfflineProvider, calls: Spans, twin: str) -> None:
    asked = question(provider, "openai/gpt-4o-mini", USAGE, stream=True) | {"model": "hosted_vllm/gpt-4o-mini"}
    chunks = await items(await got(getattr(litellm, twin + "completion")(**asked)), twin, True)
    assert all(getattr(chunk, "usage", None) is None for chunk in chunks)
    [call] = calls()
    assert said(call, A.GEN_AI_PROVIDER_NAME) == "hosted_vllm"
    assert said(call, A.GEN_AI_USAGE_INPUT_TOKENS) == 1000
    assert said(call, A.OTEL_LLM_COST_STATUS) == "unpriced"


@pytest.mark.usefixtures("instrumented")
@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
@pytest.mark.parametrize("status", [401, 429, 500])
@pytest.mark.parametrize("model", SOME)
async def test_an_error(
    provider: OfflineProvider, audited: Spans, twin: str, model: str, status: int, stream: bool
) -> None:
    with pytest.raises(Exception, match="scripted failure") as caught:
        await got(getattr(litellm, twin + "completion")(**question(provider, model, str(status), stream=stream)))
    assert getattr(caught.value, "status_code", None) == status
    [call] = audited()
    assert said(call, A.HTTP_RESPONSE_STATUS_CODE) == status
    assert said(call, A.OTEL_LLM_COST_STATUS) == "free"


@pytest.mark.usefixtures("instrumented")
@pytest.mark.parametrize("model", SOME)
async def test_a_stream_that_is_left(
    provider: OfflineProvider, calls: Spans, audited: Spans, twin: str, model: str
) -> None:
    script = "chunks 20; slow chunks 60ms"
    reply = await got(getattr(litellm, twin + "completion")(**question(provider, model, script, stream=True)))
    assert len(await items(reply, twin, True, most=1)) == 1
    del reply
    for _ in range(100):  # the loop closes generators that were dropped, one after the other
        gc.collect()
        await asyncio.sleep(0.01)
        if calls():
            break
    [call] = audited()
    assert said(call, A.OTEL_LLM_STREAM_OUTCOME) in ("aborted", "abandoned")


@pytest.mark.usefixtures("instrumented")
async def test_the_router_retries_and_falls_back(provider: OfflineProvider, audited: Spans, twin: str) -> None:
    def deployment(group: str, model: str, script: str) -> dict[str, Any]:
        params = question(provider, model, script)
        return {"model_name": group, "litellm_params": {**params, "extra_headers": {"x-offline-script": script}}}

    deployments = [
        deployment("first", "groq/openai/gpt-oss-120b", "id=broken; 500"),
        deployment("second", "anthropic/claude-haiku-4-5", "id=good; tokens in=1000 out=50"),
    ]
    router = litellm.Router(deployments, num_retries=1, fallbacks=[{"first": ["second"]}], retry_after=0)
    with otel_llm.interaction("ask") as it:
        asked: dict[str, Any] = {"model": "first", "messages": [{"role": "user", "content": "Why?"}]}
        if twin:
            await router.acompletion(**asked)
        else:
            await asyncio.to_thread(router.completion, **asked)  # it runs a loop of its own
    assert (it.calls, it.priced_calls) == (3, 3)
    made = audited()
    assert [said(call, A.HTTP_RESPONSE_STATUS_CODE) for call in made] == [500, 500, None]
    assert [said(call, A.OTEL_LLM_COST_STATUS) for call in made] == ["free", "free", "priced"]


@pytest.mark.usefixtures("instrumented")
async def test_what_is_not_sent_is_no_call(provider: OfflineProvider, calls: Spans, twin: str) -> None:
    mocked = question(provider, SOME[0], USAGE, mock_response="Because.")
    await got(getattr(litellm, twin + "completion")(**mocked))
    assert calls() == []
    assert provider.requests == []


@pytest.mark.usefixtures("instrumented")
@pytest.mark.parametrize("units", [False, True], ids=["tokens", "searches"])
async def test_reranking(calls: Spans, twin: str, units: bool) -> None:
    used = {"meta": {"billed_units": {"search_units": 1}}} if units else {"usage": {"total_tokens": 30}}
    body = json.dumps({"id": "r-1", "results": [{"index": 0, "relevance_score": 0.9}], **used}).encode()
    model = "cohere/rerank-v3.5" if units else "jina_ai/jina-reranker-v2"
    with CannedServer() as server:
        server.reply = lambda _: response(body)
        asked = {"model": model, "query": "?", "documents": ["Why?"], "api_key": "k", "api_base": server.url}
        await got(getattr(litellm, twin + "rerank")(**asked))
    [call] = calls()
    assert call.name == f"rerank {model.partition('/')[2]}"
    if units:
        assert said(call, A.OTEL_LLM_USAGE_REQUESTS_PREFIX + "search_units") == 1
    else:
        assert said(call, A.GEN_AI_USAGE_INPUT_TOKENS) == 30


@pytest.mark.usefixtures("instrumented")
async def test_pictures(calls: Spans, twin: str) -> None:
    body = json.dumps({"created": 1, "data": [{"url": "https://example.com/fox.png"}]}).encode()
    with CannedServer() as server:
        server.reply = lambda _: response(body)
        asked = {"model": "recraft/recraftv3", "prompt": "A fox", "api_key": "k", "api_base": server.url}
        await got(getattr(litellm, twin + "image_generation")(**asked))
    [call] = calls()
    assert (call.name, said(call, A.OTEL_LLM_USAGE_REQUESTS_PREFIX + "images")) == ("image_generation recraftv3", 1)


def test_what_vertex_predicts_is_embeddings_or_pictures() -> None:
    url = "https://us-aiplatform.googleapis.com/v1/projects/p/publishers/google/models/text-embedding-005:predict"
    read = table.patches[0].read
    found = read(None, (url,), {"json": {"instances": [{"content": "Why?"}]}})
    assert isinstance(found, Request)
    assert (found.dialect.operation, found.body["model"]) == ("embeddings", "text-embedding-005")
    sent = json.dumps({"instances": [{"prompt": "A fox"}]})
    found = read(None, (url.replace("text-embedding-005", "imagen-4"),), {"data": sent})
    assert isinstance(found, Request)
    assert found.dialect.operation == "image_generation"
