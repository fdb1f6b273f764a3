"""azure-ai-inference: requests or aiohttp beneath, one pipeline above, which all SDKs of Azure share."""

from __future__ import annotations

import gc
import json
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
from opentelemetry.trace import StatusCode

from examples.offline_provider import OfflineProvider
from otel_llm_semconv import attributes as A
from tests.conformance.conftest import Twice
from tests.conformance.ledger import assert_ledger_equals_bill
from tests.conformance.surfaces import got
from tests.conformance.ways import Seen, Way
from tests.conftest import Spans

inference: Any = pytest.importorskip("azure.ai.inference", reason="the oldest SDKs do not fit into one environment")
aio: Any = pytest.importorskip("azure.ai.inference.aio")
credentials: Any = pytest.importorskip("azure.core.credentials")

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.usefixtures("no_fault")]

MODEL = "gpt-4o-mini"
USAGE = "tokens in=1000 out=50; cache hit 800"
Connect = Callable[..., Any]


@pytest.fixture(params=["sync", "async"])
def connect(request: pytest.FixtureRequest, provider: OfflineProvider) -> Connect:
    """Makes clients that do not wait between their attempts."""
    package = aio if request.param == "async" else inference
    key = credentials.AzureKeyCredential("k")

    def connect(kind: str = "ChatCompletionsClient", **options: Any) -> Any:
        options = {"retry_total": 0, "retry_backoff_factor": 0, **options}
        return getattr(package, kind)(f"{provider.url}/azure_inference", key, **options)

    return connect


def unused(*_: Any) -> None:
    """These tests call without a surface."""


def question(script: str, **more: Any) -> dict[str, Any]:
    return {"model": MODEL, "messages": [{"role": "user", "content": f"[[offline: {script}]] Why?"}], **more}


async def closed(client: Any, doing: Awaitable[Any]) -> Any:
    try:
        return await doing
    finally:
        await got(client.close())


async def read(stream: Any, seen: Seen, stop: bool = False) -> None:
    """All updates of a stream, or the first."""
    if hasattr(stream, "__anext__"):
        async for update in stream:
            seen.add(update.as_dict())
            if stop:
                return
    else:
        for update in stream:
            seen.add(update.as_dict())
            if stop:
                return


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
@pytest.mark.parametrize("script", [USAGE, "401", "500", "cut before headers", "cut in mid-stream after 3; chunks 9"])
async def test_the_caller_sees_the_same(connect: Connect, twice: Twice, stream: bool, script: str) -> None:
    async def use(seen: Seen) -> None:
        client = connect()
        try:
            reply = await got(client.complete(**question(script, stream=stream)))
            seen.result = type(reply)
            await (read(reply, seen) if stream else got(seen.add(reply.as_dict())))
        except Exception as error:
            seen.error = error
            raise
        finally:
            await got(client.close())

    seen, [call] = await twice(Way("complete", unused, stream=stream), use)
    attributes = call.attributes or {}
    assert (seen.error is None) == (script == USAGE)
    assert attributes.get(A.OTEL_LLM_STREAM_OUTCOME) == (
        None if not stream else "completed" if script == USAGE else "failed"
    )
    if script.isdigit():
        assert (call.status.status_code, attributes[A.ERROR_TYPE]) == (StatusCode.ERROR, script)
        assert attributes[A.HTTP_RESPONSE_STATUS_CODE] == int(script)
        assert attributes[A.OTEL_LLM_COST_STATUS] == "free"


@pytest.mark.usefixtures("instrumented")
async def test_embeddings_and_raw_requests(connect: Connect, audited: Spans, provider: OfflineProvider) -> None:
    client = connect("EmbeddingsClient")
    await closed(client, got(client.embed(model="text-embedding-3-small", input=["Why?"])))
    rest: Any = pytest.importorskip("azure.core.rest")
    client = connect()
    request = rest.HttpRequest("POST", f"{provider.url}/azure_inference/chat/completions", json=question(USAGE))
    answer = await closed(client, got(client.send_request(request)))
    assert json.loads(answer.text())["usage"]["prompt_tokens"] == 1000
    made = audited()
    assert [call.name for call in made] == ["embeddings text-embedding-3-small", f"chat {MODEL}"]
    assert [(call.attributes or {})[A.GEN_AI_PROVIDER_NAME] for call in made] == ["azure.ai.inference"] * 2


@pytest.mark.usefixtures("instrumented")
async def test_retries_are_attempts_of_one_call(connect: Connect, audited: Spans) -> None:
    client = connect(retry_total=3)
    await closed(client, got(client.complete(**question(f"503 twice; {USAGE}"))))
    [call] = audited()
    assert (call.attributes or {})[A.OTEL_LLM_ATTEMPTS] == 3
    assert [(event.attributes or {})[A.OTEL_LLM_ATTEMPT_STATUS_CODE] for event in call.events] == [503, 503]


@pytest.mark.usefixtures("instrumented")
@pytest.mark.parametrize("how", ["aborted", "abandoned"])
async def test_a_stream_that_is_left(connect: Connect, provider: OfflineProvider, calls: Spans, how: str) -> None:
    client = connect()
    stream = await got(client.complete(**question("chunks 20; slow chunks 60ms", stream=True)))
    await read(stream, Seen(), stop=True)
    if how == "aborted":
        await got(stream.aclose() if hasattr(stream, "aclose") else stream.close())
    del stream
    gc.collect()
    await got(client.close())
    gc.collect()
    [call] = calls()
    assert (call.attributes or {})[A.OTEL_LLM_STREAM_OUTCOME] == how
    provider.settle()
    assert_ledger_equals_bill([call], provider.bill)


@pytest.fixture
def own_tracing() -> Iterator[Any]:
    """The SDK's own instrumentation, and the tracing of azure-core that it needs."""
    tracing: Any = pytest.importorskip("azure.ai.inference.tracing")
    settings: Any = pytest.importorskip("azure.core.settings").settings
    ext: Any = pytest.importorskip("azure.core.tracing.ext.opentelemetry_span")
    settings.tracing_implementation = ext.OpenTelemetrySpan
    own = tracing.AIInferenceInstrumentor()
    own.instrument()
    yield own
    own.uninstrument()
    settings.tracing_implementation = None


@pytest.mark.usefixtures("own_tracing", "instrumented")
async def test_its_own_tracing_makes_no_second_call(connect: Connect, spans: Spans) -> None:
    for stream in (False, True):
        client = connect()
        reply = await got(client.complete(**question(USAGE, stream=stream)))
        if stream:
            await read(reply, Seen())
        await got(client.close())
    counted = [span for span in spans() if A.GEN_AI_OPERATION_NAME in (span.attributes or {})]
    assert [span.name for span in counted] == [f"chat {MODEL}"] * 2
    assert len(spans()) > 4, "it does trace"
